"""The HTTP API as the terminal uses it: every request typed, every failure a CandideError.

A connection that drops is mended here and nowhere else: what may be repeated is repeated, an event
stream goes on after the last event seen, so a caller sees no gap and no duplicate, whether the
network failed or the server was started again.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from candide.conversation.tree import find_branch, find_siblings
from candide.domain.grounding import Grounding, SearchWishes
from candide.domain.ids import new_id
from candide.domain.jobs import Job
from candide.domain.sources import Library, Source, Target, choose_library
from candide.domain.turns import FINAL_EVENTS, TurnEvent, decode_event
from candide.errors import (
    BadRequest,
    CandideError,
    Conflict,
    EngineError,
    EngineOverloaded,
    EngineUnavailable,
    NotAllowed,
    NotFound,
    TooLarge,
)

if TYPE_CHECKING:
    from candide.server.address import Address

SILENCE_S = 60.0
"""An event stream silent for so long is opened anew; the replay makes that harmless."""

FRUITLESS_ATTEMPTS = 50
"""Event streams in a row that broke off without an event, at least 0.2 s apart, before it is an error."""

T = TypeVar("T")
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


class MessageView(msgspec.Struct, kw_only=True):
    id: str
    parent_id: str | None = None
    role: str
    text: str = ""
    state: str = "complete"
    reasoning: str = ""
    model: str | None = None
    turn_id: str | None = None
    grounding: Grounding | None = None
    created_at: float = 0.0


class ConversationView(msgspec.Struct, kw_only=True):
    id: str
    title: str = ""
    current_leaf_id: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    search: SearchWishes | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    messages: list[MessageView] = []

    def branch(self) -> list[MessageView]:
        """The messages from the root to the current leaf."""
        return find_branch(self.messages, self.current_leaf_id)

    def forks(self) -> list[list[MessageView]]:
        """The alternatives, oldest first, at each message of the current branch that has any."""
        found = (find_siblings(self.messages, message) for message in self.branch())
        return [siblings for siblings in found if len(siblings) > 1]


class TurnView(msgspec.Struct, kw_only=True):
    id: str
    state: str
    user_message_id: str
    answer_message_id: str


class ModelView(msgspec.Struct, kw_only=True):
    name: str
    default: bool = False
    engines: list[Any] = []


class SearchHit(msgspec.Struct, kw_only=True):
    conversation_id: str
    conversation_title: str = ""
    message_id: str | None = None
    role: str = "user"
    snippet: str = ""
    highlights: list[tuple[int, int]] = []
    created_at: float = 0.0


class SourceView(msgspec.Struct, kw_only=True):
    id: str
    external_id: str | None = None
    uri: str = ""
    title: str = ""
    site: str = ""
    published: float | None = None


class PassageView(msgspec.Struct, kw_only=True):
    start: int
    end: int
    text: str
    headings: str = ""
    page: int | None = None


class WholeSourceView(SourceView, kw_only=True):
    author: str = ""
    language: str = ""


class TextView(msgspec.Struct):
    text: str


class ResultView(msgspec.Struct, kw_only=True):
    source: SourceView
    passage: PassageView
    score: float
    highlights: list[tuple[int, int]] = []


class PassagesView(msgspec.Struct, kw_only=True):
    results: list[ResultView]
    is_good: bool = True
    """Whether the best of them are good enough to answer from; else they are the nearest."""
    libraries: list[str] = []
    """The ids of those that were searched."""
    missing: list[str] = []
    ignored: list[str] = []
    """Operators whose values mean nothing, as they were written."""


class SkippedView(msgspec.Struct):
    title: str
    reason: str


class ImportView(msgspec.Struct, kw_only=True):
    id: str
    name: str
    state: str
    total_bytes: int = 0
    read_bytes: int = 0
    format: str | None = None
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: list[SkippedView] = []
    skipped_count: int = 0
    error: str | None = None


class _Page(msgspec.Struct):
    data: list[ConversationView]
    next: str | None = None


class _Models(msgspec.Struct):
    data: list[ModelView]


class _Hits(msgspec.Struct):
    data: list[SearchHit]


class _Libraries(msgspec.Struct):
    data: list[Library]


class _Targets(msgspec.Struct):
    data: list[Target]


class _Removed(msgspec.Struct):
    sources: int


class _Sources(msgspec.Struct):
    data: list[Source]
    next: str | None


class _Jobs(msgspec.Struct):
    data: list[Job]


class _ErrorBody(msgspec.Struct):
    message: str
    param: str | None = None
    code: str | None = None
    hint: str | None = None


class _ErrorFrame(msgspec.Struct):
    error: _ErrorBody


class Locator(Protocol):
    """Knows where the server is, and finds it, or another, again."""

    @property
    def address(self) -> Address: ...

    @property
    def is_own(self) -> bool:
        """Whether the server lives in this process, and ends with it."""
        ...

    async def recover(self) -> None:
        """Return once a server answers; raises EngineUnavailable when none can be had."""
        ...


class Client:
    def __init__(self, locator: Locator) -> None:
        self._locator = locator
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        # One connection a request: a server that was started again must not meet its forerunner's sockets.
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(force_close=True), trust_env=False
        )

    @property
    def url(self) -> str:
        return self._locator.address.url

    @property
    def is_own(self) -> bool:
        """Whether the server lives in this process, and ends with it."""
        return self._locator.is_own

    async def close(self) -> None:
        await self._session.close()

    # Conversations

    async def create_conversation(self, **fields: Any) -> str:
        body = {name: value for name, value in fields.items() if value is not None}
        return (await self._call("POST", "/api/conversations", ConversationView, body)).id

    async def list_conversations(
        self, limit: int = 50, before: str | None = None
    ) -> tuple[list[ConversationView], str | None]:
        query = {"limit": str(limit)} | ({"before": before} if before else {})
        page = await self._call("GET", "/api/conversations", _Page, query=query)
        return page.data, page.next

    async def all_conversations(self) -> AsyncIterator[ConversationView]:
        before: str | None = None
        while True:
            page, before = await self.list_conversations(100, before)
            for conversation in page:
                yield conversation
            if before is None:
                return

    async def conversation(self, conversation_id: str) -> ConversationView:
        return await self._call("GET", f"/api/conversations/{conversation_id}", ConversationView)

    async def find_conversation(self, reference: str) -> ConversationView:
        """A conversation by its id, by the end of its id, by a word of its title, or `last`."""
        if reference == "last":
            page, _ = await self.list_conversations(1)
            if not page:
                raise NotFound("there is no conversation yet", hint="candide ask 'a question' begins one")
            return await self.conversation(page[0].id)
        if _ID.fullmatch(reference):
            with contextlib.suppress(NotFound):
                return await self.conversation(reference)
        found = [
            c
            async for c in self.all_conversations()
            if c.id.endswith(reference) or reference.casefold() in c.title.casefold()
        ]
        if not found:
            raise NotFound(
                f"no conversation '{reference}', by id or title", hint="candide conversations list shows them"
            )
        exact = [c for c in found if c.id.endswith(reference) or c.title.casefold() == reference.casefold()]
        if len(found) > 1 and len(exact) != 1:
            raise BadRequest(
                f"'{reference}' fits {len(found)} conversations",
                hint="give the id: candide conversations list shows them",
            )
        return await self.conversation((exact or found)[0].id)

    async def change_conversation(self, conversation_id: str, **fields: Any) -> None:
        await self._call("PATCH", f"/api/conversations/{conversation_id}", dict[str, Any], fields)

    async def delete_conversation(self, conversation_id: str) -> None:
        await self._fetch("DELETE", f"/api/conversations/{conversation_id}")

    async def restore_conversation(self, conversation_id: str) -> None:
        await self._fetch("POST", f"/api/conversations/{conversation_id}/restore", {})

    async def search(self, query: str, limit: int = 20) -> list[SearchHit]:
        return (await self._call("GET", "/api/search", _Hits, query={"q": query, "limit": str(limit)})).data

    async def source(self, source_id: str) -> WholeSourceView:
        return await self._call("GET", f"/api/sources/{quote(source_id, safe='')}", WholeSourceView)

    async def source_text(self, source_id: str) -> str:
        """A source's text: what passages and citations count characters of."""
        path = f"/api/sources/{quote(source_id, safe='')}/text"
        return (await self._call("GET", path, TextView)).text

    async def find_passages(self, query: str, wishes: Mapping[str, str | Sequence[str]]) -> PassagesView:
        """Search the libraries; the wishes are parameters of `/api/passages`."""
        return await self._call("GET", "/api/passages", PassagesView, query={"query": query, **wishes})

    async def export_conversation(self, conversation_id: str, form: str) -> bytes:
        """One conversation as the server writes it; `form` is `json`, `markdown` or `chatgpt`."""
        return await self._fetch(
            "GET", f"/api/conversations/{conversation_id}/export", query={"format": form}
        )

    async def export_all(self, form: str) -> AsyncIterator[bytes]:
        """The pieces of a ZIP with all conversations and their files."""
        try:
            async with self._session.get(
                f"{self.url}/api/export", params={"format": form}, headers=self._headers()
            ) as response:
                if response.status >= 400:
                    raise _error_from(response.status, await response.read(), response.headers)
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, ConnectionError) as error:
            raise EngineUnavailable(f"{self.url} breaks off: {error}") from error

    async def begin_import(self, name: str, pieces: AsyncIterator[bytes]) -> ImportView:
        """Send a file to be imported. It is sent once: nobody knows how to read it again."""
        headers = self._headers() | {"Content-Type": "application/octet-stream"}
        try:
            async with self._session.post(
                f"{self.url}/api/imports", params={"name": name}, headers=headers, data=pieces
            ) as response:
                content = await response.read()
                if response.status >= 400:
                    raise _error_from(response.status, content, response.headers)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise EngineUnavailable(f"{self.url} breaks off: {error}") from error
        return msgspec.json.decode(content, type=ImportView)

    async def get_import(self, import_id: str) -> ImportView:
        return await self._call("GET", f"/api/imports/{import_id}", ImportView)

    # Turns

    async def begin_turn(self, conversation_id: str, **fields: Any) -> TurnView:
        """Ask; a key makes it the same question however often the connection drops."""
        key = {"Idempotency-Key": new_id("key")}
        path = f"/api/conversations/{conversation_id}/turns"
        return await self._call("POST", path, TurnView, fields, headers=key)

    async def stop_turn(self, turn_id: str) -> None:
        await self._fetch("POST", f"/api/turns/{turn_id}/stop", {})

    async def turn_events(self, turn_id: str) -> AsyncIterator[TurnEvent]:
        """Every event of a turn from its first to its last, each once, across lost connections.

        Of several ends, as a turn has that was continued, only the last is given.
        """
        seen = 0
        end: TurnEvent | None = None
        fruitless = 0
        while True:
            fruitless += 1
            try:
                async with self._session.get(
                    f"{self.url}/api/turns/{turn_id}/events",
                    headers=self._headers() | {"Last-Event-ID": str(seen)},
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_S),
                ) as response:
                    if response.status >= 400:
                        raise _error_from(response.status, await response.read(), response.headers)
                    async for number, data in _read_events(response):
                        if number <= seen:
                            continue
                        seen = number
                        fruitless = 0
                        try:
                            event = decode_event(data)
                        except msgspec.ValidationError:
                            continue  # a kind that a newer server knows
                        if isinstance(event, FINAL_EVENTS):
                            # The stream ends with the last one.
                            end = event
                        else:
                            end = None
                            yield event
                if end is not None:
                    yield end
                    return
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                if end is not None:
                    yield end
                    return
                if fruitless > FRUITLESS_ATTEMPTS:
                    raise EngineUnavailable(f"{self.url} breaks off: {error}") from error
            except EngineUnavailable:
                # A server that starts or stops answers so, for a while.
                if fruitless > FRUITLESS_ATTEMPTS:
                    raise
            await self._locator.recover()

    # Libraries and what is read into them

    async def libraries(self) -> list[Library]:
        """All libraries, by name."""
        return (await self._call("GET", "/api/libraries", _Libraries)).data

    async def find_library(self, reference: str) -> Library:
        """A library by its id or name, case and accents aside. Raises NotFound, which names those that are there."""
        return choose_library(await self.libraries(), reference)

    async def create_library(self, name: str) -> Library:
        return await self._call("POST", "/api/libraries", Library, {"name": name})

    async def rename_library(self, library_id: str, name: str) -> Library:
        return await self._call("PATCH", f"/api/libraries/{library_id}", Library, {"name": name})

    async def delete_library(self, library_id: str) -> None:
        await self._fetch("DELETE", f"/api/libraries/{library_id}")

    async def restore_library(self, library_id: str) -> None:
        await self._fetch("POST", f"/api/libraries/{library_id}/restore", {})

    async def list_targets(self, library_id: str) -> list[Target]:
        return (await self._call("GET", f"/api/libraries/{library_id}/targets", _Targets)).data

    async def add_targets(self, library_id: str, targets: Sequence[Mapping[str, Any]]) -> Job:
        """Have targets read; each is a member of the body of `/api/libraries/{id}/targets`."""
        return await self._call(
            "POST", f"/api/libraries/{library_id}/targets", Job, {"targets": list(targets)}
        )

    async def refresh_library(self, library_id: str, target_ids: Sequence[str] | None = None) -> Job:
        body = {} if target_ids is None else {"target_ids": list(target_ids)}
        return await self._call("POST", f"/api/libraries/{library_id}/refresh", Job, body)

    async def remove_target(self, target_id: str) -> int:
        """Remove a target; how many sources have gone with it."""
        return (await self._call("DELETE", f"/api/targets/{target_id}", _Removed)).sources

    async def list_sources(self, query: Mapping[str, str], limit: int | None = None) -> AsyncIterator[Source]:
        """The sources that `query`, parameters of `/api/sources`, is about."""
        after: dict[str, str] = {}
        given = 0
        while limit is None or given < limit:
            size = 500 if limit is None else min(500, limit - given)
            page = await self._call(
                "GET", "/api/sources", _Sources, query={**query, **after, "limit": str(size)}
            )
            for source in page.data:
                yield source
            given += len(page.data)
            if page.next is None:
                return
            after = {"after": page.next}

    async def get_source(self, source_id: str) -> Source:
        return await self._call("GET", f"/api/sources/{source_id}", Source)

    async def remove_source(self, source_id: str) -> None:
        await self._fetch("DELETE", f"/api/sources/{source_id}")

    async def list_jobs(self, query: Mapping[str, str]) -> list[Job]:
        """The jobs that `query`, parameters of `/api/jobs`, is about."""
        return (await self._call("GET", "/api/jobs", _Jobs, query=query)).data

    async def get_job(self, job_id: str) -> Job:
        return await self._call("GET", f"/api/jobs/{job_id}", Job)

    async def hold_job(self, job_id: str, how: str) -> Job:
        """`pause`, `resume` or `cancel` a job."""
        return await self._call("POST", f"/api/jobs/{job_id}/{how}", Job, {})

    # Models and the server itself

    async def models(self) -> list[ModelView]:
        return (await self._call("GET", "/api/models", _Models)).data

    async def find_model(self, reference: str) -> str:
        """The name under which the server serves a model, given by that name or by its file.

        Ask before anything is stored: what names a model that is not there must leave nothing behind.
        Raises NotFound.
        """
        name = model_name(reference)
        names = [model.name for model in await self.models()]
        if name in names:
            return name
        if name != reference:
            raise self._file_not_served(reference)
        near = difflib.get_close_matches(name, names, n=1)
        raise NotFound(
            f"no model '{name}'",
            hint=f"did you mean {near[0]}?" if near else f"there are {', '.join(names[:5]) or 'none'}",
            code="model_not_found",
        )

    def _file_not_served(self, path: str) -> NotFound:
        if not Path(path).expanduser().is_file():
            return missing_file(path)
        if self.is_own:
            message = f"the engines that are attached do not serve '{path}'"
            hint = f"to answer with it: candide serve --model '{path}'"
        else:
            message = f"the running server, {self.url}, does not serve '{path}'"
            hint = f"start it with --model '{path}', or stop it: this command then serves the file itself"
        return NotFound(message, hint=hint, code="model_not_found")

    async def is_ready(self) -> bool:
        """Whether a model can answer now."""
        try:
            await self._fetch("GET", "/ready")
        except CandideError:
            return False
        return True

    # Plumbing

    def _headers(self) -> dict[str, str]:
        key = self._locator.address.api_key
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def _call(
        self,
        method: str,
        path: str,
        shape: type[T],
        body: Any = None,
        *,
        query: Mapping[str, str | Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        data = await self._fetch(method, path, body, query=query, headers=headers)
        try:
            return msgspec.json.decode(data or b"null", type=shape)
        except msgspec.DecodeError as error:
            raise CandideError(
                f"{self.url}{path} answered with something else than Candide does: {error}",
                hint="is another program, or another version, listening there? candide doctor tells",
            ) from error

    async def _fetch(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str | Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        for attempt in range(4):
            try:
                async with self._session.request(
                    method,
                    self.url + path,
                    data=data,
                    params=query,
                    headers=self._headers() | {"Content-Type": "application/json"} | dict(headers or {}),
                ) as response:
                    content = await response.read()
                    if response.status >= 400:
                        raise _error_from(response.status, content, response.headers)
                    return content
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                if attempt == 3:
                    raise EngineUnavailable(f"{self.url} does not answer: {error}") from error
                await self._locator.recover()
        raise AssertionError("unreachable")


def model_name(reference: str) -> str:
    """What a server calls a model that was given by name or as a file."""
    return Path(reference).stem.lower() if reference.endswith(".gguf") else reference


def missing_file(path: str) -> NotFound:
    return NotFound(
        f"model file '{path}' not found", hint="check the path; candide models list shows what is installed"
    )


def _error_from(status: int, content: bytes, headers: Mapping[str, str]) -> CandideError:
    try:
        error = msgspec.json.decode(content, type=_ErrorFrame).error
    except msgspec.DecodeError:
        error = _ErrorBody(message=f"the server answered {status}: {content[:200].decode(errors='replace')}")
    message, hint, code = error.message, error.hint, error.code
    if status in (401, 403):
        return NotAllowed(message, status=status, hint=hint, code=code)
    if status == 404:
        return NotFound(message, param=error.param, hint=hint, code=code)
    if status == 409:
        return Conflict(message, hint=hint, code=code)
    if status == 413:
        return TooLarge(message, hint=hint, code=code)
    if status == 429:
        try:
            retry_after = float(headers.get("Retry-After", "1"))
        except ValueError:
            retry_after = 1.0
        return EngineOverloaded(message, retry_after=retry_after, hint=hint)
    if status < 500:
        return BadRequest(message, param=error.param, hint=hint, code=code)
    if status == 503:
        return EngineUnavailable(message, hint=hint, code=code)
    if status in (502, 504):
        return EngineError(message, hint=hint, code=code)
    return CandideError(message, hint=hint, code=code)


async def _read_events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[int, bytes]]:
    """The (id, data) of each event of an SSE stream, as the HTML standard's section 9.2 frames them."""
    pending = b""
    number, data = 0, list[bytes]()
    async for chunk in response.content.iter_any():
        *lines, pending = (pending + chunk).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r")
            if not line:
                if data:
                    yield number, b"\n".join(data)
                data = []
                continue
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"id" and value.isdigit():
                number = int(value)
            elif name == b"data":
                data.append(value)
