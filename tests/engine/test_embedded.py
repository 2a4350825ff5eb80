"""The embedded engine with a real model: processes are really killed, memory is really given back."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from candide.engine.embedded import EmbeddedEngines, EmbeddedOptions
from candide.engine.sizing import MIB
from candide.errors import (
    BadRequest,
    EngineError,
    EngineOverloaded,
    EngineUnavailable,
    NotFound,
    SettingsError,
    WeightsError,
)

from ..processes import list_children, read_command

pytestmark = pytest.mark.weights

Start = Callable[..., EmbeddedEngines]


@pytest.fixture
async def start(smol_path: Path, tmp_path: Path) -> AsyncIterator[Start]:
    """Make embedded engines over the small model under the name `smol`, closed after the test."""
    made: list[EmbeddedEngines] = []

    def make(weights: Mapping[str, Path] | None = None, **options: Any) -> EmbeddedEngines:
        options = {"context_tokens": 1024, "slots": 2, "logs_dir": tmp_path / "logs", **options}
        engine = EmbeddedEngines(weights or {"smol": smol_path}, EmbeddedOptions(**options))
        made.append(engine)
        return engine

    yield make
    for engine in made:
        await engine.close()


def chat(*texts: str, model: str = "smol", **parameters: Any) -> dict[str, Any]:
    """A request whose messages alternate between user and assistant."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return {"model": model, "messages": messages, "temperature": 0, "max_tokens": 16, **parameters}


ENDLESS = chat("Count from one to one million.", max_tokens=900, ignore_eos=True)


async def read_text(stream: Any) -> str:
    parts: list[str] = []
    async for batch in stream:
        for payload in batch:
            for choice in json.loads(payload)["choices"]:
                parts.append(choice["delta"].get("content") or "")  # noqa: PERF401
    return "".join(parts)


async def first_batch(stream: Any) -> list[bytes]:
    return await anext(aiter(stream))


async def wait_until(condition: Callable[[], Any], longest_s: float = 20.0) -> None:
    deadline = time.monotonic() + longest_s
    while True:
        met = condition()
        if asyncio.iscoroutine(met):
            met = await met
        if met:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def busy_slots(engine: EmbeddedEngines) -> int:
    worker = engine._places["smol"].worker
    assert worker is not None
    return await worker.count_busy_slots(5)


async def test_model_is_loaded_by_the_first_request_and_streams(start: Start) -> None:
    engine = start()
    assert await engine.models() == ["smol"]
    assert not await engine.ready()
    stream = await engine.open_chat(chat("Say hello."))
    assert await read_text(stream)
    await stream.aclose()
    assert await engine.ready()


async def test_requests_during_the_load_wait_for_one_and_the_same_worker(start: Start) -> None:
    engine = start()
    replies = await asyncio.gather(*(engine.post("/chat/completions", chat(f"Say {n}.")) for n in range(4)))
    assert all(reply["choices"][0]["message"]["content"] for reply in replies)
    assert len(list_children("engine.worker")) == 1


async def test_request_for_a_model_without_weights_is_not_found(start: Start) -> None:
    with pytest.raises(NotFound, match="'gpt-4o'"):
        await start().open_chat(chat("Hi", model="gpt-4o"))


async def test_worker_refuses_whoever_does_not_know_its_key(start: Start) -> None:
    import aiohttp

    engine = start()
    await engine.load("smol")
    worker = engine._places["smol"].worker
    assert worker is not None
    async with (
        aiohttp.ClientSession() as session,
        session.post(worker.address + "/v1/chat/completions", json=chat("Hi")) as response,
    ):
        assert response.status == 401
    arguments = " ".join(psutil.Process(worker.pid).cmdline())
    assert worker.config.api_key not in arguments


async def test_prompt_and_answer_of_a_turn_are_not_read_again_in_the_next(start: Start) -> None:
    engine = start()
    texts: list[str] = ["Name three animals of the forest and say where each of them lives."]
    known = 0
    for _ in range(4):
        reply = await engine.post("/chat/completions", chat(*texts, max_tokens=32))
        usage = reply["usage"]
        # The template closes the answer with tokens of its own, which were not in the cache.
        assert usage["prompt_tokens_details"]["cached_tokens"] >= known - 3
        known = usage["prompt_tokens"] + usage["completion_tokens"]
        texts += [reply["choices"][0]["message"]["content"], "Go on with one more."]
    assert known > 150


