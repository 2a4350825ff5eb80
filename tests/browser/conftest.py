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
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    Request,
    expect,
    sync_playwright,
)

from candide.domain.ids import new_id
from candide.domain.messages import Conversation, Message
from candide.engine.scripted import Script, ScriptedEngine
from candide.store.conversations import insert_messages
from candide.store.database import Database
from candide.store.schema import conversations

if TYPE_CHECKING:
    from conftest import EngineThread, ServerProcess

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_MS = 15_000

REPORT_VIOLATIONS = """addEventListener('securitypolicyviolation', (event) => console.error(
  `policy broken: ${event.effectiveDirective} by ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`
  + ` in ${location.pathname}`
))"""


def _load(path: Path) -> Any:
    """A module that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def find_browser() -> str | None:
    """The browser that `make test` provides."""
    found: str | None = _load(ROOT / "scripts" / "provide_browser.py").find_browser()
    return found


@pytest.fixture(scope="module")
def views() -> Any:
    """The module `views.py` beside this one: a filled server, and the way to every view."""
    return _load(Path(__file__).parent / "views.py")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    # For one module: while it runs there is a loop in this thread, in which other folders' tests could not run theirs.
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
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
    home: Path

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a JSON request; the reply's object."""
        return self.server.call(method, path, body, **headers)

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.server.kill()

    def start(self) -> None:
        """Start it again, on its port and home."""
        self.server.start()

    def add(self, title: str, *texts: str, **more: Any) -> Conversation:
        """Put a conversation into the server's database: a question, its answer, a question...

        `more` are members of a `Conversation`.
        """
        return self.add_all([self.draft(title, *texts, **more)])[0]

    def draft(self, title: str, *texts: str, **more: Any) -> tuple[Conversation, list[Message]]:
        """What `add_all` takes."""
        now = time.time()
        more = {"created_at": now, "updated_at": now, **more}
        conversation = Conversation(
            id=new_id("conv"), title=title, current_leaf_id=None, model=None, system_prompt=None, **more
        )
        branch: list[Message] = []
        for n, text in enumerate(texts):
            branch.append(
                Message(
                    id=new_id("msg"),
                    conversation_id=conversation.id,
                    parent_id=conversation.current_leaf_id,
                    role="assistant" if n % 2 else "user",
                    text=text,
                    created_at=conversation.created_at + n,
                )
            )
            conversation.current_leaf_id = branch[-1].id
        return conversation, branch

    def add_all(self, drafts: Sequence[tuple[Conversation, Sequence[Message]]]) -> list[Conversation]:
        """Put conversations into the server's database in one go."""

        async def insert() -> None:
            database = await Database.open(f"sqlite:///{self.home / 'candide.db'}", self.home / "backups")
            try:
                async with database.write() as connection:
                    rows = [msgspec.structs.asdict(conversation) for conversation, _ in drafts]
                    await connection.execute(conversations.insert(), rows)
                    await insert_messages(connection, [m for _, branch in drafts for m in branch])
            finally:
                await database.close()

        # Playwright has a loop running in this thread.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, insert()).result(60)
        return [conversation for conversation, _ in drafts]


@pytest.fixture
def site(
    engine_thread: EngineThread, candide_server: Callable[..., ServerProcess], tmp_path: Path
) -> Callable[..., Site]:
    """Start a server over a scripted engine: `site("--api-key", "k", replies=[...])`, the members of a `Script`.

    What is written wholly in capitals is set in the server's environment: `CANDIDE_TITLES="true"`.
    """

    def start(*flags: str, **script: Any) -> Site:
        environ = {name: script.pop(name) for name in list(script) if name.isupper()}
        engine = engine_thread.start(msgspec.convert(script, Script, from_attributes=True))
        server = candide_server("--engine-url", engine.url, *flags, **environ)
        return Site(server.url, server, engine, tmp_path / "home")

    return start


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

    def is_elsewhere(request: Request) -> bool:
        is_http = urllib.parse.urlsplit(request.url).scheme in ("http", "https")
        return is_http and not request.url.startswith(url)

    def on_request(request: Request) -> None:
        if is_elsewhere(request):
            watched.complaints.append(f"fetched from elsewhere: {request.url}")

    def on_request_failed(request: Request) -> None:
        # What the page's policy refuses is announced too, and ends so; it never left, and the console tells of it.
        if is_elsewhere(request) and request.failure == "csp":
            watched.complaints.remove(f"fetched from elsewhere: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: watched.complaints.append(f"exception: {error}"))
    page.on("request", on_request)
    page.on("requestfailed", on_request_failed)


class Chat:
    """A page as the person before it sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.composer = page.get_by_label("Your message", exact=True)
        self.answers = page.get_by_role("article", name="Answer", exact=True)
        self.questions = page.get_by_role("article", name="You", exact=True)
        self.sidebar = page.get_by_role("navigation", name="Conversations")
        self.banner = page.locator(".banner")
        self.model = page.get_by_role("button", name="Choose a model")

    def ask(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Enter")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def choose(self, menu: str | Locator, item: str) -> None:
        """Open a menu, given by the name of its button, and choose from it."""
        (self.button(menu) if isinstance(menu, str) else menu).click()
        entries = self.page.get_by_role("menuitem").or_(self.page.get_by_role("menuitemradio"))
        entries.filter(has_text=item).first.click()

    def text(self, n: int = -1) -> Locator:
        """What an answer says, without what stands around it."""
        return self.answers.nth(n).locator(".markdown")

    def done(self, n: int = -1) -> None:
        """Wait for the end of an answer."""
        expect(self.answers.nth(n)).to_have_attribute("aria-busy", "false", timeout=4 * PATIENCE_MS)

    def row(self, title: str) -> Locator:
        """A conversation in the sidebar, whatever marks it has."""
        name = re.compile(rf"^{re.escape(title)}( New answer| An answer is being written)?$")
        return self.sidebar.get_by_role("listitem").filter(has=self.page.get_by_role("link", name=name))

    def of_row(self, title: str, item: str) -> None:
        """Choose from the menu of a conversation in the sidebar."""
        self.row(title).hover()
        self.choose(f"Options for {title}", item)


@pytest.fixture
def chat(visit: Callable[..., Page]) -> Callable[..., Chat]:
    """Visit a site, as `visit` does, to chat: `chat(here, "/c/...")`."""
    return lambda *place, **options: Chat(visit(*place, **options))


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Any]], None]:
    """Wait until something that is not in the page has come true."""

    def wait(is_so: Callable[[], Any], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return wait
