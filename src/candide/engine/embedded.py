"""The embedded models: an engine whose models run on this machine, each in a worker process of its own.

A model is loaded when it is first asked for, and requests wait for it. All loaded models share one
memory budget: the one that was idle longest makes room for the next. A worker that dies is
replaced, with a growing pause when it keeps dying; what it was writing ends with EngineBroke, and
a request that had not begun goes to the next one by itself.

Nobody can stop the others: a request whose constraint (a JSON schema, a grammar, tools) keeps
llama.cpp from making progress is refused with BadRequest, the worker is replaced, and the same
constraint is refused at once from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from candide.domain.addresses import THIS_MACHINE
from candide.domain.engines import ChatStream, ModelFacts
from candide.engine.control_text import ControlTexts
from candide.engine.llamacpp import LlamaCppModel
from candide.engine.sizing import MIB, Plan, choose_budget, gains_by_repacking, make_plan
from candide.engine.supervisor import Worker, find_program, log_name, make_key
from candide.engine.worker import WorkerConfig
from candide.errors import (
    BadRequest,
    CandideError,
    EngineError,
    EngineOverloaded,
    EngineUnavailable,
    NotFound,
    WeightsError,
)
from candide.models.facts import FileFacts, describe_file
from candide.models.gguf import GgufHeader, read_header
from candide.models.machine import Machine, read_machine

log = logging.getLogger(__name__)

NATIVE_PATHS = ("/tokenize", "/detokenize", "/apply-template", "/infill", "/rerank")
"""What llama.cpp serves beside OpenAI's protocol, outside of `/v1`."""

CHAT_BATCH = 128
LARGEST_EMBEDDING_BATCH = 2048
"""A model that was trained for embeddings reads each text in one step."""

WATCH_INTERVAL_S = 1.0
HEALTH_INTERVAL_S = 10.0
"""Between two looks at a worker that does nothing suspicious."""
PROBE_TIMEOUT_S = 5.0
SLOW_PROBE_S = 0.5
ROOM_TIMEOUT_S = 60.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STABLE_AFTER_S = 60.0
"""A worker that lived this long ends the series of failures before it."""
RESTARTS_UNASKED = 3
LONGEST_AHEAD_S = 5.0
"""Reading ahead ends after so long; who asks waits no longer for it."""
MOST_TRIES = 3
REMEMBERED_REFUSALS = 256

T = TypeVar("T")


@dataclass(frozen=True)
class EmbeddedOptions:
    """Zeros and "auto" leave the choice to the machine; see the settings of the same names."""

    logs_dir: Path
    threads: int = 0
    slots: int = 0
    context_tokens: int = 0
    kv_cache: str = "auto"
    memory_mb: int = 0
    idle_unload_s: float = 1800.0
    llama_server: str = ""
    timeout_s: float = 600.0
    """Without a token from a worker."""
    load_timeout_s: float = 600.0
    queue_limit: int = 128
    """Requests that one model takes; more are told to come back later."""
    stall_s: float = 10.0
    """How long a constrained request may keep llama.cpp from making progress."""
    find_adapter: Callable[[Path], Path | None] = lambda _: None
    """The adapter that belongs to a model's file, if there is one; it may take seconds."""
    hang_s: float = 120.0
    """The same where no request is constrained; then the worker alone is to blame."""


@dataclass(eq=False)
class _Request:
    constraint: str = ""
    """The parameter that constrains the answer; empty when it is free."""
    fingerprint: bytes = b""
    turnstile: asyncio.Semaphore | None = None
    """What it passed on its way to the worker."""
    sent_at: float = 0.0
    progress_at: float = 0.0
    """When the last part of the answer came; 0 before the first."""
    verdict: CandideError | None = None


