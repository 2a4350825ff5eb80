"""Who may call: checked before anything else, for every path but `/health` and `/ready`.

On a laptop there is no key, so that a web page must not be able to use the server through the
browser that shows it: the Host must be ours (against DNS rebinding) and the Origin, where the browser
tells it, the Host's own (against posts from other sites). With a key set, the key decides; a browser
has a cookie for it, and the Origin is looked at as well. What holds no one's data needs no key: the page,
and what was shared.
Bodies are counted as they come, so that a large one is refused before it fills the memory.
"""

from __future__ import annotations

import ipaddress
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
            if int(headers.get("content-length") or 0) > limit:
                raise _too_large(limit)
        except CandideError as error:
            await _refuse(send, error)
            return
        except ValueError:
            await _refuse(send, NotAllowed("Content-Length is not a number", status=400))
            return
        if "content-length" in headers or scope["method"] in ("GET", "HEAD", "DELETE"):
            await self._app(scope, receive, send)
            return
        await _call_limited(self._app, scope, receive, send, limit)

    def _limit(self, scope: Scope) -> int:
        is_import = scope["method"] == "POST" and scope["path"] == "/api/imports"
        return self._access.max_import_bytes if is_import else self._access.max_body_bytes

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


async def _call_limited(app: ASGIApp, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
    """Call the application, but for a body that turns out too large: then the answer says so, whatever it says."""
    seen = 0

    async def receive_limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    async def send_checked(message: Message) -> None:
        if seen <= limit:
            await send(message)
        elif message["type"] == "http.response.start":
            await _refuse(send, _too_large(limit))

    await app(scope, receive_limited, send_checked)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit // 2**20} MiB", hint="raise max_body_mb in the settings")


async def _refuse(send: Send, error: CandideError) -> None:
    body = msgspec.json.encode(error_body(error))
    headers: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if error.status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
