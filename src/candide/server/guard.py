"""Who may call: checked before anything else, for every path but `/health` and `/ready`.

On a laptop there is no key, so that a web page must not be able to use the server through the
browser that shows it: the Host must be ours (against DNS rebinding) and the Origin, where the browser
tells it, the Host's own (against posts from other sites). With a key set, the key decides; a browser
has a cookie for it, and the Origin is looked at as well. What holds no one's data needs no key: the page,
and what was shared.
Bodies are counted as they come, so that a large one is refused before it fills the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from candide.errors import CandideError, NotAllowed, NotFound, TooLarge
from candide.server.failures import error_body
from candide.server.page import is_asset, is_public
from candide.server.services import Access
from candide.server.session import has_key, has_session

OPEN_PATHS = frozenset({"/health", "/ready"})
_TO_DISK = re.compile(r"/api/imports|/api/libraries/[^/]+/files")
"""Where bodies are files that go to the disk as they come."""


LINGER_S = 5.0
LINGER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Limit:
    """How large the body of a request may be, and the setting that says so."""

    n_bytes: int
    setting: str

    def exceeded(self) -> TooLarge:
        return TooLarge(
            f"the body is larger than {self.n_bytes // 2**20} MiB",
            hint=f"raise {self.setting} in the settings",
        )


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._allowed_hosts = {name.lower() for name in access.allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope["path"], headers)
            limit = self._limit(scope)
            if int(headers.get("content-length") or 0) > limit.n_bytes:
                raise limit.exceeded()
        except CandideError as error:
            await _refuse(receive, send, error)
            return
        except ValueError:
            await _refuse(receive, send, NotAllowed("Content-Length is not a number", status=400))
            return
        if "content-length" in headers or scope["method"] in ("GET", "HEAD", "DELETE"):
            await self._app(scope, receive, send)
            return
        await _call_limited(self._app, scope, receive, send, limit)

    def _limit(self, scope: Scope) -> Limit:
        if scope["method"] == "POST" and _TO_DISK.fullmatch(scope["path"]):
            return Limit(self._access.max_import_bytes, "max_import_mb")
        return Limit(self._access.max_body_bytes, "max_body_mb")

    def _check(self, path: str, headers: Headers) -> None:
        if path in OPEN_PATHS:
            return
        if "\0" in path:
            raise NotFound("there is nothing under a path with a NUL character", code="unknown_url")
        if key := self._access.api_key:
            if is_public(path) or path.startswith("/api/shared/") or has_key(headers, key):
                return
            # A browser sends the cookie by itself, and with it only what a page of ours asks for.
            if path != "/api/session" and not has_session(headers, key):
                raise NotAllowed(
                    "the key is missing or wrong", status=401, code="invalid_api_key",
                    hint="send it as 'Authorization: Bearer KEY'",
                )  # fmt: skip
        elif not self._knows(_host_name(headers.get("host", ""))):
            raise NotAllowed(
                f"the host '{headers.get('host', '')}' is not this server's",
                code="host_not_allowed",
                hint="add it to allowed_hosts in the settings",
            )
        _check_origin(path, headers)

    def _knows(self, name: str) -> bool:
        if name == "localhost" or name.endswith(".localhost") or name in self._allowed_hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be rebound to another.
        return True


def _check_origin(path: str, headers: Headers) -> None:
    """Refuse what a page of another site has a browser send."""
    site = headers.get("sec-fetch-site")
    if site == "same-origin" or is_asset(path):
        return
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        raise NotAllowed(f"pages of '{origin}' may not use this server", code="origin_not_allowed")
    if site in ("cross-site", "same-site") and path.startswith(("/api", "/v1")):
        raise NotAllowed("pages of other sites may not use this server", code="origin_not_allowed")


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return (host.rpartition(":")[0] if host.count(":") == 1 else host).lower()


async def _call_limited(app: ASGIApp, scope: Scope, receive: Receive, send: Send, limit: Limit) -> None:
    """Call the application, but for a body that turns out too large: then the answer says so, whatever it says."""
    seen = 0

    async def receive_limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit.n_bytes:
            raise limit.exceeded()
        return message

    async def send_checked(message: Message) -> None:
        if seen <= limit.n_bytes:
            await send(message)
        elif message["type"] == "http.response.start":
            await _refuse(receive, send, limit.exceeded())

    await app(scope, receive_limited, send_checked)


async def _refuse(receive: Receive, send: Send, error: CandideError) -> None:
    body = msgspec.json.encode(error_body(error))
    headers: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    is_too_large = error.status == 413
    if is_too_large:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": is_too_large})
    if is_too_large:
        await _linger(receive)
        await send({"type": "http.response.body", "body": b""})


async def _linger(receive: Receive) -> None:
    """Let go by what a client is still sending, for a while.

    A connection that is closed with something unread is reset, and the client may never read why (RFC 9112, 9.6).
    """
    left = LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                if not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
