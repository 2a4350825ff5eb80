"""How fast a ChatGPT export is read and imported, and how much memory that takes: `make bench BENCH="imports.py --mb 300"`.

The export is made up: conversations of 2 to 30 messages in several scripts, with the members that real ones have.
It is read alone first (the elements of the document, and the conversations of them), then imported into a
database of its own. Megabytes are of the document; those a CPU second do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from candide.conversation import chatgpt
from candide.conversation.elements import Element, read_elements
from candide.store.database import Database
from candide.store.imports import ImportStore
from candide.transfer.archive import Archive
from candide.transfer.importer import Importer

SENTENCE = (
    'the quick brown fox jumps over a lazy dog while éléphants and 猫 discuss "quoted" code\\paths {braces}'
)
WORDS = SENTENCE.split()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the import of a ChatGPT export.")
    parser.add_argument("--mb", type=int, default=50, help="size of the export in megabytes")
    size = parser.parse_args().mb
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversations.json"
        count = write_export(path, size * 1_000_000)
        print(f"{count} conversations, {path.stat().st_size / 1e6:.0f} MB")
        measure("elements", path, lambda: sum(isinstance(e, Element) for e in elements(path)))
        measure("read", path, lambda: sum(1 for e in elements(path) if chatgpt.read_conversation(e.value)))  # type: ignore[union-attr]
        measure("imported", path, lambda: asyncio.run(import_into(Path(folder), path, path.stat().st_size)))


def measure(name: str, path: Path, work: Any) -> None:
    began, used = time.perf_counter(), time.process_time()
    count = work()
    seconds, used = time.perf_counter() - began, time.process_time() - used
    size = path.stat().st_size / 1e6
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:<9} {count:>6}  {size / seconds:6.1f} MB/s  {size / used:6.1f} MB a CPU second  {memory:4.0f} MiB at most"
    )


def elements(path: Path) -> Iterator[Any]:
    archive = Archive(path, path.name)
    return read_elements(archive.read_text(archive.documents[0]))


async def import_into(folder: Path, path: Path, size: int) -> int:
    database = await Database.open(f"sqlite:///{folder / 'candide.db'}", folder / "backups")
    store = ImportStore(database)
    progress = await store.create("import_1", path.name, size)
    await Importer(store, progress, path).run()
    await database.close()
    return progress.added


def write_export(path: Path, size: int) -> int:
    source = random.Random(5)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        while file.tell() < size:
            file.write((", " if count else "") + json.dumps(make_conversation(source, count)))
            count += 1
        file.write("]")
    return count


def make_conversation(source: random.Random, number: int) -> dict[str, Any]:
    moment = 1.6e9 + number * 3600
    made = {"title": say(source, 4), "create_time": moment, "moderation_results": [], "is_archived": False}
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    parent = "root"
    for turn in range(source.choice([2, 4, 8, 12, 30])):
        key = str(uuid.UUID(int=source.getrandbits(128)))
        moment += 17.123
        text = say(source, source.choice([8, 40, 150, 400] if turn % 2 else [5, 20, 60]))
        metadata = {
            "model_slug": "gpt-4o", "parent_id": parent, "citations": [], "content_references": [], "is_complete": True,
            "finish_details": {"type": "stop", "stop_tokens": [200002]}, "timestamp_": "absolute", "request_id": key[:16],
        }  # fmt: skip
        message = {
            "id": key, "author": {"role": "assistant" if turn % 2 else "user", "name": None, "metadata": {}},
            "create_time": moment, "update_time": None, "content": {"content_type": "text", "parts": [text]},
            "status": "finished_successfully", "end_turn": True, "weight": 1.0, "metadata": metadata,
            "recipient": "all", "channel": None,
        }  # fmt: skip
        mapping[parent]["children"].append(key)
        mapping[key] = {"id": key, "message": message, "parent": parent, "children": []}
        parent = key
    return {**made, "update_time": moment, "mapping": mapping, "current_node": parent, "id": f"c{number}"}


def say(source: random.Random, count: int) -> str:
    return " ".join(source.choice(WORDS) for _ in range(count))


if __name__ == "__main__":
    main()
