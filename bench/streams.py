"""Many streams at once, through Candide and at the same engine directly, side by side.

    python bench/streams.py [--streams 1,32,128,512] [--tokens 400] [--pace-ms 5,0]

The engine is scripted, so what is measured is the way through. For each number of streams and each pace:
tokens per second, processor microseconds a token of the server alone, first token p50 and p95, errors,
and the server's memory. `direct` is the engine itself, `stateless` /v1/chat/completions, `durable` a turn
under /api with its events followed. The client runs in this process; all share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path

from processes import Served, print_table, spawn_candide, spawn_scripted, workplace


class Stream:
    """One HTTP/1.1 request over a raw socket, its body counted: a client as cheap as can be."""

    def __init__(self, url: str, token_mark: bytes) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self.host, self.port = host, int(port)
        self.mark = token_mark
        self.first_s = 0.0
        self.count = 0
        self.error = ""

    async def request(self, method: str, path: str, body: object | None, *, whole: bool = False) -> bytes:
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        begun = time.perf_counter()
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=2**20)
        kept: list[bytes] = []
        tail = b""
        try:
            writer.write(head.encode() + data)
            while part := await reader.read(2**18):
                if whole:
                    kept.append(part)
                    continue
                if not self.first_s and self.mark in part:
                    self.first_s = time.perf_counter() - begun
                self.count += part.count(b'"w') if self.mark == b'"w' else part.count(b"w")
                tail = (tail + part)[-600:]
        finally:
            writer.close()
        if not whole and b"[DONE]" not in tail and b"TurnFinished" not in tail:
            self.error = tail[-200:].decode("utf-8", "replace")
        return b"".join(kept)


async def ask_openai(url: str, tokens: int) -> Stream:
    stream = Stream(url, b'"w')
    body = {
        "model": "scripted",
        "stream": True,
        "messages": [{"role": "user", "content": f"{tokens} please"}],
    }
    await stream.request("POST", "/v1/chat/completions", body)
    return stream


async def ask_durable(url: str, tokens: int) -> Stream:
    stream = Stream(url, b'"TextDelta"')
    begun = time.perf_counter()
    made = await Stream(url, b"").request("POST", "/api/conversations", {"title": "bench"}, whole=True)
    conversation = json.loads(made.partition(b"\r\n\r\n")[2])["id"]
    asked = await Stream(url, b"").request(
        "POST", f"/api/conversations/{conversation}/turns", {"text": f"{tokens} please"}, whole=True
    )
    turn = json.loads(asked.partition(b"\r\n\r\n")[2])["id"]
    waited = time.perf_counter() - begun
    await stream.request("GET", f"/api/turns/{turn}/events", None)
    stream.first_s += waited
    return stream


async def run(kind: str, url: str, streams: int, tokens: int) -> tuple[list[Stream], float]:
    ask = ask_durable if kind == "durable" else ask_openai
    begun = time.perf_counter()
    results = await asyncio.gather(*(ask(url, tokens) for _ in range(streams)))
    return results, time.perf_counter() - begun


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(kind: str, server: Served, engine: Served, streams: int, tokens: int) -> dict[str, float]:
    watched = engine if kind == "direct" else server
    cpu = watched.cpu_s()
    results, wall_s = asyncio.run(run(kind, watched.url, streams, tokens))
    cpu = watched.cpu_s() - cpu
    for result in results:
        if result.error:
            print("error:", result.error)
            break
    return {
        "rate": streams * tokens / wall_s,
        "cpu_us": 1e6 * cpu / (streams * tokens),
        "p50": statistics.median(r.first_s for r in results) * 1000,
        "p95": percentile([r.first_s for r in results], 0.95) * 1000,
        "errors": sum(1 for r in results if r.error),
        "rss": watched.rss_mib(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", default="1,32,128,512")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--pace-ms", default="5,0")
    parser.add_argument("--kinds", default="direct,stateless,durable")
    arguments = parser.parse_args()
    with workplace() as folder:
        for pace in arguments.pace_ms.split(","):
            rows: list[list[str]] = []
            script = {"pace_ms": float(pace), "replies": [{"tokens": arguments.tokens}]}
            engine = spawn_scripted(script, folder)
            server = spawn_candide(Path(folder / f"home-{pace}"), "--engine-url", engine.url)
            try:
                engine.wait()
                server.wait("/ready")
                for kind in arguments.kinds.split(","):
                    measure(
                        kind, server, engine, 4, arguments.tokens
                    )  # what is loaded at first use is loaded
                for streams in map(int, arguments.streams.split(",")):
                    direct = 0.0
                    for kind in arguments.kinds.split(","):
                        got = measure(kind, server, engine, streams, arguments.tokens)
                        direct = direct or got["rate"]
                        rows.append(
                            [f"{streams} {kind}", f"{got['rate']:.0f}", f"{got['rate'] / direct:.3f}", f"{got['cpu_us']:.1f}",
                             f"{got['p50']:.1f}", f"{got['p95']:.1f}", f"{got['errors']:.0f}", f"{got['rss']:.0f}"]
                        )  # fmt: skip
            finally:
                server.stop()
                engine.stop()
            offered = "at full speed" if float(pace) == 0 else f"at {pace} ms a token"
            header = [
                "streams",
                "tokens/s",
                "ratio",
                "CPU us/token",
                "first p50 ms",
                "p95 ms",
                "errors",
                "RSS MiB",
            ]
            print_table(f"{arguments.tokens} tokens each, {offered}", header, rows)


if __name__ == "__main__":
    main()
