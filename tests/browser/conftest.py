"""A real server, a real browser, and a person's view of both.

    def test_something(site: SiteStarter, visit: Visit) -> None:
        here = site(replies=[Reply(answer="Hello")])
        page = visit(here)

The browser is Debian's Chromium; without one these tests are skipped. A page that complains in its console,
breaks its own policy, or fetches anything from elsewhere fails its test, unless the test expects it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, expect, sync_playwright

from candide.engine.scripted import Script, ScriptedEngine

if TYPE_CHECKING:
    from conftest import ServerProcess

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_MS = 15_000

REPORT_VIOLATIONS = """addEventListener('securitypolicyviolation', (event) => console.error(
  `policy broken: ${event.effectiveDirective} by ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`
))"""


def find_browser() -> str | None:
    """The browser that `make test` provides."""
    spec = importlib.util.spec_from_file_location("provide_browser", ROOT / "scripts" / "provide_browser.py")
    assert spec is not None
    assert spec.loader is not None
    provide_browser = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(provide_browser)
    found: str | None = provide_browser.find_browser()
    return found


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        pytest.skip("there is no Chromium: scripts/provide_browser.py")
    browser = playwright.chromium.launch(
        executable_path=path,
        # Root has no sandbox in Chromium; everyone else keeps it.
        chromium_sandbox=os.geteuid() != 0,
        args=["--disable-gpu", "--font-render-hinting=none"],
    )
    yield browser
    browser.close()


@dataclass
class Site:
    """A server with its scripted engine."""

    url: str
    server: ServerProcess
    engine: ScriptedEngine

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a JSON request; the reply's object."""
        return self.server.call(method, path, body, **headers)

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.server.kill()

    def start(self) -> None:
        """Start it again, on its port and home."""
        self.server.start()


@pytest.fixture
def site(candide_server: Callable[..., ServerProcess]) -> Iterator[Callable[..., Site]]:
    """Start a server over a scripted engine: `site("--api-key", "k", replies=[...])`, the members of a `Script`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    engines: list[ScriptedEngine] = []

    def start(*flags: str, **script: Any) -> Site:
        engine = ScriptedEngine(msgspec.convert(script, Script, from_attributes=True))
        asyncio.run_coroutine_threadsafe(engine.start(), loop).result(10)
        engines.append(engine)
        server = candide_server("--engine-url", engine.url, *flags)
        return Site(server.url, server, engine)

    yield start
    for engine in engines:
        asyncio.run_coroutine_threadsafe(engine.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@dataclass
class Watched:
    """What pages complained of."""

    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        """Let complaints that contain the pattern (a regular expression) be."""
        self.expected.append(pattern)

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(re.search(p, text) for p in self.expected)]


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    assert watched.unexpected() == []


@pytest.fixture
def visit(browser: Browser, watched: Watched) -> Iterator[Callable[..., Page]]:
    """Open an address of a site as someone who was never there: `visit(site, "/c/...", viewport=...)`.

    What follows the path are options of a browser's context. Further pages of the same visitor are
    `page.context.new_page()`, and are watched too.
    """
    with contextlib.ExitStack() as stack:

        def open_page(here: Site, path: str = "/", **options: Any) -> Page:
            context = browser.new_context(base_url=here.url, **options)
            stack.callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            context.add_init_script(REPORT_VIOLATIONS)
            context.on("page", lambda page: _watch(page, here.url, watched))
            page = context.new_page()
            page.goto(path)
            return page

        yield open_page


def _watch(page: Page, url: str, watched: Watched) -> None:
    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            watched.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def on_request(request: Request) -> None:
        if urllib.parse.urlsplit(request.url).scheme in ("http", "https") and not request.url.startswith(url):
            watched.complaints.append(f"fetched from elsewhere: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: watched.complaints.append(f"exception: {error}"))
    page.on("request", on_request)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Any]], None]:
    """Wait until something that is not in the page has come true."""

    def wait(is_so: Callable[[], Any], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return wait