@dataclass(eq=False)
class _Place:
    """What the engine knows of one model, loaded or not."""

    name: str
    path: Path
    plan: Plan | None = None
    worker: Worker | None = None
    turnstile: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    loading: asyncio.Task[Worker] | None = None
    watching: asyncio.Task[None] | None = None
    requests: set[_Request] = field(default_factory=set["_Request"])
    ahead: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the model reads ahead."""
    last_used: float = 0.0
    loaded_at: float = 0.0
    failures: int = 0
    failed_at: float = 0.0
    damaged: tuple[tuple[int, int], WeightsError] | None = None
    """A file that could not be loaded, by time and size, so that it is not tried again until it changes."""

    failure: CandideError | None = None
    """Why it could not be loaded the last time."""

    @property
    def loaded(self) -> bool:
        return self.worker is not None and self.worker.alive

    @property
    def memory_bytes(self) -> int:
        return self.plan.memory_bytes if self.plan and self.worker else 0


class EmbeddedEngines:
    """The embedded models as one engine; `weights` maps the names of models to their files, and may change."""

    def __init__(self, weights: Mapping[str, Path], options: EmbeddedOptions, name: str = "embedded") -> None:
        self.name = name
        self._weights = weights
        self._options = options
        self._places: dict[str, _Place] = {}
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._facts: dict[Path, tuple[tuple[int, int], FileFacts]] = {}
        """By file, with its time and size then."""
        self._admission = asyncio.Lock()
        self._room = asyncio.Event()
        self._program: str | None = None
        """The llama-server to run; empty for the library, None before it was looked for."""
        self._closed = False

    @property
    def location(self) -> str:
        return THIS_MACHINE

    async def models(self) -> list[str]:
        return list(self._weights)

    async def describe(self, model: str) -> ModelFacts:
        path, place = self._weights.get(model), self._places.get(model)
        try:
            facts = await asyncio.to_thread(self._read_facts, path) if path else None
        except (CandideError, OSError):
            facts = None
        trained = facts.context_tokens if facts else None
        return ModelFacts(
            description=facts.description if facts else "",
            size_bytes=facts.size_bytes if facts else None,
            context_tokens=place.plan.context if place and place.plan and place.loaded else trained,
            cost="free",
            # Only text is given to llama.cpp here.
            vision=False,
            loaded=place is not None and place.loaded,
        )

    def _read_facts(self, path: Path) -> FileFacts:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._facts.get(path)
        if known is None or known[0] != stamp:
            known = self._facts[path] = (stamp, describe_file(path))
        return known[1]

    def find_file(self, model: str) -> Path | None:
        """The file of a model, where it is there."""
        return self._weights.get(model)

    def is_loading(self, model: str) -> bool:
        place = self._places.get(model)
        return place is not None and place.loading is not None

    def failure(self, model: str) -> CandideError | None:
        """Why the model is not loaded, where the last try failed."""
        place = self._places.get(model)
        return place.failure if place is not None and not place.loaded else None

    async def ready(self) -> bool:
        return any(place.loaded for place in self._places.values())

    def loaded(self) -> dict[str, Plan]:
        """The models in memory and what each was given."""
        return {place.name: place.plan for place in self._places.values() if place.loaded and place.plan}

    def worker_pid(self, model: str) -> int | None:
        place = self._places.get(model)
        return place.worker.pid if place and place.worker and place.loaded else None

    async def load(self, model: str) -> None:
        """Load a model before anyone asks for it; raises like a request would."""
        await self._ensure_loaded(self._find_place(model))

    async def unload(self, model: str) -> None:
        """Let go of a model's memory; an answer in progress breaks off."""
        place = self._places.get(model)
        if place is not None:
            await self._unload(place)

    async def read_ahead(
        self, model: str, messages: Sequence[Mapping[str, Any]], *, adapted: bool = False
    ) -> None:
        """Read `messages`, to the end of the last one's text, into the cache; nothing when the model is away or at work.

        Who asks meanwhile waits for it: most likely it is how his own prompt begins, and in another slot it would be read
        from its first word.
        """
        place = self._places.get(model)
        if place is None or not place.loaded or place.requests or place.ahead.locked():
            return
        async with place.ahead:
            worker = await self._ensure_loaded(place)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_AHEAD_S):
                    await worker.call(lambda one: _read_into_cache(one, messages, adapted))

    async def open_chat(self, body: Mapping[str, Any], *, adapted: bool = False) -> ChatStream:
        return await self._open("/chat/completions", body, adapted)

    async def open_stream(self, path: str, body: Mapping[str, Any]) -> ChatStream:
        """POST a streaming request to any path of the protocol."""
        return await self._open(path, body, adapted=False)

    async def _open(self, path: str, body: Mapping[str, Any], adapted: bool) -> ChatStream:
        place, request = self._admit(body)
        # Reports while it reads the prompt: llama.cpp looks whether someone still listens only when it has
        # something to say to him, or when nobody's answer moves for a second.
        asked = {**body, "return_progress": True}

        def send(worker: Worker) -> Awaitable[ChatStream]:
            return worker.client.open_stream(path, asked | _choose_adapter(worker, adapted))

        try:
            async with place.ahead:
                pass
            stream = await self._send(place, request, send)
        except BaseException:
            self._release(place, request)
            raise
        return EmbeddedChatStream(stream, request, lambda: self._release(place, request))

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        place, request = self._admit(body)

        def send(worker: Worker) -> Awaitable[dict[str, Any]]:
            if path in NATIVE_PATHS:
                return worker.native.post(path, body)
            return worker.client.post(path, {**body, **_choose_adapter(worker, adapted=False)})

        try:
            return await self._send(place, request, send)
        finally:
            self._release(place, request)

    async def close(self) -> None:
        """End every worker; what they were writing breaks off."""
        self._closed = True
        loading = [place.loading for place in self._places.values() if place.loading]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        await asyncio.gather(*(self._unload(place) for place in self._places.values()))

    # A request's way: admitted, sent once its model is loaded and its turn has come, released.

    def _find_place(self, model: object) -> _Place:
        path = self._weights.get(model) if isinstance(model, str) else None
        if path is None or not isinstance(model, str):
            raise NotFound(
                f"model '{model}' is not among the embedded ones",
                param="model",
                hint="candide models list shows them, candide models pull gets more",
                code="model_not_found",
            )
        place = self._places.setdefault(model, _Place(model, path))
        if not place.loaded:
            place.path = path
        return place

    def _admit(self, body: Mapping[str, Any]) -> tuple[_Place, _Request]:
        place = self._find_place(body.get("model"))
        request = _Request()
        request.constraint, constraint = find_constraint(body, checked=not self._options.llama_server)
        if request.constraint:
            request.fingerprint = hashlib.sha256(msgspec.json.encode(constraint)).digest()
            if request.fingerprint in self._refused:
                raise _make_refusal(request.constraint)
        if len(place.requests) >= self._options.queue_limit:
            raise EngineOverloaded(
                f"{len(place.requests)} requests wait for model '{place.name}'", retry_after=5
            )
        place.requests.add(request)
        return place, request

    async def _send(self, place: _Place, request: _Request, send: Callable[[Worker], Awaitable[T]]) -> T:
        for attempt in range(MOST_TRIES):
            worker = await self._ensure_loaded(place)
            if request.turnstile is None:
                turnstile = place.turnstile
                await turnstile.acquire()
                request.turnstile = turnstile
                if place.worker is not worker:
                    worker = await self._ensure_loaded(place)
            request.sent_at = time.monotonic()
            try:
                return await worker.call(send)
            except EngineError as error:
                request.sent_at = 0.0
                # At first it may have been only the connection; waiting for a worker's end takes a second.
                unheard = (attempt == 0 and _was_unheard(error)) or await _is_gone(worker)
                if request.verdict is not None:
                    raise request.verdict from error
                if not unheard or attempt + 1 == MOST_TRIES or self._closed:
                    raise
        raise AssertionError("the last try returns or raises")

    def _release(self, place: _Place, request: _Request) -> None:
        if request in place.requests:
            place.requests.remove(request)
            place.last_used = time.monotonic()
            if request.turnstile is not None:
                request.turnstile.release()
            self._room.set()

    # A model's life: loaded when room is made for it, watched, replaced when it dies, unloaded.

    async def _ensure_loaded(self, place: _Place) -> Worker:
        if place.worker is not None and place.loaded:
            return place.worker
        if self._closed:
            raise EngineUnavailable("the embedded engine is shutting down")
        # Shielded: the request that began the loading may go away, others wait for it too.
        return await asyncio.shield(place.loading or self._begin_loading(place))

    def _begin_loading(self, place: _Place) -> asyncio.Task[Worker]:
        def finish(task: asyncio.Task[Worker]) -> None:
            place.loading = place.failure = None
            if not task.cancelled() and (error := task.exception()) is not None:
                place.failure = error if isinstance(error, CandideError) else None
                log.warning("model '%s' is not loaded: %s", place.name, error)

        place.loading = asyncio.create_task(self._load(place), name=f"load {place.name}")
        place.loading.add_done_callback(finish)
        return place.loading

    async def _load(self, place: _Place) -> Worker:
        options = self._options
        if place.failures:
            pause = min(FIRST_PAUSE_S * 2 ** (place.failures - 1), LONGEST_PAUSE_S)
            await asyncio.sleep(max(0.0, place.failed_at + pause - time.monotonic()))
        async with self._admission:
            header, machine, stamp = await asyncio.to_thread(_inspect, place.path)
            if place.damaged is not None and place.damaged[0] == stamp:
                raise place.damaged[1]
            budget = choose_budget(machine, options.memory_mb, self._memory_in_use())
            plan = make_plan(
                header,
                budget,
                machine.cores,
                threads=options.threads,
                slots=options.slots,
                context=options.context_tokens,
                kv_cache=options.kv_cache,
            )
            await self._make_room(plan, budget)
            began = time.monotonic()
            try:
                worker = await self._start_worker(place, plan, header, repack=gains_by_repacking(machine))
            except WeightsError as error:
                place.damaged = (stamp, error)
                raise
            except EngineError:
                place.failures += 1
                place.failed_at = time.monotonic()
                raise
            place.worker, place.plan = worker, plan
            # More than the slots, so that the next request is there when a slot falls free.
            place.turnstile = asyncio.Semaphore(2 * plan.slots)
            place.loaded_at = place.last_used = time.monotonic()
            place.watching = asyncio.create_task(self._watch(place, worker), name=f"watch {place.name}")
        log.info(
            "model '%s' loaded in %.1f s: %d threads, %d slots, context %d, cache %s, %d MiB",
            place.name, place.loaded_at - began, plan.threads, plan.slots, plan.context, plan.kv_cache,
            plan.memory_bytes // MIB,
        )  # fmt: skip
        return worker

    async def _start_worker(self, place: _Place, plan: Plan, header: GgufHeader, *, repack: bool) -> Worker:
        options = self._options
        if self._program is None:
            self._program = await asyncio.to_thread(find_program, options.llama_server)
        adapter = await asyncio.to_thread(options.find_adapter, place.path)
        config = WorkerConfig(
            model=str(place.path),
            name=place.name,
            api_key=make_key(),
            threads=plan.threads,
            batch_threads=plan.batch_threads,
            slots=plan.slots,
            context=plan.context,
            pool=plan.pool,
            kv_cache=plan.kv_cache,
            prompt_cache_mb=plan.prompt_cache_mb,
            # Of the usual ways only this one takes texts that are longer than one step of llama.cpp.
            pooling="" if header.pooling else "last",
            batch=min(header.context_tokens, LARGEST_EMBEDDING_BATCH) if header.pooling else CHAT_BATCH,
            adapter=str(adapter or ""),
            repack=repack,
            llama_server=self._program,
        )
        model = LlamaCppModel(
            ControlTexts(header.control_tokens, header.chat_template),
            template_has_tools=header.uses_tools,
            # A llama-server of the user's may have been built without it.
            guidance=not self._program,
        )
        worker = Worker(config, model, options.logs_dir / log_name(place.name), options.timeout_s)
        try:
            await worker.start(options.load_timeout_s)
        except CandideError as error:
            if not self._program or options.llama_server:
                raise
            log.warning("%s from the PATH is not used: %s", self._program, error.message)
            self._program = ""
            return await self._start_worker(place, plan, header, repack=repack)
        return worker

    def _memory_in_use(self) -> int:
        return sum(place.memory_bytes for place in self._places.values())

    async def _make_room(self, plan: Plan, budget: int) -> None:
        """Unload idle models, least recently used first, until the plan fits; wait for busy ones."""
        deadline = time.monotonic() + ROOM_TIMEOUT_S
        while self._memory_in_use() + plan.memory_bytes > budget:
            others = [place for place in self._places.values() if place.worker is not None]
            idle = [place for place in others if not place.requests]
            if idle:
                victim = min(idle, key=lambda place: place.last_used)
                log.info("model '%s' makes room", victim.name)
                await self._unload(victim)
                continue
            self._room.clear()
            try:
                await asyncio.wait_for(self._room.wait(), deadline - time.monotonic())
            except TimeoutError:
                names = ", ".join(f"'{place.name}'" for place in others)
                raise EngineOverloaded(
                    f"the memory for embedded models is taken by {names}, at work now",
                    retry_after=10,
                    hint="raise memory_mb, or choose a smaller model",
                ) from None

    async def _unload(self, place: _Place) -> None:
        worker, place.worker = place.worker, None
        if place.watching is not None and place.watching is not asyncio.current_task():
            place.watching.cancel()
        place.watching = None
        if worker is not None:
            await worker.stop()

    async def _watch(self, place: _Place, worker: Worker) -> None:
        """Stay with a worker to its end: replace it when it dies, end it when it is idle or stuck."""
        ending = asyncio.create_task(worker.wait())
        watchdog = _Watchdog(place, worker, self._options)
        condemned = False
        try:
            while True:
                await asyncio.wait({ending}, timeout=WATCH_INTERVAL_S)
                if ending.done():
                    await self._replace(place, worker, ending.result(), condemned=condemned)
                    return
                worker.bound_log()
                idle_s = time.monotonic() - place.last_used
                if (
                    self._options.idle_unload_s
                    and not place.requests
                    and idle_s > self._options.idle_unload_s
                ):
                    log.info("model '%s' was idle for %.0f s and is unloaded", place.name, idle_s)
                    await self._unload(place)
                    return
                if not condemned and await watchdog.finds_it_stuck():
                    condemned = True
                    self._condemn(place)
                    await worker.kill()
        finally:
            ending.cancel()

    def _condemn(self, place: _Place) -> None:
        """Refuse the constrained request that came last, if there is one: until then, it worked."""
        suspects = sorted(
            (r for r in place.requests if r.sent_at and r.constraint),
            key=lambda r: (not r.progress_at, r.sent_at),
        )
        if not suspects:
            log.error("the worker of model '%s' makes no progress and is replaced", place.name)
            return
        culprit = suspects[-1]
        log.error(
            "the worker of model '%s' makes no progress with the %s of a request and is replaced",
            place.name, culprit.constraint,
        )  # fmt: skip
        culprit.verdict = _make_refusal(culprit.constraint)
        self._refused[culprit.fingerprint] = None
        while len(self._refused) > REMEMBERED_REFUSALS:
            self._refused.popitem(last=False)

    async def _replace(self, place: _Place, worker: Worker, status: int, *, condemned: bool) -> None:
        if place.worker is not worker:
            return
        now = time.monotonic()
        if condemned:
            place.failures = 0
        else:
            stable = now - place.loaded_at > STABLE_AFTER_S
            place.failures, place.failed_at = 1 if stable else place.failures + 1, now
            log.error(
                "the worker of model '%s' ended with status %d%s", place.name, status, worker.last_words()
            )
        await self._unload(place)
        if not self._closed and place.failures <= RESTARTS_UNASKED and place.loading is None:
            self._begin_loading(place)


