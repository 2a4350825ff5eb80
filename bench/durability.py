"""Kills the server and the engine with SIGKILL at random moments of streamed turns, and counts what is lost.

    python bench/durability.py [--server-kills 200] [--engine-kills 50] [--clients 8] [--seed 1]

Clients ask questions, follow the answers, and come back with Last-Event-ID whenever the connection
breaks. At the end every accepted message must be stored, every turn finished, and what each client put
together equal to the stored answer, with sequence numbers that have no gap and no duplicate. Exit
status 1 when anything is not so. The engine is scripted, at 5 ms a token: its whole answer is known.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from processes import Served, free_port, print_table, spawn_candide, spawn_scripted, workplace

TOKENS = 200
SCRIPT = {"pace_ms": 5, "replies": [{"tokens": TOKENS}]}
ANSWER = "".join(f"w{n} " for n in range(1, TOKENS + 1))
FINISH_TIMEOUT_S = 120.0


@dataclass
class Followed:
    """What one client saw of one turn."""

    conversation: str
    question: str
    turn: dict[str, Any]
    text: str = ""
    last_seq: int = 0
    reconnects: int = 0
    kinds: list[str] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def take(self, seq: int, kind: str, data: dict[str, Any]) -> None:
        if seq != self.last_seq + 1:
            self.faults.append(f"event {seq} came after {self.last_seq}")
        self.last_seq = seq
        self.kinds.append(kind)
        self.last = data
        if kind == "TextDelta":
            self.text += data["text"]

    @property
    def ended(self) -> bool:
        return bool(self.kinds) and self.kinds[-1] in ("TurnFinished", "TurnFailed")


class Client:
    """Asks one question after the other until told to stop, whatever happens to the server."""

    def __init__(self, url: str, number: int) -> None:
        self.url = url
        self.number = number
        self.followed: list[Followed] = []

    async def run(self, stopping: asyncio.Event) -> None:
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(sock_connect=2, sock_read=30)
        ) as session:
            while not stopping.is_set():
                conversation = (
                    await self._insist(session, "/api/conversations", {"title": "durability"}, "")
                )["id"]
                for count in range(2):
                    question = f"question {self.number} {len(self.followed)} {count}"
                    path = f"/api/conversations/{conversation}/turns"
                    turn = await self._insist(session, path, {"text": question}, question)
                    followed = Followed(conversation, question, turn)
                    self.followed.append(followed)
                    await self._follow(session, followed)

    async def _insist(
        self, session: aiohttp.ClientSession, path: str, body: object, key: str
    ) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        while True:
            try:
                async with session.post(self.url + path, json=body, headers=headers) as reply:
                    if reply.status < 300:
                        return await reply.json()
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(0.05)

    async def _follow(self, session: aiohttp.ClientSession, followed: Followed) -> None:
        path = f"/api/turns/{followed.turn['id']}/events"
        while not followed.ended:
            headers = {"Last-Event-ID": str(followed.last_seq)} if followed.last_seq else {}
            try:
                async with session.get(self.url + path, headers=headers) as reply:
                    if reply.status == 200:
                        await _read_events(reply, followed)
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            followed.reconnects += 1
            if not followed.ended:
                await asyncio.sleep(0.05)


async def _read_events(reply: aiohttp.ClientResponse, followed: Followed) -> None:
    rest = b""
    async for part in reply.content.iter_any():
        *frames, rest = (rest + part).split(b"\n\n")
        for frame in frames:
            fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if not line.startswith(b":"))
            if fields:
                followed.take(int(fields[b"id"]), fields[b"event"].decode(), json.loads(fields[b"data"]))


async def run(folder: Path, server_kills: int, engine_kills: int, clients: int, seed: int) -> int:
    chance = random.Random(seed)
    server_port, engine_port = free_port(), free_port()
    home = folder / "home"
    engine = spawn_scripted(SCRIPT, folder, engine_port)

    def start_server() -> Served:
        return spawn_candide(home, "--engine-url", engine.url, port=server_port)

    server = start_server()
    engine.wait()
    server.wait()
    crowd = [Client(server.url, number) for number in range(clients)]
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(client.run(stopping)) for client in crowd]
    kills = ["server"] * server_kills + ["engine"] * engine_kills
    chance.shuffle(kills)
    begun = time.monotonic()
    for count, target in enumerate(kills, 1):
        await asyncio.sleep(chance.uniform(0.0, 1.2))
        if target == "server":
            await asyncio.to_thread(server.kill)
            server = start_server()
            if chance.random() < 0.8:
                await asyncio.to_thread(server.wait)
        else:
            await asyncio.to_thread(engine.kill)
            engine = spawn_scripted(SCRIPT, folder, engine_port)
            if chance.random() < 0.8:
                await asyncio.to_thread(engine.wait)
        if count % 25 == 0:
            turns = sum(len(client.followed) for client in crowd)
            print(
                f"{count} kills, {turns} turns, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True
            )
    stopping.set()
    await asyncio.to_thread(server.wait)
    _, late = await asyncio.wait(tasks, timeout=FINISH_TIMEOUT_S)
    for task in late:
        task.cancel()
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
    faults = await check(server.url, crowd)
    followed = [one for client in crowd for one in client.followed]
    server.stop()
    engine.stop()
    rows = [
        ["server kills", str(server_kills)],
        ["engine kills", str(engine_kills)],
        ["turns accepted", str(len(followed))],
        ["turns that went through a kill", str(sum(1 for one in followed if one.kinds.count("TurnStarted") > 1 or "EngineSwitched" in one.kinds))],
        ["reconnections", str(sum(one.reconnects for one in followed))],
        ["faults", str(len(faults))],
    ]  # fmt: skip
    print_table(f"Durability, {time.monotonic() - begun:.0f} s", ["what", "count"], rows)
    for fault in faults[:20]:
        print(fault)
    return 1 if faults else 0


async def check(url: str, crowd: list[Client]) -> list[str]:
    """Compare what the clients saw with what is stored."""
    faults: list[str] = []
    async with aiohttp.ClientSession() as session:
        for followed in (one for client in crowd for one in client.followed):
            name = f"{followed.turn['id']} ({followed.question})"
            faults.extend(f"{name}: {fault}" for fault in followed.faults)
            async with session.get(f"{url}/api/conversations/{followed.conversation}") as reply:
                stored = {message["id"]: message for message in (await reply.json())["messages"]}
            question = stored.get(followed.turn["user_message_id"])
            answer = stored.get(followed.turn["answer_message_id"])
            if question is None or question["text"] != followed.question:
                faults.append(f"{name}: the question was lost")
            if answer is None:
                faults.append(f"{name}: there is no answer")
                continue
            if not followed.ended or followed.kinds[-1] != "TurnFinished" or answer["state"] != "complete":
                faults.append(f"{name}: ended as {followed.last} with the answer {answer['state']}")
            if answer["text"] != followed.text:
                faults.append(f"{name}: the client has {followed.text!r}, the store {answer['text']!r}")
            if answer["text"] != ANSWER:
                faults.append(f"{name}: the answer is {answer['text']!r}")
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server-kills", type=int, default=200)
    parser.add_argument("--engine-kills", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with workplace() as folder:
        sys.exit(
            asyncio.run(
                run(folder, arguments.server_kills, arguments.engine_kills, arguments.clients, arguments.seed)
            )
        )


if __name__ == "__main__":
    main()
