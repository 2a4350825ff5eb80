"""Whoever listens hears of everything that changes, after it was saved."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from candide import __version__

if TYPE_CHECKING:
    from conftest import Here, HereStarter


class Listening:
    """What one connection hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.ended = False

    async def read(self, response: Any) -> None:
        kind = ""
        async for line in response.content:
            if line.startswith(b"event: "):
                kind = line[7:].decode().strip()
            elif line.startswith(b"data: "):
                self.heard.append((kind, json.loads(line[6:])))
        self.ended = True

    async def until(self, kind: str, **members: Any) -> Any:
        """Wait for an event of this kind with these members, and forget it and what came before it."""
        async with asyncio.timeout(10):
            while True:
                for position, (heard, data) in enumerate(self.heard):
                    if heard == kind and members.items() <= data.items():
                        del self.heard[: position + 1]
                        return data
                await asyncio.sleep(0.005)

    async def nothing_more(self) -> None:
        await asyncio.sleep(0.15)
        assert self.heard == []


@contextlib.asynccontextmanager
async def listen(here: Here) -> AsyncIterator[Listening]:
    listening = Listening()
    async with here.session.get(f"{here.url}/api/changes") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        reading = asyncio.create_task(listening.read(response))
        hello = await listening.until("hello")
        assert hello["version"] == __version__
        assert hello["server"].startswith("server_")
        yield listening
        reading.cancel()


async def test_everything_about_a_conversation_is_told(start_here: HereStarter) -> None:
    here = await start_here(pace_ms=2, replies=[{"tokens": 100}])
    async with listen(here) as one, listen(here) as two:
        chat = (await here.call("POST", "/api/conversations", {"title": "t"})).json["id"]
        for listening in (one, two):
            made = await listening.until("conversation", id=chat)
        listed = (await here.call("GET", "/api/conversations")).json["data"][0]
        assert made == listed
        turn = await here.ask("go", chat)
        await one.until(
            "conversation", id=chat, running=[turn["id"]], current_leaf_id=turn["answer_message_id"]
        )
        await here.events(turn["id"])
        ended = await one.until("conversation", id=chat, running=[], unread=True)
        assert ended["updated_at"] > made["updated_at"]
        for changes in ({"title": "new"}, {"pinned": True}, {"unread": False}, {"params": {"seed": 1}}):
            await here.call("PATCH", f"/api/conversations/{chat}", changes)
            await one.until("conversation", id=chat, **changes)
        message = f"/api/messages/{turn['answer_message_id']}"
        for method, path, body, expected in (
            ("PUT", f"{message}/feedback", {"rating": "up"}, {}),
            ("DELETE", message, None, {"current_leaf_id": turn["user_message_id"]}),
            ("POST", f"{message}/restore", None, {"current_leaf_id": turn["answer_message_id"]}),
            ("DELETE", f"/api/conversations/{chat}", None, {"deleted": True}),
            ("POST", f"/api/conversations/{chat}/restore", None, {"deleted": False}),
        ):
            assert (await here.call(method, path, body)).status == 204
            await one.until("conversation", id=chat, **expected)
        await one.nothing_more()


async def test_a_continued_turn_runs_again(start_here: HereStarter) -> None:
    here = await start_here(pace_ms=5, replies=[{"tokens": 100}])
    turn = await here.ask("go")
    chat = turn["conversation_id"]
    async with listen(here) as listening:
        await here.call("POST", f"/api/turns/{turn['id']}/stop")
        await listening.until("conversation", id=chat, running=[])
        await here.call("POST", f"/api/turns/{turn['id']}/continue")
        await listening.until("conversation", id=chat, running=[turn["id"]])
        await listening.until("conversation", id=chat, running=[], unread=True)


async def test_a_title_that_the_model_wrote_is_told(start_here: HereStarter) -> None:
    here = await start_here({"titles": True}, replies=[{"match": "title", "answer": "A fine title"}, {}])
    async with listen(here) as listening:
        turn = await here.ask("hello")
        await listening.until("conversation", id=turn["conversation_id"], title="A fine title")


async def test_the_other_nouns_are_told_by_name(here: Here) -> None:
    turn = await here.ask("x")
    await here.events(turn["id"])
    async with listen(here) as listening:
        folder = (await here.call("POST", "/api/folders", {"name": "f"})).json["id"]
        await listening.until("folders")
        await here.call("DELETE", f"/api/folders/{folder}")
        await listening.until("folders")
        await here.call("POST", "/api/prompts", {"name": "n", "text": "t"})
        await listening.until("prompts")
        await here.call("PATCH", "/api/preferences", {"instructions": "x"})
        await listening.until("preferences")
        share = (await here.call("POST", f"/api/conversations/{turn['conversation_id']}/shares")).json
        await listening.until("shares")
        await here.call("DELETE", f"/api/shares/{share['token']}")
        await listening.until("shares")
        here.services.changes.announce("status")
        assert await listening.until("status") == {}
        # What fails, and what is refused, changes nothing.
        await here.call("DELETE", "/api/folders/folder_0")
        await here.call("PATCH", "/api/conversations/conv_0", {"title": "x"})
        await listening.nothing_more()


async def test_responses_in_the_background_are_nobodys_news(here: Here) -> None:
    async with listen(here) as listening:
        body = {"model": "scripted", "input": "hello", "background": True}
        response = (await here.call("POST", "/v1/responses", body)).json
        while response["status"] in ("queued", "in_progress"):
            response = (await here.call("GET", f"/v1/responses/{response['id']}")).json
        await listening.nothing_more()


async def test_listeners_are_let_go_before_the_server_ends(here: Here) -> None:
    async with listen(here) as listening:
        here.services.dismiss_followers()
        async with asyncio.timeout(5):
            while not listening.ended:
                await asyncio.sleep(0.01)


async def test_who_hangs_up_is_forgotten(here: Here) -> None:
    async with listen(here), listen(here):
        assert len(here.services.changes._listeners) == 2  # pyright: ignore[reportPrivateUsage]
    async with asyncio.timeout(5):
        while here.services.changes._listeners:  # pyright: ignore[reportPrivateUsage]
            await asyncio.sleep(0.01)