async def test_what_was_read_ahead_is_not_read_again(start: Start) -> None:
    engine = start()
    question = "Name three animals of the forest and say where each of them lives."
    # A model that is away is not loaded for it.
    await engine.read_ahead("smol", chat(question)["messages"])
    assert engine.loaded() == {}
    await engine.post("/chat/completions", chat(question, max_tokens=8))
    answer = "The fox, the owl and the boar: " + "all of them live in the forest near the old town. " * 8
    ahead = chat(question, answer, "Question:")["messages"]
    reading = asyncio.create_task(engine.read_ahead("smol", ahead))
    await asyncio.sleep(0)
    # Who asks in the meantime is given the slot that has read.
    stream = await engine.open_chat(
        chat(question, answer, "Question: Where do foxes live?", stream_options={"include_usage": True})
    )
    usage = [
        found async for batch in stream for payload in batch if (found := json.loads(payload).get("usage"))
    ][-1]
    await stream.aclose()
    await reading
    rest = " Where do foxes live?<|im_end|>\n<|im_start|>assistant\n"
    tokens = (await engine.post("/tokenize", {"model": "smol", "content": rest, "parse_special": True}))[
        "tokens"
    ]
    assert usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"] <= len(tokens)
    assert usage["prompt_tokens"] > 100


async def test_other_conversations_and_titles_leave_the_prefix_of_the_first_in_the_cache(
    start: Start,
) -> None:
    engine = start()
    story = "Tell me about the river that runs through the old town. " * 12
    first = await engine.post("/chat/completions", chat(story, max_tokens=32))
    answer = first["choices"][0]["message"]["content"]
    known = first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"]
    await engine.post("/chat/completions", chat(story, answer, "Write a title for this conversation."))
    for n in range(4):  # more conversations than slots
        await engine.post(
            "/chat/completions", chat(f"{n} things that I like about mountains are these. " * 12)
        )
    again = await engine.post("/chat/completions", chat(story, answer, "And then?"))
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= known - 3


async def test_each_conversation_may_use_the_full_context_whatever_the_number_of_slots(start: Start) -> None:
    engine = start(slots=4, context_tokens=512)
    reply = await engine.post("/chat/completions", chat("word " * 450, max_tokens=1))
    assert reply["usage"]["prompt_tokens"] > 450
    assert engine.loaded()["smol"].context == 512


async def test_answers_are_written_at_the_same_time(start: Start) -> None:
    engine = start()
    streams = [await engine.open_chat(ENDLESS) for _ in range(2)]
    assert await busy_slots(engine) == 2
    for stream in streams:
        await first_batch(stream)
        await stream.aclose()


async def wait_until_busy(engine: EmbeddedEngines, slots: int, longest_s: float = 10.0) -> None:
    async def is_so() -> bool:
        await asyncio.sleep(0.3)
        return await busy_slots(engine) == slots

    await wait_until(is_so, longest_s)


async def test_closing_a_stream_frees_its_slot(start: Start) -> None:
    engine = start(slots=1)
    stream = await engine.open_chat(ENDLESS)
    await first_batch(stream)
    assert await busy_slots(engine) == 1
    await stream.aclose()
    await wait_until_busy(engine, 0, 5)
    assert await engine.post("/chat/completions", chat("Hi"))


async def test_closing_a_stream_before_its_first_token_frees_its_slot_while_others_are_answered(
    start: Start,
) -> None:
    engine = start(slots=2, context_tokens=8192)
    other = await engine.open_chat(ENDLESS)
    reading = asyncio.create_task(read_text(other))
    stream = await engine.open_chat(chat("word " * 6000))
    assert await busy_slots(engine) == 2
    await stream.aclose()
    await wait_until_busy(engine, 1, 10)
    assert not reading.done()
    reading.cancel()
    await asyncio.wait([reading])
    await other.aclose()


