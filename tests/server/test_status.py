"""A server without its model serves at once: it says how far the download is, and answers when the model is there."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import HereStarter, ModelHost, ServerProcess


def wait_for(server: ServerProcess, state: str) -> Any:
    """The status, once the engine's state is this one."""
    for _ in range(1200):
        status = server.call("GET", "/api/status")
        if status["engine"]["state"] == state:
            return status
        time.sleep(0.05)
    raise AssertionError(f"never {state}: {status}\n{server.log.read_text()}")


def error_of(call: Callable[[], Any]) -> tuple[int, Any]:
    with pytest.raises(urllib.error.HTTPError) as refused:
        call()
    with refused.value as reply:
        return reply.code, json.loads(reply.read())


async def test_an_engine_that_answers_is_ready(start_here: HereStarter, tmp_path: Path) -> None:
    here = await start_here()
    status = (await here.call("GET", "/api/status")).json
    assert status["ready"]
    assert status["engine"] == {"state": "ready", "message": "", "hint": ""}
    assert (status["model"], status["where"], status["download"]) == ("scripted", "this machine", None)
    assert status["home"] == str(tmp_path / "home")
    assert (await here.call("POST", "/api/status/download")).status == 409


async def test_an_engine_that_is_gone_is_unreachable_with_its_reason(start_here: HereStarter) -> None:
    here = await start_here()
    await here.engine.stop()
    status = (await here.call("GET", "/api/status")).json
    assert (status["ready"], status["engine"]["state"]) == (False, "unreachable")
    assert "cannot be reached" in status["engine"]["message"]
    assert status["engine"]["hint"]


async def test_a_home_without_a_model_says_that_it_is_missing(start_here: HereStarter) -> None:
    here = await start_here({"engine_urls": "", "embedded": True})
    status = (await here.call("GET", "/api/status")).json
    assert (status["ready"], status["engine"]["state"], status["model"]) == (False, "missing", "")
    assert "candide models pull" in status["engine"]["hint"]


async def test_models_are_told_with_what_is_known_of_them(start_here: HereStarter) -> None:
    here = await start_here()
    (model,) = (await here.call("GET", "/api/models")).json["data"]
    assert model == {
        "name": "scripted", "default": True, "engines": model["engines"], "description": "", "size_bytes": None,
        "context_tokens": None, "location": "this machine", "cost": "free", "vision": None, "loaded": None,
    }  # fmt: skip


@pytest.mark.weights
def test_a_question_that_is_asked_during_the_download_is_answered_when_the_model_is_there(
    host_model: Callable[..., ModelHost], candide_server: Callable[..., ServerProcess], smol_path: Path
) -> None:
    host = host_model(smol_path.read_bytes())
    host.hold()
    server = candide_server("--model", host.url)
    status = wait_for(server, "downloading")
    assert not status["ready"]
    while not status["download"]["received_bytes"]:
        status = server.call("GET", "/api/status")
    assert (status["model"], status["download"]["file"]) == ("tiny", "tiny.gguf")
    assert status["download"]["total_bytes"] == smol_path.stat().st_size
    assert status["download"]["error"] is None
    conversation = server.call("POST", "/api/conversations")["id"]
    question = {"text": "Say hello.", "params": {"max_tokens": 16}}
    turn = server.call("POST", f"/api/conversations/{conversation}/turns", question)
    assert error_of(lambda: server.call("GET", "/ready"))[0] == 503
    code, reply = error_of(
        lambda: server.call(
            "POST", "/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
        )
    )
    assert (code, reply["error"]["code"]) == (503, "model_downloading")
    assert server.call("GET", "/api/models")["data"] == []
    assert server.call("GET", f"/api/turns/{turn['id']}")["state"] in ("queued", "running")
    host.let_go()
    status = wait_for(server, "ready")
    assert (status["model"], status["download"]) == ("tiny", None)
    for _ in range(600):
        if (state := server.call("GET", f"/api/turns/{turn['id']}")["state"]) not in ("queued", "running"):
            break
        time.sleep(0.1)
    assert state == "finished"
    (model,) = server.call("GET", "/api/models")["data"]
    assert (model["name"], model["default"], model["loaded"], model["location"]) == (
        "tiny", True, True, "this machine",
    )  # fmt: skip
    assert model["size_bytes"] == smol_path.stat().st_size
    assert model["vision"] is False


def test_a_download_that_failed_says_why_and_is_tried_again(
    host_model: Callable[..., ModelHost], candide_server: Callable[..., ServerProcess]
) -> None:
    host = host_model(b"GGUF" + bytes(1_000_000))
    host.is_away = True
    server = candide_server("--model", host.url)
    status = wait_for(server, "missing")
    assert "404" in status["download"]["error"]
    assert status["engine"]["message"] == status["download"]["error"]
    assert status["download"]["error"] in server.log.read_text(), "the terminal says it as well"
    conversation = server.call("POST", "/api/conversations")["id"]
    turn = server.call("POST", f"/api/conversations/{conversation}/turns", {"text": "Hello"})
    for _ in range(100):
        if (state := server.call("GET", f"/api/turns/{turn['id']}"))["state"] == "failed":
            break
        time.sleep(0.05)
    assert "404" in state["error"]["message"], "nobody waits for what does not come"
    host.is_away = False
    host.hold()
    assert server.call("POST", "/api/status/download", {})["engine"]["state"] == "downloading"
    assert server.call("POST", "/api/status/download", {})["engine"]["state"] == "downloading"
    host.let_go()
    status = wait_for(server, "missing")
    assert "404" not in status["download"]["error"], "it came, and is no model"


def test_a_server_ends_at_once_during_a_download_and_keeps_what_has_come(
    host_model: Callable[..., ModelHost], candide_server: Callable[..., ServerProcess]
) -> None:
    host = host_model(b"GGUF" + bytes(50_000_000), pause_s=0.2)
    server = candide_server("--model", host.url)
    status = wait_for(server, "downloading")
    while status["download"]["received_bytes"] < 5_000_000:
        status = server.call("GET", "/api/status")
    began = time.monotonic()
    assert server.kill(15) == 0
    assert time.monotonic() - began < 20
    assert "what was fetched is kept" in server.log.read_text()
    part = next(server.log.parent.glob("home/models/.partial/*.part"))
    assert part.stat().st_size > 4_000_000


async def test_nobody_waits_for_ever_at_an_engine_that_is_silent(start_here: HereStarter) -> None:
    here = await start_here()

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    port = here.engine.port
    await here.engine.stop()
    async with await asyncio.start_server(be_silent, "127.0.0.1", port):
        began = time.monotonic()
        status = (await here.call("GET", "/api/status")).json
        assert status["engine"]["state"] == "unreachable"
        assert time.monotonic() - began < 10
