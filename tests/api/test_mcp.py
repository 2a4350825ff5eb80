"""The libraries as other assistants reach them: the MCP SDK's own client, over HTTP and over standard input and output."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters

from .conftest import starter
from .libraries import HARBOR, HARBOR_QUESTION, HARBOR_URL, QUESTION, make_library


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def url(home: Path, folder: Path) -> Iterator[str]:
    """A server with a library of a file and a page."""
    with starter(home) as start:
        url = start().url.removesuffix("/v1")
        make_library(url, folder)
        yield url


@pytest.fixture(params=["http", "http, as before 2026", "stdio"])
def server(request: pytest.FixtureRequest, url: str, home: Path) -> tuple[Any, dict[str, Any]]:
    """What a client connects to, and how."""
    if request.param == "stdio":
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CANDIDE_")}
        # It finds no server that left its address, and starts one inside on the same home.
        command = ["-m", "candide", "--home", str(home), "mcp"]
        return StdioServerParameters(command=sys.executable, args=command, env=environ), {}
    return f"{url}/mcp", {} if request.param == "http" else {"mode": "legacy"}


def use(server: tuple[Any, dict[str, Any]], *calls: tuple[str, dict[str, Any]]) -> tuple[Any, list[Any]]:
    """The tools, and what came of calls of them."""

    async def run() -> tuple[Any, list[Any]]:
        async with Client(server[0], **server[1]) as client:
            tools = (await client.list_tools()).tools
            return tools, [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_both_tools_only_read_and_say_what_they_do(server: Any) -> None:
    tools, _ = use(server)
    assert [tool.name for tool in tools] == ["search", "fetch"]
    for tool in tools:
        assert tool.annotations.read_only_hint
        assert not tool.annotations.destructive_hint
        assert "user" in tool.description or "search" in tool.description
    assert tools[0].input_schema["required"] == ["query"]
    assert tools[1].input_schema["required"] == ["id"]


def test_what_is_found_can_be_fetched(server: Any, folder: Path) -> None:
    _, (found,) = use(server, ("search", {"query": HARBOR_QUESTION, "limit": 1}))
    (result,) = found.structured_content["results"]
    assert set(result) == {"id", "title", "url", "text"}
    assert (result["title"], result["url"], result["text"]) == ("Harbor record", HARBOR_URL, HARBOR)
    assert found.structured_content["is_good"]
    # A client that knows no structured content reads the same as text.
    (content,) = found.content
    assert json.loads(content.text) == found.structured_content
    _, (page, rest, river) = use(
        server,
        ("fetch", {"id": result["id"]}),
        ("fetch", {"id": result["id"], "start": 10}),
        ("search", {"query": QUESTION, "library": "mixed", "limit": 1}),
    )
    assert rest.structured_content["text"] == HARBOR[10:]
    assert page.structured_content == {
        "id": result["id"],
        "title": "Harbor record",
        "text": HARBOR,
        "url": HARBOR_URL,
        "metadata": page.structured_content["metadata"],
    }
    assert page.structured_content["metadata"]["published"] == "2024-05-14"
    assert page.structured_content["metadata"]["length"] == len(HARBOR)
    assert river.structured_content["results"][0]["url"] == (folder / "seine.md").as_uri()


def test_what_does_not_answer_is_not_passed_off_as_an_answer(server: Any) -> None:
    query = "How much does a harbor ticket for the train to Madrid cost tomorrow morning?"
    _, (found,) = use(server, ("search", {"query": query}))
    assert found.structured_content["results"]
    assert not found.structured_content["is_good"]


def test_a_mistake_is_told_to_the_assistant(server: Any) -> None:
    mistakes: dict[str, tuple[str, dict[str, Any]]] = {
        "there is no library 'nosuch'": ("search", {"query": "x", "library": "nosuch"}),
        "there is no source 'nosuch'": ("fetch", {"id": "nosuch"}),
        "query": ("search", {"query": ""}),
        "limit": ("search", {"query": "x", "limit": 1000}),
    }
    mistakes |= {
        "search needs 'query': send a question": ("search", {}),
        "'query' is empty: send a question": ("search", {"query": ""}),
        "'limit' cannot be 1000: send a whole number from 1 to 50": ("search", {"query": "x", "limit": 1000}),
        "'start' cannot be -1: send a whole number": ("fetch", {"id": "x", "start": -1}),
        "there is no tool 'find': call search or fetch": ("find", {}),
    }
    _, results = use(server, *mistakes.values())
    for said, result in zip(mistakes, results, strict=True):
        assert result.is_error
        text = result.content[0].text
        assert said in text
        assert not any(
            noise in text for noise in ("pydantic", "http", "Error executing", "validation", "\n")
        ), text


def test_the_guard_stands_before_it(tmp_path: Path, url: str) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accepts = {"Accept": "application/json, text/event-stream"}
    with httpx2.Client(timeout=30) as client:
        page = {**accepts, "Origin": "https://evil.example"}
        assert client.post(f"{url}/mcp", json=message, headers=page).status_code == 403
        assert (
            client.post(f"{url}/mcp", json=message, headers=accepts | {"Host": "evil.example"}).status_code
            == 403
        )
        assert client.get(f"{url}/mcp", headers=accepts).status_code == 405
        assert client.post(f"{url}/mcp", json=message, headers=accepts).status_code == 200


def test_the_sdk_is_not_loaded_until_it_is_used() -> None:
    code = (
        "import sys; import candide.server.app, candide.compose, candide.cli.main; "
        "print([name for name in sys.modules if name == 'mcp' or name.startswith('mcp.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
