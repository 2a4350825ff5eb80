"""Models and the routes behind them.

A model is a name that users choose, with an ordered list of routes. Engines that list the same name
stand behind it in the order in which they were given. A request goes to the first route that takes
it; an engine that fails makes way for the next one. Nothing here touches a stream once it is open.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from candide.domain.engines import ChatStream, Engine, Model, Route
from candide.domain.weights import Fetching, WeightsFetcher
from candide.errors import CandideError, EngineError, EngineOverloaded, EngineUnavailable, NotFound

LISTING_FRESH_S = 10.0
UNKNOWN_FRESH_S = 1.0
"""The same when a name is wanted that no list has: it may be new."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class Routes:
    """The models of all engines; `default` is the model meant by an empty name.

    While a `fetcher` brings the default model, it is waited for, or refused.
    """

    def __init__(
        self, engines: Sequence[Engine], default: str = "", *, fetcher: WeightsFetcher | None = None
    ) -> None:
        self.engines = tuple(engines)
        self.default = default
        self._fetcher = fetcher
        # When a model was made nobody knows here; since when it can be had, everybody.
        self._since = int(time.time())
        self._listed: dict[str, tuple[float, list[str]]] = {}
        self._listing: dict[str, asyncio.Task[None]] = {}
        self._unreachable: set[str] = set()

    @property
    def unreachable(self) -> list[str]:
        """The engines that could not be asked for their models the last time."""
        return sorted(self._unreachable)

    async def models(self, fresh_s: float | None = None) -> list[Model]:
        """Every model, in the order of the engines; an engine that cannot be asked keeps its last list.

        No list is older than `fresh_s`, or than `LISTING_FRESH_S`.
        """
        if listings := self._renew_lists(fresh_s):
            # Others may wait for them too: one who is cancelled must not end them.
            done, _ = await asyncio.wait(listings)
            for listing in done:
                listing.result()
        return self._known_models()

    async def resolve(self, name: str) -> Model:
        """The model of that name, the default one for an empty name.

        Raises NotFound with the nearest names, or EngineUnavailable when an engine that might have
        it cannot be asked.
        """
        if (fetching := self._find_fetching(name)) is not None:
            raise _explain(fetching)
        wanted = name or self.default
        # What was known a while ago serves at once; it is asked anew beside the request.
        self._renew_lists()
        if found := _find(self._known_models(), wanted):
            return found
        models = await self.models(UNKNOWN_FRESH_S)
        if found := _find(models, wanted):
            return found
        if unknown := sorted(self._unreachable - self._listed.keys()):
            which = f"the model '{wanted}'" if wanted else "a model"
            raise EngineUnavailable(
                f"{which} cannot be asked for now: engine {', '.join(unknown)} cannot be reached",
                hint="candide doctor",
            )
        if not models:
            if self._fetcher is not None and (fetching := self._fetcher.fetching) is not None:
                raise _explain(fetching)
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

    async def wait_for_weights(self, name: str) -> None:
        """Return once the model of that name is not being fetched. Raises WeightsError when it cannot be."""
        if self._fetcher is not None and self._find_fetching(name) is not None:
            await self._fetcher.wait()

    def _find_fetching(self, name: str) -> Fetching | None:
        fetching = self._fetcher.fetching if self._fetcher is not None else None
        return fetching if fetching is not None and name in ("", fetching.model) else None

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
        for listing in self._listing.values():
            listing.cancel()
        await asyncio.gather(*self._listing.values(), return_exceptions=True)
        await asyncio.gather(*(engine.close() for engine in self.engines))

    def _known_models(self) -> list[Model]:
        routes: dict[str, list[Route]] = {}
        for engine in self.engines:
            _, names = self._listed.get(engine.name, (0.0, []))
            for name in names:
                routes.setdefault(name, []).append(Route(engine, name))
        return [
            Model(name=name, routes=tuple(found), created_at=self._since) for name, found in routes.items()
        ]

    def _renew_lists(self, fresh_s: float | None = None) -> list[asyncio.Task[None]]:
        """Ask the engines whose lists are old, each of them once at a time; the tasks that do it."""
        oldest = time.monotonic() - (LISTING_FRESH_S if fresh_s is None else fresh_s)
        for engine in self.engines:
            at, _ = self._listed.get(engine.name, (-math.inf, []))
            if at <= oldest and engine.name not in self._listing:
                listing = self._listing[engine.name] = asyncio.create_task(self._ask_for_list(engine))
                listing.add_done_callback(lambda _, name=engine.name: self._listing.pop(name, None))
        return list(self._listing.values())

    async def _ask_for_list(self, engine: Engine) -> None:
        try:
            names = await engine.models()
        except CandideError as error:
            if engine.name not in self._unreachable:
                log.warning("%s", error.message)
            self._unreachable.add(engine.name)
            # An engine that was never reached is asked again at the next request, a known one in a while.
            _, names = self._listed.get(engine.name, (0.0, []))
        else:
            self._unreachable.discard(engine.name)
        if names:
            self._listed[engine.name] = (time.monotonic(), names)


def _explain(fetching: Fetching) -> EngineUnavailable:
    if (error := fetching.error) is not None:
        return EngineUnavailable(f"there is no model: {error.message}", hint=error.hint)
    share = f", {100 * fetching.received_bytes / fetching.total_bytes:.0f} %" if fetching.total_bytes else ""
    which = f"the model '{fetching.model}'" if fetching.model else "a model"
    return EngineUnavailable(
        f"{which} is being fetched{share}", hint="ask again once /ready says 200", code="model_downloading"
    )


def _find(models: Sequence[Model], name: str) -> Model | None:
    """The model of that name, the first one for an empty name."""
    return next((model for model in models if not name or model.name == name), None)


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
