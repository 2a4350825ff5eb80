"""Libraries: named sets of sources, and the targets that were added to them.

Names are told apart without case and accents, as people do. A deleted library is out of sight with all that it holds,
and can be brought back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from candide.domain.folding import fold_words
from candide.domain.ids import new_id
from candide.domain.sources import Library, Target, TargetKind, choose_library
from candide.errors import BadRequest, Conflict, NotFound
from candide.store.changes import Changes
from candide.store.database import Connection, Database
from candide.store.schema import libraries, sources, targets

_COUNT = (
    sa.select(sa.func.count())
    .where(sources.c.library_id == libraries.c.id, sources.c.current)
    .correlate(libraries)
    .scalar_subquery()
)
_SIZE = (
    sa.select(sa.func.coalesce(sa.func.sum(sources.c.length), 0))
    .where(sources.c.library_id == libraries.c.id, sources.c.current)
    .correlate(libraries)
    .scalar_subquery()
)
_FIND = sa.select(
    libraries.c.id, libraries.c.name, libraries.c.created_at, _COUNT.label("sources"), _SIZE.label("size")
).where(libraries.c.deleted_at.is_(None))
_DUE = (
    sa.select(targets)
    .join(libraries, libraries.c.id == targets.c.library_id)
    .where(libraries.c.deleted_at.is_(None), targets.c.next_check_at.is_not(None))
)


class LibraryStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def list(self) -> list[Library]:
        """All libraries, by name."""
        async with self._database.read() as connection:
            rows = await connection.execute(_FIND)
            found = [Library(**row) for row in rows.mappings()]
        return sorted(found, key=lambda library: (fold_words(library.name), library.id))

    async def list_names(self) -> dict[str, str]:
        """The names of all libraries, by id: nothing is counted, so that a search may ask it each time."""
        query = sa.select(libraries.c.id, libraries.c.name).where(libraries.c.deleted_at.is_(None))
        async with self._database.read() as connection:
            return {row.id: row.name for row in await connection.execute(query)}

    async def get(self, library_id: str) -> Library:
        async with self._database.read() as connection:
            row = (await connection.execute(_FIND.where(libraries.c.id == library_id))).mappings().first()
        if row is None:
            raise NotFound(f"there is no library '{library_id}'", hint="candide libraries lists them")
        return Library(**row)

    async def find(self, name: str) -> Library:
        """The library of this name or id. Raises NotFound, which names those that are there."""
        return choose_library(await self.list(), name)

    async def create(self, name: str) -> Library:
        """Make a library. Raises Conflict when there is one of that name, BadRequest when it is no name."""
        made = Library(id=new_id("lib"), name=name.strip(), created_at=time.time())
        async with self._database.write() as connection:
            await _check_name(connection, made.name)
            row = {"id": made.id, "name": made.name, "created_at": made.created_at}
            await connection.execute(libraries.insert(), row)
        self._changes.announce("libraries")
        return made

    async def find_or_create(self, name: str) -> Library:
        try:
            return await self.find(name)
        except NotFound:
            return await self.create(name)

    async def rename(self, library_id: str, name: str) -> Library:
        async with self._database.write() as connection:
            await _check_name(connection, name.strip(), but=library_id)
            await connection.execute(
                libraries.update().where(libraries.c.id == library_id).values(name=name.strip())
            )
        self._changes.announce("libraries")
        return await self.get(library_id)

    async def delete(self, library_id: str) -> None:
        await self._mark(library_id, time.time())

    async def restore(self, library_id: str) -> None:
        """Bring a deleted library back. Raises Conflict when another one has its name by now."""
        await self._mark(library_id, None)

    async def _mark(self, library_id: str, deleted_at: float | None) -> None:
        async with self._database.write() as connection:
            row = (
                await connection.execute(sa.select(libraries.c.name).where(libraries.c.id == library_id))
            ).first()
            if row is None:
                raise NotFound(f"there is no library '{library_id}'", hint="candide libraries lists them")
            if deleted_at is None:
                await _check_name(connection, row.name, but=library_id)
            await connection.execute(
                libraries.update().where(libraries.c.id == library_id).values(deleted_at=deleted_at)
            )
        self._changes.announce("libraries")

    async def add_targets(self, library_id: str, new: Sequence[Target]) -> list[Target]:
        """Add targets; one whose address is there already takes the new wishes over. They come back with their ids."""
        async with self._database.write() as connection:
            kept: list[Target] = []
            for target in new:
                query = sa.select(targets.c.id, targets.c.created_at)
                query = query.where(targets.c.library_id == library_id, targets.c.uri == target.uri)
                there = (await connection.execute(query)).first()
                wishes = msgspec.to_builtins(target)
                if there is None:
                    target = msgspec.structs.replace(
                        target, id=new_id("target"), library_id=library_id, created_at=time.time()
                    )
                    await connection.execute(targets.insert(), msgspec.to_builtins(target))
                else:
                    target = msgspec.structs.replace(
                        target, id=there.id, library_id=library_id, created_at=there.created_at
                    )
                    changed = {
                        name: wishes[name]
                        for name in ("kind", "options", "refresh_s", "watched", "next_check_at")
                    }
                    await connection.execute(
                        targets.update().where(targets.c.id == there.id).values(**changed)
                    )
                kept.append(target)
        self._changes.announce("libraries")
        return kept

    async def list_targets(self, library_id: str | None = None) -> list[Target]:
        """The targets of a library, or of all that are not deleted, the oldest first."""
        query = sa.select(targets).join(libraries, libraries.c.id == targets.c.library_id)
        query = query.where(libraries.c.deleted_at.is_(None))
        if library_id is not None:
            query = query.where(targets.c.library_id == library_id)
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(targets.c.id))
            return [_target(row) for row in rows.mappings()]

    async def get_target(self, target_id: str) -> Target:
        async with self._database.read() as connection:
            row = (
                (await connection.execute(sa.select(targets).where(targets.c.id == target_id)))
                .mappings()
                .first()
            )
        if row is None:
            raise NotFound(f"there is no target '{target_id}'")
        return _target(row)

    async def list_due(self, now: float) -> list[Target]:
        """The targets that are to be looked at again."""
        async with self._database.read() as connection:
            rows = await connection.execute(_DUE.where(targets.c.next_check_at <= now))
            return [_target(row) for row in rows.mappings()]

    async def take_due(self, now: float) -> list[Target]:
        """The same, and each is due again only after its interval: of several servers one takes it."""
        async with self._database.write() as connection:
            rows = await connection.execute(_DUE.where(targets.c.next_check_at <= now))
            due = [_target(row) for row in rows.mappings()]
            taken: list[Target] = []
            for target in due:
                done = await connection.execute(
                    targets.update()
                    .where(targets.c.id == target.id, targets.c.next_check_at <= now)
                    .values(next_check_at=now + targets.c.refresh_s)
                )
                if done.rowcount:
                    taken.append(target)
        return taken

    async def next_due(self) -> float | None:
        """When a target is to be looked at next; None when there is none."""
        due = _DUE.with_only_columns(sa.func.min(targets.c.next_check_at))
        async with self._database.read() as connection:
            return (await connection.execute(due)).scalar()

    async def note_check(
        self,
        target_id: str,
        *,
        error: str | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
        kind: TargetKind | None = None,
        refresh_s: float | None = None,
    ) -> None:
        """Write down that a target was looked at just now, and when it is next.

        `kind` is what it turned out to be, and `refresh_s` how often it is looked at from now on; None leaves them.
        """
        now = time.time()
        found: dict[str, Any] = {} if kind is None else {"kind": kind}
        if refresh_s is not None:
            found["refresh_s"] = refresh_s
        async with self._database.write(durable=False) as connection:
            await connection.execute(
                targets.update()
                .where(targets.c.id == target_id)
                .values(
                    checked_at=now,
                    next_check_at=now + (refresh_s or targets.c.refresh_s),
                    error=error,
                    etag=etag,
                    last_modified=last_modified,
                    **found,
                )
            )
        self._changes.announce("libraries")

    async def remove_target(self, target_id: str) -> None:
        """Forget a target; what came from it is the caller's to remove."""
        async with self._database.write() as connection:
            done = await connection.execute(targets.delete().where(targets.c.id == target_id))
        if done.rowcount == 0:
            raise NotFound(f"there is no target '{target_id}'")
        self._changes.announce("libraries")


async def _check_name(connection: Connection, name: str, but: str = "") -> None:
    if not fold_words(name).strip():
        raise BadRequest("a library needs a name with a letter or a digit", param="name")
    rows = await connection.execute(
        sa.select(libraries.c.id, libraries.c.name).where(libraries.c.deleted_at.is_(None))
    )
    for row in rows:
        if row.id != but and fold_words(row.name) == fold_words(name):
            raise Conflict(f"there is a library '{row.name}' already")


def _target(row: sa.RowMapping) -> Target:
    return msgspec.convert({str(name): value for name, value in row.items()}, Target)
