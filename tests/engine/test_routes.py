"""Models and their routes: which names there are, who is asked, and what is said when nobody can be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from candide.engine.client import EngineClient
from candide.engine.routes import Routes
from candide.engine.scripted import ScriptedEngine
from candide.errors import BadRequest, EngineOverloaded, EngineUnavailable, NotFound

if TYPE_CHECKING:
    from conftest import EngineStarter


def routes_to(*engines: ScriptedEngine, default: str = "") -> Routes:
    return Routes([EngineClient(f"e{n}", engine.url) for n, engine in enumerate(engines)], default)


async def test_engines_that_list_the_same_name_stand_behind_it_in_order(start_engine: EngineStarter) -> None:
    routes = routes_to(await start_engine(models=["a", "b"]), await start_engine(models=["b", "c"]))
    found = {m.name: [r.engine.name for r in m.routes] for m in await routes.models()}
    assert found == {"a": ["e0"], "b": ["e0", "e1"], "c": ["e1"]}
    assert (await routes.resolve("")).name == "a"
    assert (await routes.resolve("c")).name == "c"
    await routes.close()


async def test_an_unknown_model_is_refused_with_the_nearest_names(start_engine: EngineStarter) -> None:
    routes = routes_to(await start_engine(models=["qwen2.5-coder", "smollm2"]), default="gone")
    with pytest.raises(NotFound, match="'qwen-coder' does not exist") as unknown:
        await routes.resolve("qwen-coder")
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")
    assert "qwen2.5-coder" in str(unknown.value.hint)
    with pytest.raises(NotFound, match="gone"):
        await routes.resolve("")
    await routes.close()


async def test_a_model_that_an_unreachable_engine_may_have_is_not_said_to_be_missing(
    start_engine: EngineStarter,
) -> None:
    up, down = await start_engine(models=["a"]), await start_engine(models=["b"])
    await down.stop()
    routes = routes_to(up, down)
    with pytest.raises(EngineUnavailable, match="e1"):
        await routes.resolve("b")
    assert (await routes.resolve("a")).name == "a"
    await routes.models()  # what was asked beside the request has been answered
    await down.start(port=down.port)
    assert (await routes.resolve("b")).name == "b"
    # Once its list is known, a name that is not on it does not exist, whether it is up or not.
    await down.stop()
    with pytest.raises(NotFound):
        await routes.resolve("c")
    assert (await routes.resolve("b")).name == "b"
    await routes.close()


async def test_without_any_model_the_next_step_is_named(start_engine: EngineStarter) -> None:
    for routes in (Routes([]), routes_to(await start_engine(models=[]))):
        with pytest.raises(EngineUnavailable, match="no model yet") as none:
            await routes.resolve("")
        assert "candide models pull" in str(none.value.hint)
        await routes.close()


async def test_a_request_goes_to_the_first_route_that_takes_it(start_engine: EngineStarter) -> None:
    broken = await start_engine(replies=[{"status": 500}])
    routes = routes_to(broken, await start_engine(replies=[{"answer": "from the second"}]))
    reply = await routes.post("", "/chat/completions", {"messages": []})
    assert reply["choices"][0]["message"]["content"] == "from the second"
    stream = await routes.open_chat("", {"messages": []})
    assert stream.engine == "e1"
    await stream.aclose()
    await routes.close()


async def test_an_overload_is_told_above_other_failures(start_engine: EngineStarter) -> None:
    routes = routes_to(
        await start_engine(replies=[{"status": 500}]),
        await start_engine(replies=[{"status": 429, "retry_after": 7}]),
    )
    with pytest.raises(EngineOverloaded) as overloaded:
        await routes.post("", "/chat/completions", {"messages": []})
    assert overloaded.value.retry_after == 7
    await routes.close()


async def test_a_callers_mistake_is_not_tried_elsewhere(start_engine: EngineStarter) -> None:
    second = await start_engine()
    routes = routes_to(await start_engine(replies=[{"status": 400}]), second)
    with pytest.raises(BadRequest):
        await routes.open_chat("", {"messages": []})
    assert second.requests == []
    await routes.close()


async def test_it_is_ready_when_one_engine_is(start_engine: EngineStarter) -> None:
    up, down = await start_engine(), await start_engine()
    await down.stop()
    routes = routes_to(down, up)
    assert await routes.ready()
    await up.stop()
    assert not await routes.ready()
    await routes.close()


class Counted(EngineClient):
    """An engine's client that counts how often it is asked for its list."""

    asked = 0

    async def models(self) -> list[str]:
        self.asked += 1
        return await super().models()


async def test_a_list_is_renewed_beside_requests_and_once_for_all(
    start_engine: EngineStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candide.engine.routes.LISTING_FRESH_S", 0.0)
    engine = await start_engine(models=["a"])
    counted = Counted("e", engine.url)
    routes = Routes([counted])
    await asyncio.gather(*(routes.resolve("a") for _ in range(50)))
    assert counted.asked == 1
    # What it knows serves, however old, and whether the engine can be asked or not.
    await engine.stop()
    for _ in range(3):
        assert (await routes.resolve("a")).name == "a"
    await engine.start(port=engine.port)
    with pytest.raises(NotFound):
        await routes.resolve("b")
    assert counted.asked > 1
    await routes.close()


async def test_a_model_that_is_new_is_found_at_once(
    start_engine: EngineStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candide.engine.routes.UNKNOWN_FRESH_S", 0.0)
    engine = await start_engine(models=["a"])
    routes = routes_to(engine)
    with pytest.raises(NotFound):
        await routes.resolve("new")
    engine.script.models.append("new")
    assert (await routes.resolve("new")).name == "new"
    await routes.close()


async def test_an_engine_that_cannot_be_reached_is_told_once(
    start_engine: EngineStarter, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await start_engine()
    await engine.stop()
    routes = routes_to(engine)
    for _ in range(3):
        assert await routes.models() == []
    assert routes.unreachable == ["e0"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await engine.start(port=engine.port)
    await routes.models()
    assert routes.unreachable == []
    await routes.close()


async def test_one_who_gives_up_does_not_end_the_listing_that_others_wait_for(
    start_engine: EngineStarter,
) -> None:
    routes = routes_to(await start_engine(models=["a"]))
    impatient, patient = asyncio.create_task(routes.models()), asyncio.create_task(routes.models())
    await asyncio.sleep(0)
    impatient.cancel()
    assert [model.name for model in await patient] == ["a"]
    await routes.close()
