"""The process in which an import runs: `python -m candide.transfer.worker`.

It reads one line of JSON on its standard input, the fields of `WorkerConfig`, and imports, at a low
priority, so that answers that are being written do not wait for it. Its standard output is one line of
JSON at the end: the ids of the latest conversations that are new or changed, or `{"error": "..."}`.

It never outlives its parent: the end of its standard input ends it, and the import goes on with the next
start of a server. A lock keeps two processes from one import.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from candide.errors import CandideError
from candide.store.database import Database
from candide.store.imports import ImportStore
from candide.transfer.importer import Importer

NICENESS = 10
"""Below answers, but not so far that it would hold the database for long when everything computes."""


class WorkerConfig(msgspec.Struct, kw_only=True):
    database_url: str
    backups_dir: str
    path: str
    """The uploaded file."""
    import_id: str


class Outcome(msgspec.Struct, kw_only=True):
    touched: list[str] = []
    busy: bool = False
    """Another process runs this import."""
    error: str = ""


async def run(config: WorkerConfig) -> Outcome:
    lock = FileLock(f"{config.path}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return Outcome(busy=True)
    try:
        database = await Database.open(config.database_url, Path(config.backups_dir))
        try:
            store = ImportStore(database)
            progress = await store.get(config.import_id)
            if progress.state != "running":
                return Outcome()
            return Outcome(touched=await Importer(store, progress, Path(config.path)).run())
        finally:
            await database.close()
    except CandideError as error:
        return Outcome(error=str(error))
    finally:
        lock.release()


def main() -> None:
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=WorkerConfig)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)

    def watch_parent() -> None:
        # Not by Python's own reader: its lock would outlive the interpreter.
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()
    outcome = asyncio.run(run(config))
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