async def test_giving_up_a_whole_answer_frees_its_slot(start: Start) -> None:
    engine = start(slots=1, context_tokens=8192)
    await engine.load("smol")
    waiting = asyncio.create_task(engine.post("/chat/completions", chat("word " * 6000)))
    await wait_until_busy(engine, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    # llama.cpp looks once a second whether someone still listens, and each look of ours restarts that second.
    await asyncio.sleep(2.5)
    await wait_until_busy(engine, 0, 10)


async def test_streams_break_when_the_worker_is_killed_and_the_next_request_is_answered(start: Start) -> None:
    engine = start()
    stream = await engine.open_chat(ENDLESS)
    await first_batch(stream)
    killed = engine.worker_pid("smol")
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(EngineError):
        await read_text(stream)
    await stream.aclose()
    reply = await engine.post("/chat/completions", chat("Hi"))
    assert reply["choices"][0]["message"]["content"]
    assert engine.worker_pid("smol") != killed


async def test_request_of_which_nothing_was_shown_goes_to_the_next_worker_by_itself(start: Start) -> None:
    engine = start(slots=1)
    await engine.load("smol")
    killed = engine.worker_pid("smol")
    assert killed is not None
    waiting = asyncio.create_task(engine.post("/chat/completions", chat("word " * 300)))
    await asyncio.sleep(0.3)
    os.kill(killed, signal.SIGKILL)
    assert (await waiting)["choices"]


async def test_worker_that_keeps_dying_is_given_growing_pauses(start: Start, tmp_path: Path) -> None:
    program = install_llama_server(
        tmp_path,
        f"""#!/bin/sh
[ "$1" = --help ] && exit
date +%s.%N >> {tmp_path}/starts
echo no such processor >&2
exit 3
""",
    )
    engine = start(llama_server=str(program))
    for _ in range(4):
        with pytest.raises(EngineUnavailable, match="no such processor"):
            await engine.open_chat(chat("Hi"))
    starts = [float(line) for line in (tmp_path / "starts").read_text().splitlines()]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(pauses) == 3
    assert pauses[0] < pauses[1] < pauses[2]


LLAMA_SERVER = f"""#!{sys.executable}
import argparse, os, sys, time
if "--help" in sys.argv:
    print("--model --alias --host --port --parallel --ctx-size --kv-unified --cache-ram --threads")
    print("--threads-http --batch-size --ubatch-size --embeddings --pooling --jinja")
    sys.exit()
import xllamacpp
parser = argparse.ArgumentParser()
for flag in ("--kv-unified", "--embeddings", "--jinja"):
    parser.add_argument(flag, action="store_true")
for flag in ("--model", "--alias", "--host", "--pooling"):
    parser.add_argument(flag)
for flag in ("--port", "--parallel", "--ctx-size", "--cache-ram", "--threads", "--threads-http", "--batch-size", "--ubatch-size"):
    parser.add_argument(flag, type=int)
given = parser.parse_args()
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.port, parameters.n_ctx = given.model, given.port, given.ctx_size
parameters.n_parallel, parameters.kv_unified = given.parallel, given.kv_unified
parameters.api_keys = [os.environ["LLAMA_API_KEY"]]
server = xllamacpp.Server(parameters)
time.sleep(600)
"""
"""A llama-server as someone may have installed it: a program of its own, older than some of our flags."""


def install_llama_server(folder: Path, text: str = LLAMA_SERVER) -> Path:
    program = folder / "llama-server"
    program.write_text(text)
    program.chmod(0o755)
    return program


def run_by(engine: EmbeddedEngines) -> list[str]:
    """What the worker runs: the commands of its children."""
    return [read_command(child) for child in psutil.Process(engine.worker_pid("smol")).children()]


async def test_llama_server_on_the_path_is_used_and_dies_with_its_worker(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = install_llama_server(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    engine = start()
    assert (await engine.post("/chat/completions", chat("Hi")))["choices"]
    worker = psutil.Process(engine.worker_pid("smol"))
    (child,) = worker.children()
    assert str(program) in child.cmdline()
    worker.kill()
    child.wait(timeout=5)


async def test_llama_server_on_the_path_is_left_alone_when_turned_off(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_llama_server(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    engine = start(llama_server="off")
    await engine.load("smol")
    assert run_by(engine) == []


async def test_llama_server_on_the_path_that_does_not_work_gives_way_to_the_built_in_one(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_llama_server(tmp_path, LLAMA_SERVER.replace("import xllamacpp", "raise SystemExit(1)", 1))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    engine = start()
    assert (await engine.post("/chat/completions", chat("Hi")))["choices"]
    assert run_by(engine) == []


async def test_named_llama_server_that_is_not_there_is_said_so(start: Start) -> None:
    with pytest.raises(SettingsError, match="'/nowhere/llama-server'"):
        await start(llama_server="/nowhere/llama-server").load("smol")


@pytest.mark.parametrize("when", ["loading", "serving"])
def test_worker_does_not_outlive_a_killed_server(smol_path: Path, tmp_path: Path, when: str) -> None:
    script = f"""
import asyncio
import psutil
from pathlib import Path
from candide.engine.embedded import EmbeddedEngines, EmbeddedOptions

async def main():
    engine = EmbeddedEngines({{"smol": Path({str(smol_path)!r})}}, EmbeddedOptions(logs_dir=Path({str(tmp_path)!r})))
    loading = asyncio.create_task(engine.load("smol"))
    if {when!r} == "serving":
        await loading
    else:
        while not psutil.Process().children():
            await asyncio.sleep(0.01)
    print("now", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"now\n"
        (worker,) = psutil.Process(server.pid).children()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    worker.wait(timeout=5)


async def test_closing_the_engine_ends_its_workers(start: Start) -> None:
    engine = start()
    await engine.load("smol")
    worker = psutil.Process(engine.worker_pid("smol"))
    await engine.close()
    assert not worker.is_running()
    with pytest.raises(EngineUnavailable):
        await engine.open_chat(chat("Hi"))


async def test_closing_the_engine_during_a_load_leaves_no_process(start: Start) -> None:
    engine = start()
    loading = asyncio.create_task(engine.load("smol"))
    await wait_until(lambda: list_children("engine.worker"))
    await engine.close()
    with pytest.raises((asyncio.CancelledError, EngineUnavailable)):
        await loading
    assert not list_children("engine.worker")


async def test_truncated_weights_are_named_and_others_still_answer(
    start: Start, smol_path: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    with smol_path.open("rb") as whole:
        broken.write_bytes(whole.read(50_000_000))
    engine = start({"smol": smol_path, "broken": broken})
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"broken\.gguf"):
            await engine.open_chat(chat("Hi", model="broken"))
    assert await engine.post("/chat/completions", chat("Hi"))


async def test_weights_that_llama_cpp_cannot_use_are_named_with_the_end_of_its_log(
    start: Start, smol_path: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    data = bytearray(smol_path.read_bytes())
    at = data.index(b"blk.7.attn_q.weight")
    data[at : at + 5] = b"blq.7"
    broken.write_bytes(data)
    engine = start({"smol": smol_path, "broken": broken})
    with pytest.raises(WeightsError, match=r"(?s)broken\.gguf.*log ends:.*blk\.7\.attn_q"):
        await engine.open_chat(chat("Hi", model="broken"))


async def test_model_that_cannot_fit_is_refused_with_the_figures(start: Start) -> None:
    with pytest.raises(WeightsError, match=r"needs \d+ MiB.*200 MiB may be used"):
        await start(memory_mb=200).load("smol")


async def test_least_recently_used_model_makes_room(start: Start, smol_path: Path) -> None:
    engine = start({"one": smol_path, "two": smol_path, "three": smol_path})
    await engine.load("one")
    size = engine.loaded()["one"].memory_bytes
    await engine.close()
    names = {"one": smol_path, "two": smol_path, "three": smol_path}
    engine = start(names, memory_mb=2 * size // MIB + 1)
    for model in ("one", "two", "one", "three"):
        await engine.post("/chat/completions", chat("Hi", model=model, max_tokens=1))
    assert set(engine.loaded()) == {"one", "three"}


async def test_model_at_work_is_not_unloaded_for_another(start: Start, smol_path: Path) -> None:
    engine = start({"one": smol_path, "two": smol_path}, memory_mb=600)
    stream = await engine.open_chat(ENDLESS | {"model": "one"})
    waiting = asyncio.create_task(engine.post("/chat/completions", chat("Hi", model="two")))
    await first_batch(stream)
    await asyncio.sleep(0.5)
    assert set(engine.loaded()) == {"one"}
    await stream.aclose()
    assert (await waiting)["choices"]
    assert set(engine.loaded()) == {"two"}


async def test_idle_model_is_unloaded_and_comes_back_when_asked_for(start: Start) -> None:
    engine = start(idle_unload_s=0.5)
    await engine.post("/chat/completions", chat("Hi"))
    worker = psutil.Process(engine.worker_pid("smol"))
    await wait_until(lambda: not worker.is_running())
    assert engine.loaded() == {}
    assert (await engine.post("/chat/completions", chat("Hi")))["choices"]


async def test_log_of_a_worker_is_kept(start: Start, tmp_path: Path) -> None:
    engine = start()
    await engine.load("smol")
    await engine.close()
    # Written by a thread of llama.cpp's own, whose last lines may be lost with it.
    assert "load_model" in (tmp_path / "logs" / "engine-smol.log").read_text()


async def test_more_requests_than_the_queue_takes_are_told_to_come_back(start: Start) -> None:
    engine = start(queue_limit=2)
    streams = [await engine.open_chat(ENDLESS) for _ in range(2)]
    with pytest.raises(EngineOverloaded):
        await engine.open_chat(chat("Hi"))
    for stream in streams:
        await stream.aclose()


async def test_embeddings_come_from_the_worker_that_chats(start: Start) -> None:
    engine = start()
    reply = await engine.post("/embeddings", {"model": "smol", "input": ["a river", "a stream", "tax law"]})
    assert len(reply["data"]) == 3
    assert len(reply["data"][0]["embedding"]) == 576
    assert (await engine.post("/chat/completions", chat("Hi")))["choices"]
    assert len(list_children("engine.worker")) == 1


async def test_texts_longer_than_one_step_are_embedded(start: Start) -> None:
    reply = await start().post("/embeddings", {"model": "smol", "input": "word " * 200})
    assert len(reply["data"][0]["embedding"]) == 576


HOSTILE = "root ::= " + '("a"?){200} ' * 5 + '"a"{1000}'
"""Past the check of schemas, as a request may come whose cost nobody foresaw."""


async def test_hostile_constraint_is_refused_and_others_go_on(start: Start) -> None:
    engine = start(stall_s=2.0)
    await engine.load("smol")
    innocent = asyncio.create_task(engine.post("/chat/completions", ENDLESS | {"max_tokens": 300}))
    await asyncio.sleep(0.5)
    with pytest.raises(BadRequest) as caught:
        await read_text(await engine.open_chat(chat("Hi", grammar=HOSTILE)))
    assert caught.value.param == "grammar"
    assert (await innocent)["usage"]["completion_tokens"] == 300
    # The same constraint is not tried again.
    worker = engine.worker_pid("smol")
    with pytest.raises(BadRequest):
        await engine.post("/chat/completions", chat("Hello", grammar=HOSTILE))
    assert engine.worker_pid("smol") == worker


async def test_constraint_that_takes_long_to_prepare_holds_nobody_up(start: Start) -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(40_000)}}
    engine = start(stall_s=2.0)
    await engine.load("smol")
    slow = asyncio.create_task(
        engine.post("/completions", {"model": "smol", "prompt": "Hi", "json_schema": schema})
    )
    await asyncio.sleep(0.5)
    quick = asyncio.create_task(engine.post("/chat/completions", chat("Hi", max_tokens=4)))
    await asyncio.wait({slow, quick}, return_when=asyncio.FIRST_COMPLETED)
    assert quick.result()["choices"]
    assert not slow.done()
    slow.cancel()


async def test_worker_that_stands_still_is_replaced(start: Start) -> None:
    engine = start(stall_s=2.0, hang_s=3.0)
    stream = await engine.open_chat(ENDLESS)
    frozen = engine.worker_pid("smol")
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    with pytest.raises(EngineError):
        await read_text(stream)
    await stream.aclose()
    assert (await engine.post("/chat/completions", chat("Hi")))["choices"]
