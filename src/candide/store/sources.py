"""Sources, their texts and passages, and the changes that indexes have to take in.

A source is never changed but in what is said of its origin: a page that reads differently is a new source, and the one
before it is no longer current. Its text stays while something may cite it, its passages go. Each of that is one
transaction with the change that the indexes learn of it by, so that index and database can always be brought together.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from candide.domain.ids import new_id
from candide.domain.retrieval import IndexChange
from candide.domain.sources import Known, NewSource, Outcome, Passage, Section, Source
from candide.errors import NotFound
from candide.store.changes import Changes
from candide.store.database import Connection, Database
from candide.store.schema import (
    counters,
    index_changes,
    libraries,
    passages,
    source_texts,
    sources,
    targets,
)

T = TypeVar("T")

MAX_IDS = 500
"""As many ids stand in one statement."""


_COLUMNS = [sources.c[name] for name in Source.__struct_fields__]
_FIND = sa.select(*_COLUMNS).where(sources.c.id == sa.bindparam("source"))
_KNOWN = sa.select(
    sources.c.key, sources.c.id, sources.c.content_hash, sources.c.etag, sources.c.last_modified
)
_HOLD = sa.select(libraries.c.id).where(libraries.c.id == sa.bindparam("library")).with_for_update()
_TAKE_NUMBERS = (
    counters.update()
    .where(counters.c.name == sa.bindparam("counter"))
    .values(value=counters.c.value + sa.bindparam("amount"))
)
_READ_NUMBER = sa.select(counters.c.value).where(counters.c.name == sa.bindparam("counter"))
_RETIRE = sources.update().where(sources.c.id == sa.bindparam("source")).values(current=False)
_FORGET_PASSAGES = passages.delete().where(passages.c.source_id == sa.bindparam("source"))
_FORGET_CHANGES = index_changes.delete().where(index_changes.c.source_id == sa.bindparam("source"))
_SEEN = (
    sources.update()
    .where(sources.c.id == sa.bindparam("source"))
    .values(
        fetched_at=sa.bindparam("now"),
        etag=sa.bindparam("new_etag"),
        last_modified=sa.bindparam("new_last_modified"),
        target_id=sa.bindparam("new_target"),
    )
)


class SourceStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def find_known(self, library_id: str, keys: Sequence[str]) -> dict[str, Known]:
        """The current sources of these keys."""
        async with self._database.read() as connection:
            return await _find_known(connection, library_id, keys)

    async def keep(self, library_id: str, new: Sequence[NewSource]) -> list[Outcome]:
        """Keep sources, all of them or none; what each was to the library. No key may be there twice."""
        async with self._database.write(durable=False) as connection:
            # Two that keep the same source at once would both find it new.
            await connection.execute(_HOLD, {"library": library_id})
            known = await _find_known(connection, library_id, [one.key for one in new])
            outcomes: list[Outcome] = []
            fresh: list[NewSource] = []
            retired: list[str] = []
            seen: list[dict[str, Any]] = []
            now = time.time()
            for one in new:
                before = known.get(one.key)
                if before is not None and before.content_hash == one.content_hash:
                    outcomes.append("unchanged")
                    seen.append(
                        {
                            "source": before.source_id,
                            "now": now,
                            "new_etag": one.etag,
                            "new_last_modified": one.last_modified,
                            "new_target": one.target_id,
                        }
                    )
                    continue
                outcomes.append("added" if before is None else "updated")
                fresh.append(one)
                if before is not None:
                    retired.append(before.source_id)
            if seen:
                await connection.execute(_SEEN, seen)
            await _retire(connection, retired)
            if fresh:
                await _add(connection, library_id, fresh, now)
        if fresh:
            self._changes.announce("libraries")
        return outcomes

    async def remove(self, source_ids: Collection[str]) -> int:
        """Take sources out of their libraries; how many there were. What cited them still finds their texts."""
        found: list[str] = []
        async with self._database.write() as connection:
            for some in _batches(list(source_ids)):
                rows = await connection.execute(
                    sa.select(sources.c.id).where(sources.c.id.in_(some), sources.c.current)
                )
                found.extend(row.id for row in rows)
            await _retire(connection, found)
        if found:
            self._changes.announce("libraries")
        return len(found)

    async def get(self, source_id: str) -> Source:
        async with self._database.read() as connection:
            row = (await connection.execute(_FIND, {"source": source_id})).mappings().first()
        if row is None:
            raise _no_source(source_id)
        return _source(row)

    async def read_text(self, source_id: str) -> tuple[str, list[Section], list[int]]:
        """A source's text, its sections and where its pages begin."""
        query = (
            sa.select(source_texts.c.text, sources.c.sections, sources.c.pages)
            .join(sources, sources.c.id == source_texts.c.source_id)
            .where(source_texts.c.source_id == source_id)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise _no_source(source_id)
        return row.text, msgspec.convert(row.sections, list[Section]), row.pages

    async def list(
        self,
        library_id: str | None,
        *,
        limit: int,
        after: str | None = None,
        query: str = "",
        target_id: str | None = None,
    ) -> list[Source]:
        """The current sources of a library, or of all that are not deleted, the latest first.

        `after` is the id of the last one of the page before.
        """
        wanted = sa.select(*_COLUMNS).where(sources.c.current)
        if library_id is None:
            deleted = sa.select(libraries.c.id).where(libraries.c.deleted_at.is_not(None))
            wanted = wanted.where(sources.c.library_id.not_in(deleted))
        else:
            wanted = wanted.where(sources.c.library_id == library_id)
        if after is not None:
            wanted = wanted.where(sources.c.id < after)
        if target_id is not None:
            wanted = wanted.where(sources.c.target_id == target_id)
        if query:
            like = f"%{query.replace('!', '!!').replace('%', '!%').replace('_', '!_')}%"
            wanted = wanted.where(
                sa.or_(sources.c.title.ilike(like, escape="!"), sources.c.uri.ilike(like, escape="!"))
            )
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(sources.c.id.desc()).limit(limit))
            return [_source(row) for row in rows.mappings()]

    async def find_original(self, source_id: str) -> str | None:
        """Where the file that a source was made of was kept, under the home; None where it was not."""
        query = sa.select(sources.c.original).where(sources.c.id == source_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise _no_source(source_id)
        return row.original

    async def find_of_target(self, target_id: str) -> dict[str, Known]:
        """A target's current sources, by their keys."""
        async with self._database.read() as connection:
            rows = await connection.execute(_KNOWN.where(sources.c.target_id == target_id, sources.c.current))
            return _read_known(rows)

    async def find_stale(self, target_id: str, before: float, limit: int) -> list[str]:
        """Ids of a target's current sources that nobody has read since; some of them, when there are more."""
        query = sa.select(sources.c.id).where(
            sources.c.target_id == target_id, sources.c.current, sources.c.fetched_at < before
        )
        async with self._database.read() as connection:
            return [row.id for row in await connection.execute(query.limit(limit))]

    async def find_orphans(self, limit: int) -> list[str]:
        """Ids of current sources whose target was removed; some of them, when there are more."""
        query = sa.select(sources.c.id).where(
            sources.c.current,
            sources.c.target_id.is_not(None),
            sources.c.target_id.not_in(sa.select(targets.c.id)),
        )
        async with self._database.read() as connection:
            return [row.id for row in await connection.execute(query.limit(limit))]

    async def read_fingerprints(self, library_id: str) -> list[tuple[int, str]]:
        """The fingerprints of a library's current sources, each with its group."""
        query = sa.select(sources.c.simhash, sources.c.group_id).where(
            sources.c.library_id == library_id, sources.c.current, sources.c.simhash.is_not(None)
        )
        async with self._database.read() as connection:
            return [(row.simhash, row.group_id) for row in await connection.execute(query)]

    async def fetch_passages(self, passage_ids: Sequence[int]) -> dict[int, tuple[Source, Passage]]:
        """Passages with their texts and sources; those that are gone are left out."""
        text = sa.func.substr(source_texts.c.text, passages.c.start + 1, passages.c.end - passages.c.start)
        query = (
            sa.select(
                passages.c.id, passages.c.source_id, passages.c.start, passages.c.end, text.label("text"),
                passages.c.headings, passages.c.page,
            )
            .join(source_texts, source_texts.c.source_id == passages.c.source_id)
        )  # fmt: skip
        found: dict[int, Passage] = {}
        origins: dict[str, Source] = {}
        async with self._database.read() as connection:
            for some in _batches(list(passage_ids)):
                rows = await connection.execute(query.where(passages.c.id.in_(some)))
                found.update((row["id"], Passage(**row)) for row in rows.mappings())
            for some in _batches(list({passage.source_id for passage in found.values()})):
                rows = await connection.execute(sa.select(*_COLUMNS).where(sources.c.id.in_(some)))
                origins.update((row["id"], _source(row)) for row in rows.mappings())
        return {
            passage_id: (origins[passage.source_id], passage)
            for passage_id, passage in found.items()
            if passage.source_id in origins
        }

    async def changes_after(self, seq: int, limit: int) -> list[IndexChange]:
        """What the indexes have to take in after `seq`, in order; of a source that is gone by now, that it is gone."""
        query = sa.select(index_changes.c.seq, index_changes.c.source_id).where(index_changes.c.seq > seq)
        async with self._database.read() as connection:
            rows = list(await connection.execute(query.order_by(index_changes.c.seq).limit(limit)))
            ids = list({row.source_id for row in rows})
            there: dict[str, Source] = {}
            cuts: dict[str, list[Passage]] = {}
            for some in _batches(ids):
                current = sa.select(*_COLUMNS).where(sources.c.id.in_(some), sources.c.current)
                found = await connection.execute(current)
                there.update((row["id"], _source(row)) for row in found.mappings())
            for some in _batches(list(there)):
                texts = {
                    row.source_id: row.text
                    for row in await connection.execute(
                        sa.select(source_texts).where(source_texts.c.source_id.in_(some))
                    )
                }
                spans = sa.select(passages).where(passages.c.source_id.in_(some)).order_by(passages.c.id)
                for row in (await connection.execute(spans)).mappings():
                    passage = Passage(text=texts[row["source_id"]][row["start"] : row["end"]], **row)
                    cuts.setdefault(passage.source_id, []).append(passage)
        return [
            IndexChange(
                seq=row.seq,
                source_id=row.source_id,
                source=there.get(row.source_id),
                passages=cuts.get(row.source_id, []),
            )
            for row in rows
        ]

    async def last_change(self) -> int:
        async with self._database.read() as connection:
            return (await connection.execute(_READ_NUMBER, {"counter": "change"})).scalar_one()

    async def last_change_of(self, target_ids: Sequence[str], *, after: int) -> int:
        """The last change after `after` that is about what came from these targets; 0 where there is none."""
        last = 0
        async with self._database.read() as connection:
            for some in _batches(target_ids):
                query = (
                    sa.select(sa.func.max(index_changes.c.seq))
                    .join(sources, sources.c.id == index_changes.c.source_id)
                    .where(index_changes.c.seq > after, sources.c.target_id.in_(some))
                )
                last = max(last, (await connection.execute(query)).scalar() or 0)
        return last

    async def trim_changes(self, seq: int) -> None:
        """Forget the changes up to `seq` that only said that a source is gone: every index has taken them in.

        The others stay, one a source: an index that is made anew reads them from the first on.
        """
        current = sa.select(sources.c.id).where(sources.c.current)
        async with self._database.write(durable=False) as connection:
            await connection.execute(
                index_changes.delete().where(
                    index_changes.c.seq <= seq, index_changes.c.source_id.not_in(current)
                )
            )


async def _find_known(connection: Connection, library_id: str, keys: Sequence[str]) -> dict[str, Known]:
    known: dict[str, Known] = {}
    for some in _batches(keys):
        rows = await connection.execute(
            _KNOWN.where(sources.c.library_id == library_id, sources.c.key.in_(some), sources.c.current)
        )
        known.update(_read_known(rows))
    return known


def _read_known(rows: sa.CursorResult[Any]) -> dict[str, Known]:
    return {row.key: Known(row.id, row.content_hash, row.etag, row.last_modified) for row in rows}


async def _add(connection: Connection, library_id: str, new: Sequence[NewSource], now: float) -> None:
    next_passage = await _take_numbers(connection, "passage", sum(len(one.cuts) for one in new))
    rows: list[dict[str, Any]] = []
    texts: list[dict[str, str]] = []
    spans: list[dict[str, Any]] = []
    for one in new:
        document = one.document
        source_id = one.id or new_id("source")
        rows.append(
            {
                "id": source_id,
                "library_id": library_id,
                "target_id": one.target_id,
                "key": one.key,
                "uri": one.uri,
                "external_id": one.external_id,
                "kind": one.kind,
                "media_type": one.media_type,
                "title": document.title,
                "author": document.author,
                "site": document.site,
                "language": document.language,
                "published": document.published,
                "group_id": one.group_id or source_id,
                "simhash": one.simhash,
                "length": len(document.text),
                "content_hash": one.content_hash,
                "sections": msgspec.to_builtins(document.sections),
                "pages": document.pages,
                "original": one.original,
                "etag": one.etag,
                "last_modified": one.last_modified,
                "current": True,
                "fetched_at": now,
            }
        )
        texts.append({"source_id": source_id, "text": document.text})
        for cut in one.cuts:
            spans.append(
                {
                    "id": next_passage,
                    "source_id": source_id,
                    "start": cut.start,
                    "end": cut.end,
                    "headings": cut.headings,
                    "page": cut.page,
                }
            )
            next_passage += 1
    await connection.execute(sources.insert(), rows)
    await connection.execute(source_texts.insert(), texts)
    if spans:
        await connection.execute(passages.insert(), spans)
    await _tell_indexes(connection, [row["id"] for row in rows])


async def _retire(connection: Connection, source_ids: Sequence[str]) -> None:
    if source_ids:
        rows = [{"source": source_id} for source_id in source_ids]
        await connection.execute(_RETIRE, rows)
        await connection.execute(_FORGET_PASSAGES, rows)
        await connection.execute(_FORGET_CHANGES, rows)
        await _tell_indexes(connection, source_ids)


async def _tell_indexes(connection: Connection, source_ids: Sequence[str]) -> None:
    seq = await _take_numbers(connection, "change", len(source_ids))
    rows = [{"seq": seq + n, "source_id": source_id} for n, source_id in enumerate(source_ids)]
    await connection.execute(index_changes.insert(), rows)


async def _take_numbers(connection: Connection, counter: str, amount: int) -> int:
    """The first of so many numbers that nobody has had; whoever takes some waits for who did before."""
    await connection.execute(_TAKE_NUMBERS, {"counter": counter, "amount": amount})
    last = (await connection.execute(_READ_NUMBER, {"counter": counter})).scalar_one()
    return last - amount + 1


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[at : at + MAX_IDS] for at in range(0, len(items), MAX_IDS)]


def _source(row: sa.RowMapping) -> Source:
    return Source(**row)


def _no_source(source_id: str) -> NotFound:
    return NotFound(f"there is no source '{source_id}'", hint="candide sources lists them")
