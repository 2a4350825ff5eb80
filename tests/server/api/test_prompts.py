"""Prompts are kept, changed, deleted and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Here


async def test_a_prompt_is_kept_changed_deleted_and_restored(here: Here) -> None:
    made = await here.call(
        "POST", "/api/prompts", {"name": "Translate", "text": "Into {{language}}: {{text}}"}
    )
    assert made.status == 201
    prompt = made.json
    assert set(prompt) == {"id", "name", "text", "created_at"}
    path = f"/api/prompts/{prompt['id']}"
    changed = (await here.call("PATCH", path, {"name": "translate"})).json
    assert changed == {**prompt, "name": "translate"}
    assert (await here.call("GET", "/api/prompts")).json["data"] == [changed]
    assert (await here.call("DELETE", path)).status == 204
    assert (await here.call("GET", "/api/prompts")).json["data"] == []
    assert (await here.call("DELETE", path)).status == 404
    assert (await here.call("PATCH", path, {"text": "x"})).status == 404
    assert (await here.call("POST", f"{path}/restore")).status == 204
    assert (await here.call("GET", "/api/prompts")).json["data"] == [changed]


async def test_a_prompt_needs_name_and_text(here: Here) -> None:
    for body, param in (
        ({"text": "x"}, "name"),
        ({"name": " ", "text": "x"}, "name"),
        ({"name": "x"}, "text"),
    ):
        reply = await here.call("POST", "/api/prompts", body)
        assert (reply.status, reply.error["param"]) == (400, param)
    prompt = (await here.call("POST", "/api/prompts", {"name": "n", "text": "t"})).json["id"]
    for name in ("name", "text"):
        assert (await here.call("PATCH", f"/api/prompts/{prompt}", {name: None})).error["param"] == name
