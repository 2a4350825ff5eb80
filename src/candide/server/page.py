"""The page: the files that `web/` was built into, and what browsers are told about them.

They hold no one's data, so that they are given without a key: the page asks for it. Files under
`/assets/` bear a hash of their content in their names and never change. Where the build left a file
compressed beside the plain one, the smallest that the browser takes is given.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FOLDER = Path(__file__).parent.parent / "web"
"""Where the build of `web/` leaves the page."""

VIEWS = (
    "/",
    "/c/{id}",
    "/folder/{id}",
    "/libraries",
    "/libraries/{id}",
    "/search",
    "/settings",
    "/share/{token}",
)
"""Addresses within the page: the same document, which shows what they name."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DIAGRAM_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts"
)
"""Of the frame in which a diagram is drawn: its scripts run, in an origin that is nobody's."""

_DOCUMENT_HEADERS = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
}
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
"""Not those of the machine, which differ, and without which a browser runs no script."""
_CODINGS = {"br": ".br", "gzip": ".gz"}
"""How a file may be compressed, best first, and the end of its name then."""

_NOT_BUILT = """Candide runs, but its page was not built.

In a checkout of the repository:  make web
The terminal and the API work without it:  candide chat, and /docs
"""


def is_public(path: str) -> bool:
    """Whether a path is one of the page's own, which holds no one's data."""
    parts = path.split("/")[1:]
    return (
        path
        in (
            "/",
            "/libraries",
            "/search",
            "/settings",
            "/diagram.html",
            "/manifest.webmanifest",
            "/favicon.ico",
        )
        or is_asset(path)
        or (len(parts) == 2 and parts[0] in ("c", "folder", "libraries", "share", "icons"))
        or (len(parts) == 1 and parts[0].startswith("icon"))
    )


def is_asset(path: str) -> bool:
    """Whether a path is one of the page's parts, which frames without an origin load too."""
    return path.startswith("/assets/")


def build_router(folder: Path = FOLDER) -> APIRouter:
    router = APIRouter()

    async def show_view(request: Request) -> Response:
        return await _send(
            request, folder / "index.html", {**_DOCUMENT_HEADERS, "Content-Security-Policy": POLICY}
        )

    async def show_diagram_frame(request: Request) -> Response:
        headers = {**_DOCUMENT_HEADERS, "Content-Security-Policy": DIAGRAM_POLICY}
        return await _send(request, folder / "diagram.html", headers)

    async def show_asset(request: Request) -> Response:
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "Access-Control-Allow-Origin": "*"}
        return await _send(request, _find(folder / "assets", request.path_params["name"]), headers)

    async def show_icon(request: Request) -> Response:
        return await _send(request, _find(folder, request.url.path[1:]), {"Cache-Control": "no-cache"})

    for path in VIEWS:
        router.add_route(path, show_view, ["GET", "HEAD"], include_in_schema=False)
    router.add_route("/diagram.html", show_diagram_frame, ["GET", "HEAD"], include_in_schema=False)
    router.add_route("/assets/{name}", show_asset, ["GET", "HEAD"], include_in_schema=False)
    for path in ("/manifest.webmanifest", "/favicon.ico", "/icon{name}", "/icons/{name}"):
        router.add_route(path, show_icon, ["GET", "HEAD"], include_in_schema=False)
    return router


def _find(folder: Path, name: str) -> Path:
    """A file of the folder; raises HTTPException for what is none."""
    path = folder / name
    if ".." in path.parts or "\\" in name or path.suffix not in _MEDIA_TYPES or not path.is_file():
        raise HTTPException(404)
    return path


async def _send(request: Request, path: Path, headers: dict[str, str]) -> Response:
    headers = {**headers, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    taken = _accepted_codings(request.headers.get("accept-encoding", ""))
    try:
        tag, chosen, body = await asyncio.to_thread(_read, path, taken)
    except FileNotFoundError:
        return PlainTextResponse(_NOT_BUILT, 503, {"Cache-Control": "no-store"})
    headers["ETag"] = tag
    asked = [
        known.strip().removeprefix("W/") for known in request.headers.get("if-none-match", "").split(",")
    ]
    if tag in asked:
        return Response(status_code=304, headers=headers)
    if chosen:
        headers["Content-Encoding"] = chosen
    return Response(body, headers={**headers, "Content-Type": _MEDIA_TYPES[path.suffix]})


def _read(path: Path, taken: list[str]) -> tuple[str, str, bytes]:
    """The tag of a file, how it is compressed ("" for not at all), and its bytes. Raises FileNotFoundError."""
    for coding in taken:
        compressed = path.with_name(path.name + _CODINGS[coding])
        if compressed.is_file():
            path = compressed
            break
    else:
        coding = ""
    body = path.read_bytes()
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"', coding, body


def _accepted_codings(header: str) -> list[str]:
    """What of `_CODINGS` a browser takes, best first."""
    accepted: set[str] = set()
    for part in header.split(","):
        coding, _, weight = part.partition(";")
        if weight.replace(" ", "").removeprefix("q=").strip("0.") or not weight:
            accepted.add(coding.strip().lower())
    return [coding for coding in _CODINGS if coding in accepted]
