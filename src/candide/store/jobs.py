"""Jobs: what is being read into libraries, how far each has come, and what could not be read.

A job's frontier, the addresses that it has found and which of them it is done with, is on disk too: whoever goes on
with a job that was cut off steps over those. Progress is saved in the transaction of the sources that it counts, or
after it; a source that is counted twice so was at least kept once.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import PurePath
from typing import Any

import msgspec
import sqlalchemy as sa

from candide.domain.ids import new_id
from candide.domain.jobs import ENDED, Item, Job, JobState
from candide.errors import Conflict, NotFound
from candide.store.changes import Changes
from candide.store.database import Database
from candide.store.schema import job_items, jobs, targets

LOOKED_AT = 100
"""As many of the latest jobs are looked through for what could not be read."""
MAX_UNREAD = 20


class JobStore:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()

    async def create(self, library_id: str, target_ids: Sequence[str]) -> Job:
        job = Job(
            id=new_id("job"),
            library_id=library_id,
            state="queued",
            target_ids=list(target_ids),
            created_at=time.time(),
        )
        async with self._database.write() as connection:
            await connection.execute(jobs.insert(), _row(job))
        self._changes.announce("jobs")
        return job

    async def get(self, job_id: str) -> Job:
        async with self._database.read() as connection:
            row = (await connection.execute(sa.select(jobs).where(jobs.c.id == job_id))).mappings().first()
        if row is None:
            raise NotFound(f"there is no job '{job_id}'")
        return _job(row)

    async def list(
        self, library_id: str | None = None, limit: int = 100, *, unended: bool = False
    ) -> list[Job]:
        """The jobs, or those that have not ended, the latest first."""
        query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        if library_id is not None:
            query = query.where(jobs.c.library_id == library_id)
        if unended:
            query = query.where(jobs.c.state.not_in(ENDED))
        async with self._database.read() as connection:
            return [_job(row) for row in (await connection.execute(query)).mappings()]

    async def find_unread(self, library_ids: Collection[str]) -> list[str]:
        """What of libraries could not be read the last time it was tried, or is still to be read; a line each."""
        unread: dict[str, None] = {}
        async with self._database.read() as connection:
            wanted = targets.c.library_id.in_(library_ids)
            there = {row.id: row for row in await connection.execute(sa.select(targets).where(wanted))}
            query = sa.select(jobs).where(jobs.c.library_id.in_(library_ids)).order_by(jobs.c.id.desc())
            rows = await connection.execute(query.limit(LOOKED_AT))
            latest = [_job(row) for row in rows.mappings()]
        seen: set[str] = set()
        for job in latest:
            fresh = [target for target in job.target_ids if target in there and target not in seen]
            seen.update(fresh)
            if not fresh:
                continue
            for problem in job.problems:
                unread[f"{_name(problem.uri, job.library_id)}: {problem.reason}"] = None
            if job.state not in ENDED:
                left = job.progress.found - job.progress.done
                unread[f"{left or 'some'} of what was added are still to be read"] = None
        for target_id, row in there.items():
            if row.error and target_id not in seen:
                unread[f"{_name(row.uri, row.library_id)}: {row.error}"] = None
        lines = list(unread)
        more = len(lines) - MAX_UNREAD
        return lines if more <= 0 else [*lines[:MAX_UNREAD], f"and {more} more"]

    async def list_unfinished(self) -> list[Job]:
        """Those that are queued or running, the oldest first."""
        query = sa.select(jobs).where(sa.or_(jobs.c.state == "queued", jobs.c.state == "running"))
        async with self._database.read() as connection:
            return [_job(row) for row in (await connection.execute(query.order_by(jobs.c.id))).mappings()]

    async def trim(self, keep: int) -> None:
        """Forget the jobs that have ended, all but the latest so many."""
        last = sa.select(jobs.c.id).where(jobs.c.state.in_(ENDED)).order_by(jobs.c.id.desc()).limit(keep)
        async with self._database.write(durable=False) as connection:
            kept = [row.id for row in await connection.execute(last)]
            if len(kept) == keep:
                await connection.execute(jobs.delete().where(jobs.c.state.in_(ENDED), jobs.c.id < kept[-1]))

    async def save(self, job: Job) -> None:
        """Write down how far a job has come; its state is changed by `move` alone."""
        row = _row(job)
        async with self._database.write(durable=False) as connection:
            await connection.execute(
                jobs.update()
                .where(jobs.c.id == job.id)
                .values(progress=row["progress"], problems=row["problems"])
            )
        self._changes.announce("jobs")

    async def move(self, job_id: str, state: JobState, *, error: str | None = None) -> Job:
        """Change a job's state; one that has ended stays as it is. Raises Conflict for what makes no sense."""
        allowed: dict[JobState, tuple[JobState, ...]] = {
            "running": ("queued", "running"),
            "queued": ("paused", "running"),
            "paused": ("queued", "running"),
            "finished": ("running",),
            "failed": ("queued", "running"),
            "cancelled": ("queued", "running", "paused"),
        }
        ends = state in ENDED
        async with self._database.write() as connection:
            done = await connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.state.in_(allowed.get(state, ())))
                .values(state=state, error=error, finished_at=time.time() if ends else None)
            )
            if ends and done.rowcount:
                await connection.execute(job_items.delete().where(job_items.c.job_id == job_id))
        job = await self.get(job_id)
        if done.rowcount == 0 and job.state != state:
            raise Conflict(f"the job is {job.state}")
        self._changes.announce("jobs")
        return job

    async def add_items(self, job_id: str, items: Sequence[Item]) -> int:
        """Add addresses to a job's frontier; how many of them are new to it."""
        if not items:
            return 0
        async with self._database.write(durable=False) as connection:
            keys = [item.key for item in items]
            known = await connection.execute(
                sa.select(job_items.c.key).where(job_items.c.job_id == job_id, job_items.c.key.in_(keys))
            )
            there = {row.key for row in known}
            fresh = {item.key: item for item in items if item.key not in there}
            if fresh:
                rows = [
                    {"job_id": job_id, "done": False, **msgspec.structs.asdict(i)} for i in fresh.values()
                ]
                await connection.execute(job_items.insert(), rows)
        return len(fresh)

    async def next_items(self, job_id: str, limit: int, target_id: str | None = None) -> list[Item]:
        """Addresses, of one target or all, that the job is not done with, the shallowest first."""
        query = (
            sa.select(job_items.c.key, job_items.c.target_id, job_items.c.depth)
            .where(job_items.c.job_id == job_id, ~job_items.c.done)
            .order_by(job_items.c.depth, job_items.c.key)
            .limit(limit)
        )
        if target_id is not None:
            query = query.where(job_items.c.target_id == target_id)
        async with self._database.read() as connection:
            return [Item(row.key, row.target_id, row.depth) for row in await connection.execute(query)]

    async def finish_items(self, job_id: str, keys: Sequence[str]) -> None:
        async with self._database.write(durable=False) as connection:
            await connection.execute(
                job_items.update()
                .where(job_items.c.job_id == job_id, job_items.c.key.in_(keys))
                .values(done=True)
            )


def _name(uri: str, library_id: str) -> str:
    """What was uploaded is known by its name, everything else by its address."""
    path = PurePath(uri)
    return path.name if path.parent.parts[-2:] == ("uploads", library_id) else uri


def _row(job: Job) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(job)
    return row


def _job(row: sa.RowMapping) -> Job:
    return msgspec.convert({str(name): value for name, value in row.items()}, Job)
