"""The page is given as a browser needs it: whole, small, safe, and fresh after an update."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI

from candide.server.failures import install_error_handlers
from candide.server.page import build_router, is_public

if TYPE_CHECKING:
    from conftest import HereStarter

SCRIPT = b"console.log('Candide')\n" * 100


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    """The page's routes over a folder, called as a server calls them."""

    folder: Path

    async def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        app = FastAPI()
        install_error_handlers(app)
        app.include_router(build_router(self.folder))
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": raw,
        }  # fmt: skip
        await app(scope, receive, send)
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "assets").mkdir()
    (tmp_path / "icons").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Candide</title>")
    (tmp_path / "diagram.html").write_text("<!doctype html><title>Diagram</title>")
    (tmp_path / "manifest.webmanifest").write_text("{}")
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "icons" / "192.png").write_bytes(b"\x89PNG")
    (tmp_path / "secret.key").write_text("secret")
    script = tmp_path / "assets" / "index-abc.js"
    script.write_bytes(SCRIPT)
    script.with_name("index-abc.js.gz").write_bytes(gzip.compress(SCRIPT))
    script.with_name("index-abc.js.br").write_bytes(b"brotli")
    return Site(tmp_path)


@pytest.mark.parametrize("path", ["/", "/c/conv_1", "/folder/fold_1", "/settings", "/share/token"])
async def test_every_view_is_the_page_under_a_strict_policy(site: Site, path: str) -> None:
    reply = await site.get(path)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(
        part.strip().partition(" ")[::2] for part in reply.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in reply.headers["permissions-policy"]
    assert (await site.get(path, "HEAD")).status == 200


async def test_the_frame_of_a_diagram_is_sandboxed(site: Site) -> None:
    policy = (await site.get("/diagram.html")).headers["content-security-policy"]
    assert "sandbox allow-scripts" in policy
    assert "frame-ancestors 'self'" in policy
    assert "connect-src" not in policy, "what is drawn cannot call anyone"


async def test_the_page_is_asked_for_again_and_sent_only_when_it_has_changed(site: Site) -> None:
    first = await site.get("/")
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    for asked in (tag, f'"other", W/{tag}'):
        again = await site.get("/", if_none_match=asked)
        assert (again.status, again.body) == (304, b"")
        assert "content-security-policy" in again.headers
    (site.folder / "index.html").write_text("<!doctype html><title>candide</title>")
    assert (await site.get("/c/conv_1", if_none_match=tag)).status == 200


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=1.0, br;q=0", "gzip"),
        ("BR ; q=0.5", "br"),
        ("gzip", "gzip"),
        ("br;q=0.000,gzip;q=0", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_an_asset_never_changes_and_comes_as_small_as_the_browser_takes_it(
    site: Site, accepted: str, coding: str | None
) -> None:
    reply = await site.get("/assets/index-abc.js", accept_encoding=accepted)
    assert reply.headers.get("content-encoding") == coding
    expected = {"br": b"brotli", None: SCRIPT}
    assert (gzip.decompress(reply.body) if coding == "gzip" else reply.body) == expected.get(coding, SCRIPT)
    assert reply.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in reply.headers["cache-control"]
    assert reply.headers["vary"] == "Accept-Encoding"
    assert reply.headers["access-control-allow-origin"] == "*"


async def test_icons_and_the_manifest_are_there(site: Site) -> None:
    for path, kind in (
        ("/manifest.webmanifest", "application/manifest+json"),
        ("/icon.svg", "image/svg+xml"),
        ("/icons/192.png", "image/png"),
    ):
        reply = await site.get(path)
        assert (reply.status, reply.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize(
    "path",
    [
        "/assets/none.js",
        "/assets/index-abc.js.gz",
        "/assets/..",
        "/assets/../secret.key",
        "/assets/..\\secret.key",
        "/assets/",
        "/assets",
        "/icon/../secret.key",
        "/icons/../secret.key",
        "/icons/..",
        "/secret.key",
        "/index.html",
        "/c/a/b",
    ],
)
async def test_nothing_else_of_the_disk_is_given(site: Site, path: str) -> None:
    assert (await site.get(path)).status == 404


async def test_a_page_that_was_not_built_says_what_to_do(tmp_path: Path) -> None:
    reply = await Site(tmp_path).get("/")
    assert reply.status == 503
    assert reply.headers["content-type"].startswith("text/plain")
    assert b"make web" in reply.body


@pytest.mark.parametrize(
    "path",
    ["/api/models", "/api/shared", "/docs", "/openapi.json", "/v1/models", "/c/a/b", "/settings/x", "/c"],
)
def test_what_holds_data_is_not_public(path: str) -> None:
    assert not is_public(path)


async def test_the_page_is_open_where_a_key_is_asked_for_all_else(start_here: HereStarter) -> None:
    here = await start_here({"api_key": "sesame"})
    for path in ("/", "/c/conv_1", "/share/token"):
        assert (await here.call("GET", path)).status in (200, 503)
    assert (await here.call("GET", "/assets/none.js")).status == 404
    assert (await here.call("GET", "/api/models")).status == 401


async def test_a_frame_without_an_origin_may_load_assets_and_nothing_else(start_here: HereStarter) -> None:
    here = await start_here()
    assert (await here.call("GET", "/assets/none.js", headers={"Origin": "null"})).status == 404
    assert (await here.call("GET", "/api/models", headers={"Origin": "null"})).status == 403
