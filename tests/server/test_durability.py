"""What was accepted is finished, though the server and its engine are killed in the middle of it.

A few kills at random moments; `bench/durability.py` makes hundreds.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import ServerProcess

    Starter = Callable[..., ServerProcess]

TOKENS = 500
ANSWER = "".join(f"w{n} " for n in range(1, TOKENS + 1))
SCRIPT: dict[str, Any] = {"pace_ms": 4, "replies": [{"tokens": TOKENS}]}


class Client(threading.Thread):
    """Follows a turn to its end, through as many connections as that takes."""

    def __init__(self, server: ServerProcess, turn: str, ends: int = 1) -> None:
        super().__init__(daemon=True)
        self._ends = ends
        self._url = f"{server.url}/api/turns/{turn}/events"
        self.seen: list[tuple[int, dict[str, Any]]] = []
        self.connections = 0

    def run(self) -> None:
        while self.ends < self._ends:
            last = self.seen[-1][0] if self.seen else 0
            request = urllib.request.Request(self._url, headers={"Last-Event-ID": str(last)})
            try:
                with urllib.request.urlopen(request, timeout=20) as response:
                    self.connections += 1
                    number = 0
                    for line in response:
                        if line.startswith(b"id: "):
                            number = int(line[4:])
                        elif line.startswith(b"data: "):
                            self.seen.append((number, json.loads(line[6:])))
            except (OSError, ValueError):
                pass
            except Exception as error:  # http.client's own errors of a cut reply
                assert "IncompleteRead" in type(error).__name__ or "Disconnected" in type(error).__name__  # noqa: PT017
            time.sleep(0.02)

    @property
    def ends(self) -> int:
        return sum(event["kind"] in ("TurnFinished", "TurnFailed") for _, event in self.seen)

    @property
    def text(self) -> str:
        return "".join(event["text"] for _, event in self.seen if event["kind"] == "TextDelta")


def ask(server: ServerProcess) -> tuple[str, str]:
    chat = server.call("POST", "/api/conversations", {})["id"]
    return chat, server.call("POST", f"/api/conversations/{chat}/turns", {"text": "go"})["id"]


def assert_whole(server: ServerProcess, asked: list[tuple[str, str]], clients: list[Client]) -> None:
    for (chat, turn), client in zip(asked, clients, strict=True):
        client.join(60)
        assert not client.is_alive()
        assert [seq for seq, _ in client.seen] == list(range(1, len(client.seen) + 1))
        assert client.seen[-1][1]["kind"] == "TurnFinished"
        assert client.text == ANSWER
        assert server.call("GET", f"/api/turns/{turn}")["state"] == "finished"
        answer = server.call("GET", f"/api/conversations/{chat}")["messages"][-1]
        assert (answer["text"], answer["state"]) == (ANSWER, "complete")


def ask_through_kills(
    server: ServerProcess, killed: ServerProcess, pauses: tuple[float, float]
) -> list[Client]:
    """Ask three questions, kill a process three times meanwhile, and check that every answer is whole."""
    asked = [ask(server) for _ in range(3)]
    clients = [Client(server, turn) for _, turn in asked]
    for client in clients:
        client.start()
    for _ in range(3):
        time.sleep(random.uniform(*pauses))
        killed.kill()
        killed.start()
    assert_whole(server, asked, clients)
    return clients


def test_turns_are_finished_though_the_server_is_killed(
    candide_server: Starter, engine_process: Starter
) -> None:
    server = candide_server("--engine-url", engine_process(**SCRIPT).url)
    clients = ask_through_kills(server, server, (0.05, 0.5))
    assert any(client.connections > 1 for client in clients)


def test_a_continued_turn_is_finished_though_the_server_is_killed(
    candide_server: Starter, engine_process: Starter
) -> None:
    server = candide_server("--engine-url", engine_process(**SCRIPT).url)
    asked = [ask(server) for _ in range(2)]
    for _, turn in asked:
        first = Client(server, turn)
        first.start()
        while "w30 " not in first.text:
            time.sleep(0.01)
        server.call("POST", f"/api/turns/{turn}/stop", {})
        first.join(20)
        assert first.seen[-1][1]["state"] == "stopped"
    clients = [Client(server, turn, ends=2) for _, turn in asked]
    for client, (_, turn) in zip(clients, asked, strict=True):
        assert server.call("POST", f"/api/turns/{turn}/continue", {})["state"] == "running"
        client.start()
    for _ in range(3):
        time.sleep(random.uniform(0.05, 0.4))
        server.kill()
        server.start()
    assert_whole(server, asked, clients)


def test_turns_are_finished_though_the_engine_is_killed(
    candide_server: Starter, engine_process: Starter
) -> None:
    engine = engine_process(**SCRIPT)
    clients = ask_through_kills(candide_server("--engine-url", engine.url), engine, (0.1, 0.4))
    assert any(event["kind"] == "EngineSwitched" for client in clients for _, event in client.seen)


def test_a_server_told_to_end_gives_its_turns_up_and_leaves_nothing(
    candide_server: Starter, engine_process: Starter, tmp_path: Any
) -> None:
    engine = engine_process(**SCRIPT)
    server = candide_server("--engine-url", engine.url)
    asked = [ask(server)]
    clients = [Client(server, asked[0][1])]
    clients[0].start()
    while "w5 " not in clients[0].text:
        time.sleep(0.01)
    (address,) = (tmp_path / "home" / "run" / "servers").iterdir()
    assert json.loads(address.read_text())["url"] == server.url
    assert server.kill(signal.SIGTERM) == 0
    assert not address.exists()
    # Who follows an answer is let go; waiting for the connection would have ended with a traceback.
    assert "Traceback" not in server.log.read_text()
    server.start()
    assert_whole(server, asked, clients)
