"""An HTTP server that behaves like the model hub, and misbehaves on request.

There are two: the hub, which knows files by `/OWNER/REPO/resolve/REVISION/FILE` and sends clients on to
the other, the store, as the real hub does. Both write down what they were asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

COMMIT = "c0ffee" * 6 + "cafe"


@dataclass
class Served:
    """A file and how it is served. The lists are used up, one element a request to the store."""

    content: bytes
    sha256: str | None = None
    """What the hub announces; the content's by default, "" for nothing."""
    etag: str | None = None
    """The store's; "" for none."""
    gated_for: str | None = None
    """The token without which it is refused."""
    hub_answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    store_answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    """After how many bytes of the body the connection is cut."""
    announced_size: int | None = None
    content_length: int | None = None
    content_type: str = "application/octet-stream"
    ranges: bool = True
    back_off: int = 0
    """How many bytes before the range that was asked for an answer begins."""
    pause: float = 0.0
    """Before each block of the body."""
    block: int = 1 << 16
    redirect: str | None = None
    """Where the hub sends clients to, instead of the store."""


@dataclass
class Asked:
    server: str
    method: str
    path: str
    headers: dict[str, str]


class ScriptedHub:
    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[Asked] = []
        self._servers = [_serve(self, "hub"), _serve(self, "store")]
        self.url, self.store_url = (
            f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers
        )

    def add(self, path: str, content: bytes, **how: Any) -> Served:
        """Serve a file of the hub: `OWNER/REPO/FILE`."""
        self.files[path] = served = Served(content, **how)
        return served

    def asked_of(self, server: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.server == server]

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def running_hub() -> Iterator[ScriptedHub]:
    hub = ScriptedHub()
    try:
        yield hub
    finally:
        hub.close()


def _serve(hub: ScriptedHub, name: str) -> ThreadingHTTPServer:
    class Handler(_Handler):
        scripted = hub
        server_name = name

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scripted: ClassVar[ScriptedHub]
    server_name: ClassVar[str]

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self.scripted.asked.append(Asked(self.server_name, self.command, self.path, dict(self.headers)))
        if self.server_name == "hub":
            self._answer_as_hub()
        else:
            self._answer_as_store()

    def _answer_as_hub(self) -> None:
        pieces = self.path.strip("/").split("/")
        served = None
        if len(pieces) >= 5 and pieces[2] == "resolve":
            served = self.scripted.files.get("/".join([*pieces[:2], *pieces[4:]]))
        if served is None:
            self._answer(404, {"X-Error-Message": "Entry not found"}, b"Entry not found")
        elif served.gated_for and self.headers.get("Authorization") != f"Bearer {served.gated_for}":
            status = 403 if "Authorization" in self.headers else 401
            self._answer(status, {"X-Error-Code": "GatedRepo"}, b"Access to the model is restricted")
        elif served.hub_answers:
            status, headers = served.hub_answers.pop(0)
            self._answer(status, headers, b"")
        else:
            digest = (
                served.sha256 if served.sha256 is not None else hashlib.sha256(served.content).hexdigest()
            )
            size = served.announced_size if served.announced_size is not None else len(served.content)
            headers = {
                "X-Repo-Commit": COMMIT,
                "X-Linked-Size": str(size),
                "Location": served.redirect
                or f"{self.scripted.store_url}/{pieces[0]}/{pieces[1]}/{'/'.join(pieces[4:])}",
            }
            if digest:
                headers["X-Linked-ETag"] = f'"{digest}"'
            self._answer(302, headers, b"")

    def _answer_as_store(self) -> None:
        served = self.scripted.files.get(self.path.strip("/"))
        if served is None:
            self._answer(404, {}, b"")
            return
        if served.store_answers:
            status, headers = served.store_answers.pop(0)
            self._answer(status, headers, b"")
            return
        content, start = served.content, 0
        etag = served.etag if served.etag is not None else f'"{hashlib.md5(content).hexdigest()}"'
        headers = {"Content-Type": served.content_type, "Accept-Ranges": "bytes"}
        if etag:
            headers["ETag"] = etag
        status = 200
        wanted = self.headers.get("Range", "")
        if wanted and served.ranges and self.headers.get("If-Range", etag) == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-")) - served.back_off
            if start >= len(content):
                self._answer(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        length = len(content) - start if served.content_length is None else served.content_length
        headers["Content-Length"] = str(length)
        cut = served.cuts.pop(0) if served.cuts else None
        self._send_head(status, headers)
        body = content[start:] if cut is None else content[start : start + cut]
        for at in range(0, len(body), served.block):
            time.sleep(served.pause)
            with contextlib.suppress(OSError):
                self.wfile.write(body[at : at + served.block])
        if cut is not None or length != len(body):
            self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._send_head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
