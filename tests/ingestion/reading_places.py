"""All that reads sources into libraries, over a real database and index, as `compose.py` puts it together."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from candide.domain.jobs import ENDED, Job, JobState
from candide.domain.retrieval import Filters, WordQuery
from candide.domain.sources import Source, TargetOptions
from candide.index.embedded import EmbeddedIndex
from candide.ingestion import targets
from candide.ingestion.jobs import Ingestion
from candide.ingestion.protocol import WorkerConfig
from candide.store.changes import Changes
from candide.store.database import Database
from candide.store.jobs import JobStore
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore

PATIENCE_S = 90.0


@dataclass
class Place:
    home: Path
    database: Database
    libraries: LibraryStore
    sources: SourceStore
    jobs: JobStore
    changes: Changes
    ingestion: Ingestion
    library: str

    @classmethod
    async def open(cls, home: Path, empty_database: Path, *, embeds: bool = False) -> Place:
        """Open the place in this home, made if need be, with one library in it."""
        for folder in (home, home / "logs", home / "run"):
            folder.mkdir(exist_ok=True)
        if not (home / "candide.db").exists():
            shutil.copy(empty_database, home)
        url = f"sqlite:///{home / 'candide.db'}"
        database = await Database.open(url, home / "backups")
        changes = Changes()
        libraries, sources = LibraryStore(database, changes), SourceStore(database, changes)
        jobs = JobStore(database, changes)
        config = WorkerConfig(
            database_url=url,
            backups_dir=str(home / "backups"),
            home=str(home),
            index_dir=str(home / "index"),
            logs_dir=str(home / "logs"),
            fetch_allowed=["127.0.0.1"],
            embeds=embeds,
            niceness=0,
        )
        ingestion = Ingestion(jobs, libraries, sources, changes, config)
        library = await libraries.find_or_create("Garden")
        await ingestion.start()
        return cls(home, database, libraries, sources, jobs, changes, ingestion, library.id)

    async def close(self) -> None:
        await self.ingestion.close()
        await self.database.close()

    async def add(self, uri: Path | str, kind: str | None = None, **wishes: object) -> Job:
        """Add a target; `options` and the other wishes are its members."""
        target = targets.parse(str(uri), kind=kind)
        for name, value in wishes.items():
            setattr(target, name, value)
        return await self.ingestion.add(self.library, [target])

    async def read(self, uri: Path | str, kind: str | None = None, **options: object) -> Job:
        """Add a target, and return the job once it is finished."""
        return await self.finish(await self.add(uri, kind, options=TargetOptions(**options)))  # type: ignore[arg-type]

    async def refresh(self) -> Job:
        return await self.finish(await self.ingestion.refresh(self.library))

    async def wait(self, job: Job, until: Callable[[Job], bool]) -> Job:
        async with asyncio.timeout(PATIENCE_S):
            while not until(now := await self.jobs.get(job.id)):
                assert now.state not in ENDED, now
                await asyncio.sleep(0.02)
        return now

    async def finish(self, job: Job, state: JobState = "finished") -> Job:
        done = await self.wait(job, lambda now: now.state == state)
        assert done.error is None
        return done

    async def list_sources(self) -> list[Source]:
        return await self.sources.list(self.library, limit=100_000)

    async def check_index(self, word: str) -> int:
        """Check that the index holds the passages of the current sources, all of which have this word; how many."""
        expected: set[int] = set()
        for change in await self.sources.changes_after(0, 1_000_000):
            expected |= {passage.id for passage in change.passages}
        index = EmbeddedIndex(self.home / "index")
        try:
            hits = await index.find_words(WordQuery(text=word), Filters(), 1_000_000)
        finally:
            await index.close()
        ids = [hit.passage_id for hit in hits]
        assert len(ids) == len(set(ids))
        assert set(ids) == expected
        return len(ids)


def counts(job: Job) -> dict[str, int]:
    """What a job did, without what it did not."""
    names = ("added", "updated", "unchanged", "removed", "failed")
    return {name: count for name in names if (count := getattr(job.progress, name))}
