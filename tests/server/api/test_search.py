"""Titles are found beside messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Here


async def find(here: Here, query: str, limit: int = 20) -> list[Any]:
    reply = await here.call("GET", "/api/search", params={"q": query, "limit": str(limit)})
    assert reply.status == 200
    return reply.json["data"]


async def test_titles_are_found_in_any_language(here: Here) -> None:
    for title in ("La bibliothèque de Babel", "東京の天気", "100 % sure"):
        await here.call("POST", "/api/conversations", {"title": title})
    for query, title in (
        ("bibliotheque", "La bibliothèque de Babel"),
        ("babel LA", "La bibliothèque de Babel"),
        ("bib", "La bibliothèque de Babel"),
        ('"de babel"', "La bibliothèque de Babel"),
        ("京の天", "東京の天気"),
        ("sur", "100 % sure"),
    ):
        [found] = await find(here, query)
        assert (found["conversation_title"], found["role"], found["message_id"]) == (title, "title", None)
        assert found["snippet"] == title
        assert found["highlights"]
    for query in ("ibliotheque", "babe la", '"la babel"', "%", "_", "sure sure2"):
        assert await find(here, query) == [], query


async def test_titles_come_before_messages_and_leave_them_room(here: Here) -> None:
    for n in range(6):
        turn = await here.ask(f"zebra {n}")
        await here.events(turn["id"])
        await here.call("PATCH", f"/api/conversations/{turn['conversation_id']}", {"title": f"Zebra {n}"})
    roles = [f["role"] == "title" for f in await find(here, "zebra", 4)]
    assert roles == [True, True, False, False]
    assert len(await find(here, "zebra", 50)) == 18
    # A title that is changed, or a conversation that is deleted, is not found any more.
    chat = turn["conversation_id"]
    await here.call("PATCH", f"/api/conversations/{chat}", {"title": "Giraffe"})
    assert [f["conversation_id"] for f in await find(here, "giraffe")] == [chat]
    assert len(await find(here, "zebra", 50)) == 17
    await here.call("DELETE", f"/api/conversations/{chat}")
    assert await find(here, "giraffe") == []


async def test_a_title_that_the_model_wrote_is_found(here: Here) -> None:
    turn = await here.ask("x")
    await here.services.conversations.set_title_if_empty(turn["conversation_id"], "Écrit par le modèle")
    assert [f["conversation_id"] for f in await find(here, "ecrit modele")] == [turn["conversation_id"]]
