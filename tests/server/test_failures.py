"""Failures of ours and of the database reach a client in the one shape, and tell it no secrets."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from candide.store import database as database_module

if TYPE_CHECKING:
    from conftest import Here


async def test_a_locked_database_is_a_503_that_names_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    file = here.services.conversations._database.file  # pyright: ignore[reportPrivateUsage]
    assert file is not None
    program = sqlite3.connect(file)
    program.execute("BEGIN IMMEDIATE")
    reply = await here.call("POST", "/api/conversations", {})
    program.rollback()
    program.close()
    assert (reply.status, reply.error["code"], reply.error["type"]) == (
        503,
        "database_locked",
        "server_error",
    )
    assert str(file) in reply.error["message"]
    assert (await here.call("POST", "/api/conversations", {})).status == 201


async def test_a_bug_is_told_by_its_number_only(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    here.services.routes.default = 5  # type: ignore[assignment]
    here.services.routes.models = None  # type: ignore[assignment,method-assign]
    reply = await here.call("GET", "/api/models")
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    number = reply.error["message"].partition("error ")[2].rstrip(")")
    assert number in caplog.text
    assert "NoneType" in caplog.text
    assert "NoneType" not in reply.body.decode()


async def test_an_unknown_path_and_a_wrong_method_are_named(here: Here) -> None:
    assert (await here.call("GET", "/nothing/here")).error["code"] == "unknown_url"
    wrong = await here.call("DELETE", "/api/conversations")
    assert (wrong.status, wrong.error["code"]) == (405, "method_not_allowed")


async def test_ready_says_when_no_engine_answers(here: Here) -> None:
    assert (await here.call("GET", "/ready")).status == 200
    await here.engine.stop()
    assert (await here.call("GET", "/ready")).status == 503
    assert (await here.call("GET", "/health")).status == 200
