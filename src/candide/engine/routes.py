"""Models and the routes behind them.

A model is a name that users choose, with an ordered list of routes. Engines that list the same name
stand behind it in the order in which they were given. A request goes to the first route that takes
it; an engine that fails makes way for the next one. Nothing here touches a stream once it is open.
"""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from candide.domain.engines import ChatStream, Engine, Model, Route
from candide.errors import CandideError, EngineError, EngineOverloaded, EngineUnavailable, NotFound

LISTING_FRESH_S = 10.0

T = TypeVar("T")


class Routes:
    """The models of all engines; `default` is the model meant by an empty name."""

    def __init__(self, engines: Sequence[Engine], default: str = "") -> None:
        self.engines = tuple(engines)
        self.default = default
        # When a model was made nobody knows here; since when it can be had, everybody.
        self._since = int(time.time())
        self._listed: dict[str, tuple[float, list[str]]] = {}
        self._unreachable: set[str] = set()

    async def models(self) -> list[Model]:
        """Every model, in the order of the engines; an engine that cannot be asked keeps its last list."""
        listings = await asyncio.gather(*(self._list(engine) for engine in self.engines))
        routes: dict[str, list[Route]] = {}
        for engine, names in zip(self.engines, listings, strict=True):
            for name in names:
                routes.setdefault(name, []).append(Route(engine, name))
        return [
            Model(name=name, routes=tuple(found), created_at=self._since) for name, found in routes.items()
        ]

    async def resolve(self, name: str) -> Model:
        """The model of that name, the default one for an empty name.

        Raises NotFound with the nearest names, or EngineUnavailable when an engine that might have
        it cannot be asked.
        """
        models = await self.models()
        wanted = name or self.default
        if not wanted and models:
            return models[0]
        for model in models:
            if model.name == wanted:
                return model
        if unknown := sorted(self._unreachable - self._listed.keys()):
            which = f"the model '{wanted}'" if wanted else "a model"
            raise EngineUnavailable(
                f"{which} cannot be asked for now: engine {', '.join(unknown)} cannot be reached",
                hint="candide doctor",
            )
        if not models:
            raise EngineUnavailable(
                "there is no model yet", hint="candide models pull, or candide serve --model PATH"
            )
        near = difflib.get_close_matches(wanted, [model.name for model in models], n=3, cutoff=0.3)
        names = near or [model.name for model in models[:5]]
        raise NotFound(
            f"the model '{wanted}' does not exist",
            param="model",
            code="model_not_found",
            hint=f"try {', '.join(names)}",
        )

    async def open_chat(self, name: str, body: Mapping[str, Any]) -> ChatStream:
        """Open a chat at the first route that takes it; `body` needs no model."""
        return await self._try(name, lambda route: route.engine.open_chat({**body, "model": route.model}))

    async def open_stream(self, name: str, path: str, body: Mapping[str, Any]) -> ChatStream:
        """The same at another path that streams, like `/completions`."""
        return await self._try(
            name, lambda route: route.engine.open_stream(path, {**body, "model": route.model})
        )

    async def post(self, name: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._try(name, lambda route: route.engine.post(path, {**body, "model": route.model}))

    async def _try(self, name: str, call: Callable[[Route], Awaitable[T]]) -> T:
        model = await self.resolve(name)
        return await first_that_takes(model.routes, call)

    async def ready(self) -> bool:
        return any(await asyncio.gather(*(engine.ready() for engine in self.engines)))

    async def close(self) -> None:
        await asyncio.gather(*(engine.close() for engine in self.engines))

    async def _list(self, engine: Engine) -> list[str]:
        at, names = self._listed.get(engine.name, (-LISTING_FRESH_S, []))
        if time.monotonic() - at < LISTING_FRESH_S:
            return names
        try:
            names = await engine.models()
        except CandideError:
            self._unreachable.add(engine.name)
            # An engine that was never reached is asked again at the next request, a known one in a while.
            if not names:
                return names
        else:
            self._unreachable.discard(engine.name)
        if names:
            self._listed[engine.name] = (time.monotonic(), names)
        return names


async def first_that_takes(routes: Sequence[Route], call: Callable[[Route], Awaitable[T]]) -> T:
    """Call each route in turn until one does not fail; raises the first error, an overload above all.

    A caller's mistake is not tried elsewhere.
    """
    errors: list[EngineError] = []
    for route in routes:
        try:
            return await call(route)
        except EngineError as error:
            errors.append(error)
    raise next((error for error in errors if isinstance(error, EngineOverloaded)), errors[0])