_PROGRESS = b'"prompt_progress"'


class EmbeddedChatStream:
    """The stream of a worker; its end, however it comes, gives the request's turn to the next one."""

    def __init__(self, stream: ChatStream, request: _Request, release: Callable[[], None]) -> None:
        self.engine = stream.engine
        self._stream = stream
        self._request = request
        self._release = release

    def __aiter__(self) -> AsyncIterator[list[bytes]]:
        return self._batches()

    async def _batches(self) -> AsyncIterator[list[bytes]]:
        request = self._request
        begun = False
        try:
            async for batch in self._stream:
                request.progress_at = time.monotonic()
                if not begun:
                    batch = [payload for payload in batch if _PROGRESS not in payload]
                    begun = bool(batch)
                if batch:
                    yield batch
        except EngineError as error:
            if request.verdict is not None:
                raise request.verdict from error
            raise
        self._release()

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._release()


class _Watchdog:
    """Looks whether a worker comes round to anything, from outside of it.

    A worker is stuck when the loop that writes the answers does not answer either, or when a
    request does not arrive in a slot although one is free: then it is being prepared for ever.
    """

    def __init__(self, place: _Place, worker: Worker, options: EmbeddedOptions) -> None:
        self._place = place
        self._worker = worker
        self._options = options
        self._looked_at = time.monotonic()
        self._blocked_s = 0.0
        self._lost_s = 0.0

    async def finds_it_stuck(self) -> bool:
        """Look if it is time to; takes up to PROBE_TIMEOUT_S."""
        constrained = any(r.constraint and r.sent_at for r in self._place.requests)
        began = time.monotonic()
        if began - self._looked_at < HEALTH_INTERVAL_S and not (constrained or self._blocked_s):
            return False
        before = self._looked_at
        since, self._looked_at = min(began - before, HEALTH_INTERVAL_S), began
        try:
            busy = await self._worker.count_busy_slots(PROBE_TIMEOUT_S)
        except (TimeoutError, OSError, ValueError):
            busy = None
        took = time.monotonic() - began
        if self._others_move(before):
            self._blocked_s = 0.0
        elif busy is None or took > SLOW_PROBE_S:
            self._blocked_s += took
        else:
            self._blocked_s = max(0.0, self._blocked_s - since)
        self._lost_s = self._lost_s + since + took if constrained and self._some_are_lost(busy) else 0.0
        longest = self._options.stall_s if constrained else self._options.hang_s
        return self._blocked_s > longest or self._lost_s > longest

    def _others_move(self, since: float) -> bool:
        """Whether tokens came for those whom a constraint could block; for all, when there are none."""
        requests = self._place.requests
        free = [request for request in requests if not request.constraint]
        return any(request.progress_at > since for request in free or requests)

    def _some_are_lost(self, busy: int | None) -> bool:
        if busy is None or busy >= self._worker.config.slots:
            return False
        recently = time.monotonic() - 2 * WATCH_INTERVAL_S
        waiting = [
            r for r in self._place.requests if r.sent_at and (not r.progress_at or r.progress_at > recently)
        ]
        return busy < len(waiting)


