"""Preferences are changed one by one, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Here, HereStarter


async def test_preferences_are_changed_and_taken_back(here: Here) -> None:
    path = "/api/preferences"
    assert (await here.call("GET", path)).json == {"instructions": "", "params": {}, "model": None}
    await here.call("PATCH", path, {"instructions": "Be kind."})
    await here.call("PATCH", path, {"params": {"temperature": 0.5}, "model": "scripted"})
    kept = {"instructions": "Be kind.", "params": {"temperature": 0.5}, "model": "scripted"}
    assert (await here.call("GET", path)).json == kept
    for body, status, param in (
        ({"params": {"x": 1}}, 400, "params.x"),
        ({"model": "nope"}, 404, "model"),
        ({"instructions": 1}, 400, "instructions"),
        ({"theme": "dark"}, 400, "theme"),
    ):
        reply = await here.call("PATCH", path, body)
        assert (reply.status, reply.error["param"]) == (status, param)
    assert (await here.call("GET", path)).json == kept
    cleared = await here.call("PATCH", path, {"instructions": None, "params": None, "model": None})
    assert cleared.json == {"instructions": "", "params": {}, "model": None}


async def test_the_preferred_model_answers_where_none_is_named(start_here: HereStarter) -> None:
    here = await start_here(models=["a", "b", "c"])
    await here.call("PATCH", "/api/preferences", {"model": "b"})
    chat = (await here.call("POST", "/api/conversations", {"model": "c"})).json["id"]
    for conversation, more, model in ((None, {}, "b"), (chat, {}, "c"), (chat, {"model": "a"}, "a")):
        turn = await here.ask("hello", conversation, **more)
        assert (await here.events(turn["id"]))[0]["model"] == model


async def test_responses_in_the_background_know_no_preferences(here: Here) -> None:
    await here.call("PATCH", "/api/preferences", {"instructions": "Be kind.", "params": {"temperature": 0.5}})
    body = {"model": "scripted", "input": "hello", "background": True}
    response = (await here.call("POST", "/v1/responses", body)).json
    while response["status"] in ("queued", "in_progress"):
        response = (await here.call("GET", f"/v1/responses/{response['id']}")).json
    assert response["status"] == "completed"
    [sent] = here.engine.requests
    assert "Be kind." not in str(sent)
    assert sent.get("temperature") != 0.5
