"""How a browser keeps the key: as a cookie that stands for it, which no script can read.

The cookie holds what is derived from the key, never the key itself, so that nothing of it needs to be
kept here: it serves until the key is changed. Other sites cannot send it along (`SameSite=Strict`).
"""

from __future__ import annotations

import hashlib
import hmac

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from candide.errors import NotAllowed
from candide.server.routers import make_router
from candide.server.services import Access

COOKIE = "candide_session"
LIFETIME_S = 180 * 24 * 3600


class Key(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str


class SessionView(BaseModel):
    needs_key: bool
    signed_in: bool
    """Whether this request would be let in everywhere."""


def has_key(headers: Headers, api_key: str) -> bool:
    """Whether a request brings the key in a header, where no browser puts it by itself."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    given = key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return hmac.compare_digest(given.encode(), api_key.encode())


def has_session(headers: Headers, api_key: str) -> bool:
    """Whether a request brings the cookie that stands for the key."""
    given = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    return hmac.compare_digest(given.encode(), _derive_token(api_key).encode())


def _derive_token(api_key: str) -> str:
    return hmac.new(api_key.encode(), b"candide session 1", hashlib.sha256).hexdigest()


def build_router(access: Access) -> APIRouter:
    router = make_router("/api/session", "session")

    @router.get("", summary="Whether a key is asked for, and was given")
    async def get_session(request: Request) -> SessionView:  # pyright: ignore[reportUnusedFunction]
        key = access.api_key
        return SessionView(
            needs_key=bool(key),
            signed_in=not key or has_key(request.headers, key) or has_session(request.headers, key),
        )

    @router.post("", status_code=204, summary="Exchange the key for a cookie")
    async def sign_in(request: Request, response: Response, body: Key) -> None:  # pyright: ignore[reportUnusedFunction]
        if not access.api_key:
            return
        if not hmac.compare_digest(body.key.strip().encode("utf-8", "replace"), access.api_key.encode()):
            raise NotAllowed(
                "this is not the key", status=401, code="invalid_api_key",
                hint="it is the setting api_key (CANDIDE_API_KEY) of the server",
            )  # fmt: skip
        response.set_cookie(
            COOKIE,
            _derive_token(access.api_key),
            max_age=LIFETIME_S,
            httponly=True,
            samesite="strict",
            secure=_came_by_https(request),
        )

    @router.delete("", status_code=204, summary="Forget the cookie")
    async def sign_out(request: Request, response: Response) -> None:  # pyright: ignore[reportUnusedFunction]
        response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=_came_by_https(request))

    return router


def _came_by_https(request: Request) -> bool:
    """Also through a proxy: what a caller says untruly of this is to nobody else's harm."""
    return (
        request.url.scheme == "https"
        or request.headers.get("x-forwarded-proto") == "https"
        or request.headers.get("origin", "").startswith("https://")
    )