def find_constraint(body: Mapping[str, Any], *, checked: bool = False) -> tuple[str, Any]:
    """What may constrain the answer too much: the parameter's name and all of its content, or an empty name.

    With `checked`, schemas are followed by LLGuidance, after `constraints.py` has looked at them, and
    take no time to speak of: a slow machine must not bring an honest request under suspicion.
    """
    parts: dict[str, Any] = {}
    answer_format: Any = None if checked else body.get("response_format")
    if isinstance(answer_format, Mapping) and cast("Mapping[str, Any]", answer_format).get("type") != "text":
        parts["response_format"] = answer_format
    for name in ("json_schema", "grammar") if checked else ("json_schema", "grammar", "tools"):
        if body.get(name):
            parts[name] = body[name]
    return next(iter(parts), ""), parts


def _make_refusal(param: str) -> BadRequest:
    return BadRequest(
        f"the {param} of this request takes too long to be followed",
        param=param,
        hint="simplify it: patterns with nested repetition and large counts are the usual cause",
        code="constraint_too_complex",
    )


def _choose_adapter(worker: Worker, adapted: bool) -> dict[str, Any]:
    """What has llama.cpp apply the adapter to a request, or not: unasked it does as the request before."""
    return {"lora": [{"id": 0, "scale": float(adapted)}]} if worker.config.adapter else {}


