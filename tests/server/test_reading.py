"""What was to be read is read once, though the server and the process that reads are killed in the middle of it."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from conftest import EngineThread, ServerProcess

COUNT = 1500
PATIENCE_S = 90.0


def wait_until(happens: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := happens()):
        assert time.monotonic() < deadline, "it never happens"
        time.sleep(0.05)
    return found


def find_readers(home: Path) -> list[psutil.Process]:
    """The processes that read sources of this home."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if "candide.ingestion.worker" in process.cmdline() and str(home) in json.dumps(
                [file.path for file in process.open_files()]
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_killed_server_goes_on_with_what_it_was_reading(
    engine_thread: EngineThread, candide_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    from candide.engine.scripted import Script

    corpus = tmp_path / "corpus.jsonl"
    lines = [
        json.dumps({"_id": str(n), "title": f"Document {n}", "text": f"The garden has bed {n}. " * 8})
        for n in range(COUNT)
    ]
    corpus.write_text("\n".join(lines))
    engine = engine_thread.start(Script())
    server = candide_server("--engine-url", engine.url, CANDIDE_EMBEDDINGS="no")
    library = server.call("POST", "/api/libraries", {"name": "Garden"})["id"]
    job = server.call("POST", f"/api/libraries/{library}/targets", {"targets": [{"uri": str(corpus)}]})["id"]

    def view() -> Any:
        return server.call("GET", f"/api/jobs/{job}")

    done = 0
    for _ in range(2):
        wait_until(lambda done=done: view()["progress"]["done"] > done)
        time.sleep(random.random() * 0.4)
        done = view()["progress"]["done"]
        readers = find_readers(tmp_path / "home")
        assert readers
        server.kill(signal.SIGKILL)
        # It does not outlive its server, which nobody could tell what it reads.
        wait_until(lambda readers=readers: not any(reader.is_running() for reader in readers))
        server.start()
    assert 0 < done < COUNT
    wait_until(lambda: view()["state"] == "finished")

    ids: list[str] = []
    after = ""
    while after is not None:
        page = server.call("GET", f"/api/sources?library={library}&limit=500{after and f'&after={after}'}")
        ids += [source["external_id"] for source in page["data"]]
        after = page["next"]
    assert sorted(ids, key=int) == [str(n) for n in range(COUNT)]
    found = server.call("GET", "/api/passages?query=garden+bed&limit=5")
    assert len(found["results"]) == 5
    last = server.call("GET", f"/api/passages?query=%22bed+{COUNT - 1}%22")
    assert [result["source"]["external_id"] for result in last["results"]] == [str(COUNT - 1)]


def test_nothing_is_started_for_a_server_without_libraries(
    engine_thread: EngineThread, candide_server: Callable[..., ServerProcess]
) -> None:
    from candide.engine.scripted import Script

    engine = engine_thread.start(Script())
    server = candide_server("--engine-url", engine.url)
    server.call("GET", "/api/libraries")
    assert server.process is not None
    assert psutil.Process(server.process.pid).children(recursive=True) == []