async def _read_into_cache(worker: Worker, messages: Sequence[Mapping[str, Any]], adapted: bool) -> None:
    rendered = await worker.native.post("/apply-template", {"messages": list(messages)})
    # What the template writes after the last text would have to be taken back, which not every model's cache can.
    before, text, _ = str(rendered["prompt"]).rpartition(messages[-1]["content"])
    if text:
        asked = {"prompt": before + text, "n_predict": 0, "cache_prompt": True}
        await worker.native.post("/completion", asked | _choose_adapter(worker, adapted))


def _was_unheard(error: EngineError) -> bool:
    """Whether the connection broke before any reply: llama.cpp closes idle ones after a few seconds."""
    cause = error.__cause__
    return isinstance(error, EngineUnavailable) and cause is not None and not isinstance(cause, TimeoutError)


async def _is_gone(worker: Worker) -> bool:
    """Whether a worker has died; its connections break a moment before the kernel reports its end."""
    try:
        await asyncio.wait_for(worker.wait(), 1.0)
    except TimeoutError:
        return False
    return True


def _inspect(path: Path) -> tuple[GgufHeader, Machine, tuple[int, int]]:
    """Look at the file and at the machine, and note which file that was."""
    header = read_header(path)
    status = path.stat()
    return header, read_machine(), (status.st_mtime_ns, status.st_size)
