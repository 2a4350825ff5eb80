"""A server with something of everything in it, and the way to every view of the page.

Views are reached by addresses, keys and icons, never by words, so that they are the same in every language.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Page, Route, expect

if TYPE_CHECKING:
    from conftest import Site

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080200000090"
    "7753de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
RICH = """## Growing beans

Water them *twice* a week, see [the guide](https://beans.example/guide) and ![a bean](https://beans.example/b.png).[^1]

| Bean | Days | Yield |
|:-----|-----:|------:|
| Runner | 65 | 2.5 |
| Broad | 90 | 1.8 |

- [x] dig
- [ ] sow

```python
def grow(beans: list[str]) -> dict[str, int]:
    \"\"\"How long each takes.\"\"\"
    return {bean: len(bean) * 10 for bean in beans}  # days
```

Light falls off as $E = \\frac{I}{r^2}$:

$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$

```mermaid
graph TD
  Seed --> Sprout --> Plant
```

> Il faut cultiver notre jardin.

1. one
2. two

[^1]: So said the gardener.
"""
SOWING = """---
title: When beans are sown
site: beans.example
date: 2024-05-02
---
Runner beans are sown in the second half of May, when the soil has twelve degrees. They want eleven litres of water a
week for each metre of row.
"""
SOURCES = [
    {
        "_id": "well",
        "title": "The well in the bean field, with all that was ever written about it in the parish",
        "url": "https://beans.example/" + "well" * 30,
        "language": "en",
        "published": "2023-11-12",
        "text": "The well behind the bean field is 14 metres deep. It was dug in 1887 by Auguste Ferrand.",
    },
    {"_id": "notes", "title": "", "text": "Notes on beans: the first bean pods are picked sixty-five days after sowing."},
]  # fmt: skip
CITED = (
    "Runner beans are sown in the **second half of May** [1].\n\n"
    "- The well behind the bean field is 14 metres deep [2].\n"
    "- It says “It was dug in 1887 by Auguste Ferrand” [2].\n\n"
    "Every gardener in Lisbon owns 900 elephants."
)
REPLIES: list[dict[str, Any]] = [
    {"match": "bean well", "answer": CITED},
    # Given up soon: the pauses before its other attempts are as short as they can be.
    {"match": "beans wither", "status": 429, "retry_after": 0.1},
    {"match": "everything", "answer": RICH, "reasoning": "Beans need water.\n\nAnd light."},
    {"match": "fail", "status": 400, "message": "the beans are out"},
    {"match": "long story", "answer": "Once upon a time. " * 2000, "pace_ms": 20},
    {"match": "short", "answer": "cut here", "finish_reason": "length"},
    {"answer": "Water the beans every other day."},
]
SERVER: dict[str, Any] = {
    "replies": REPLIES,
    "models": ["scripted", "other"],
    # Words find what is asked for here; vectors would only cost time.
    "CANDIDE_EMBEDDINGS": "false",
}
"""The server that `fill` fills: `site(**views.SERVER)`."""


@dataclass
class Filled:
    """The names of what `fill` put into a server."""

    site: Site
    rich: str
    branches: str
    folder: str
    token: str
    revoked: str
    library: str
    cited: str
    cited_token: str


def upload(site: Site, name: str, media_type: str, data: bytes) -> str:
    """Keep a file; its id."""
    return _send(f"{site.url}/api/files?name={name}", media_type, data)


def _send(address: str, media_type: str, data: bytes) -> str:
    request = urllib.request.Request(address, data, method="POST")
    request.add_header("Content-Type", media_type)
    with urllib.request.urlopen(request, timeout=30) as response:
        found: str = json.loads(response.read())["id"]
    return found


def fill_library(site: Site) -> str:
    """A library of sources with dates and sites, and of a file that cannot be read; its id."""
    library: str = site.call("POST", "/api/libraries", {"name": "Bean almanac"})["id"]
    lines = "\n".join(json.dumps(source) for source in SOURCES).encode()
    for name, data, counted in (
        ("sowing-beans.md", SOWING.encode(), "added"),
        ("beans.jsonl", lines, "added"),
        ("broken-bean.pdf", b"%PDF-1.4 nonsense", "failed"),
    ):
        job = _send(f"{site.url}/api/libraries/{library}/files?name={name}", "text/plain", data)
        ended = wait_for_end(site, job, "jobs")
        assert ended["progress"][counted], ended
    return library


def ask(site: Site, conversation: str, text: str, **more: Any) -> dict[str, Any]:
    """Ask, and wait for the end of the answer; the turn."""
    turn = site.call("POST", f"/api/conversations/{conversation}/turns", {"text": text, **more})
    return wait_for_end(site, turn["id"])


def wait_for_end(site: Site, identity: str, of: str = "turns") -> dict[str, Any]:
    """Wait until a turn or a job has ended."""
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = site.call("GET", f"/api/{of}/{identity}")
        if found["state"] not in ("queued", "running"):
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


def converse(site: Site, title: str, *questions: str, **more: Any) -> str:
    """A conversation with its answers; its id."""
    made: str = site.call("POST", "/api/conversations", {"title": title, **more})["id"]
    for question in questions:
        ask(site, made, question)
    return made


def fill(site: Site) -> Filled:
    """Put something of everything into a `SERVER`."""
    folder = site.call("POST", "/api/folders", {"name": "Kitchen garden"})["id"]
    rich = converse(site, "Growing beans")
    files = [
        upload(site, "bean.png", "image/png", PNG),
        upload(site, "notes.txt", "text/plain", b"soil, sun"),
    ]
    ask(site, rich, "Tell me everything", attachments=files)
    ask(site, rich, "Make it short")
    started = site.call("POST", f"/api/conversations/{rich}/turns", {"text": "Tell a long story"})
    time.sleep(0.3)
    site.call("POST", f"/api/turns/{started['id']}/stop")
    wait_for_end(site, started["id"])
    ask(site, rich, "Now fail")
    branches = converse(site, "שעועית בגינה", "When do I water?")
    first = site.call("GET", f"/api/conversations/{branches}")["messages"][0]["id"]
    again = site.call("POST", f"/api/conversations/{branches}/turns", {"user_message_id": first})
    wait_for_end(site, again["id"])
    converse(site, "Beans in the folder", "When do I water the beans?", folder_id=folder)
    pinned = converse(site, "A pinned one")
    site.call("PATCH", f"/api/conversations/{pinned}", {"pinned": True})
    archived = converse(site, "An archived one")
    site.call("PATCH", f"/api/conversations/{archived}", {"archived": True})
    removed = converse(site, "A deleted one")
    site.call("DELETE", f"/api/conversations/{removed}")
    site.call("POST", "/api/prompts", {"name": "tone", "text": "Write to {{name}} in a {{tone=kind}} way"})
    leaf = site.call("GET", f"/api/conversations/{rich}")["current_leaf_id"]
    share = site.call("POST", f"/api/conversations/{rich}/shares", {"leaf_id": leaf})
    gone = site.call("POST", f"/api/conversations/{branches}/shares", {})
    site.call("DELETE", f"/api/shares/{gone['token']}")
    library = fill_library(site)
    cited = converse(
        site,
        "What the beans rest on",
        # What the sources do not say, what they say themselves where the model fails, and an answer that cites them.
        "What is the capital of Peru?",
        "Why do runner beans wither that are sown in May?",
        "When are runner beans sown, and how deep is the bean well?",
        search={"libraries": [library]},
    )
    shown = site.call("POST", f"/api/conversations/{cited}/shares", {})
    return Filled(site, rich, branches, folder, share["token"], gone["token"], library, cited, shown["token"])


def mock_tools(page: Page, filled: Filled) -> None:
    """Let the page find a tool's call and result in the rich conversation."""

    def add(route: Route) -> None:
        if route.request.method != "GET":
            route.fallback()
            return
        response = route.fetch()
        tree = response.json()
        for message in tree["messages"]:
            if message["role"] == "assistant" and "Growing" in str(message):
                message["parts"] = [
                    {"type": "tool_call", "name": "almanac", "text": '{"month": "May"}'},
                    {"type": "tool_result", "name": "almanac", "text": "frost until the 11th"},
                    *message["parts"],
                ]
        route.fulfill(response=response, json=tree)

    page.route(f"**/api/conversations/{filled.rich}", add)


def show_sidebar(page: Page) -> None:
    if not page.locator("nav.sidebar").is_visible():
        page.locator("header button:has(svg.lucide-panel-left-open):visible").click()
    expect(page.locator("nav.sidebar")).to_be_visible()


def show_rich(page: Page, filled: Filled) -> None:
    mock_tools(page, filled)
    page.goto(f"/c/{filled.rich}")
    expect(page.locator(".answer .failed")).to_be_visible()
    # Older messages come as one scrolls up to them.
    page.locator(".question").first.scroll_into_view_if_needed()
    expect(page.locator(".answer table").first).to_be_visible()
    expect(page.locator(".katex").first).to_be_attached()
    expect(page.locator(".md-diagram img")).to_be_visible()
    for fold in page.locator(".answer details.fold").all():
        if fold.get_attribute("open") is None:
            fold.locator("summary").click()


def show_branches(page: Page, filled: Filled) -> None:
    page.goto(f"/c/{filled.branches}")
    expect(page.locator(".branches")).to_be_visible()


def show_edit(page: Page, filled: Filled) -> None:
    show_branches(page, filled)
    page.locator(".question button:has(svg.lucide-pencil)").click()
    expect(page.locator(".question textarea")).to_be_focused()


def show_feedback(page: Page, filled: Filled) -> None:
    show_branches(page, filled)
    thumb = page.locator(".answer button:has(svg.lucide-thumbs-down)")
    if thumb.get_attribute("aria-pressed") == "true":
        thumb.click()
        expect(thumb).to_have_attribute("aria-pressed", "false")
    thumb.click()
    expect(page.locator(".reason textarea")).to_be_focused()


def show_answer_menu(page: Page, filled: Filled) -> None:
    show_branches(page, filled)
    page.locator(".answer button:has(svg.lucide-ellipsis)").click()
    expect(page.get_by_role("menu")).to_be_visible()


def show_models(page: Page, filled: Filled) -> None:
    page.goto("/")
    page.locator(".model-picker").click()
    expect(page.get_by_role("menu")).to_be_visible()


def show_list(page: Page, filled: Filled) -> None:
    page.goto("/")
    show_sidebar(page)
    folder = page.locator("nav .folder").first
    folder.locator("summary .ellipsis").click()
    expect(folder.locator("li a")).to_be_visible()


def show_row_menu(page: Page, filled: Filled) -> None:
    show_list(page, filled)
    row = page.locator("nav .rest li:has(a)").first
    row.hover()
    row.locator("button").click()
    expect(page.get_by_role("menu")).to_be_visible()


def show_search(page: Page, filled: Filled) -> None:
    page.goto("/")
    show_sidebar(page)
    page.locator("nav input[type=search]").fill("beans")
    expect(page.locator("nav .list mark").first).to_be_visible()


def show_palette(page: Page, filled: Filled) -> None:
    page.goto("/")
    expect(page.locator("#composer")).to_be_visible()
    page.keyboard.press("Control+k")
    page.locator("dialog input").fill("bea")
    # The messages that are found come after the commands and the titles.
    expect(page.locator("dialog [role=option] .label .muted").first).to_be_visible()


def show_shortcuts(page: Page, filled: Filled) -> None:
    page.goto("/")
    expect(page.locator("#composer")).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.locator("dialog dl")).to_be_visible()


def show_share_dialog(page: Page, filled: Filled) -> None:
    page.goto(f"/c/{filled.branches}")
    page.locator("header button:has(svg.lucide-share-2)").click()
    page.locator("dialog .primary").click()
    expect(page.locator("dialog input[readonly]")).to_be_visible()


def show_conversation_dialog(page: Page, filled: Filled) -> None:
    page.goto(f"/c/{filled.branches}")
    page.locator("header button:has(svg.lucide-sliders-horizontal)").click()
    expect(page.locator("dialog textarea")).to_be_visible()


def show_info(page: Page, filled: Filled) -> None:
    show_answer_menu(page, filled)
    page.locator("[role=menu] button:has(svg.lucide-info)").click()
    expect(page.locator("dialog dl")).to_be_visible()


def show_folder_dialog(page: Page, filled: Filled) -> None:
    page.goto("/")
    show_sidebar(page)
    page.locator("nav button:has(svg.lucide-folder-plus)").click()
    expect(page.locator("dialog textarea")).to_be_visible()


def show_variables(page: Page, filled: Filled) -> None:
    page.goto("/")
    page.locator("#composer").fill("/to")
    expect(page.locator("#suggestions [role=option]")).to_be_visible()
    page.locator("#composer").press("Enter")
    expect(page.locator("dialog textarea").first).to_be_visible()


def show_suggestions(page: Page, filled: Filled) -> None:
    page.goto("/")
    page.locator("#composer").fill("/to")
    expect(page.locator("#suggestions [role=option]")).to_be_visible()


def show_attached(page: Page, filled: Filled) -> None:
    page.goto("/")
    page.locator("input[type=file]").first.set_input_files(
        [{"name": "bean.png", "mimeType": "image/png", "buffer": PNG}]
    )
    expect(page.locator(".composer .files img")).to_be_visible()


def show_shared(page: Page, filled: Filled) -> None:
    page.goto(f"/share/{filled.token}")
    expect(page.locator(".answer table").first).to_be_visible()
    expect(page.locator(".katex").first).to_be_attached()


def show_gone(page: Page, filled: Filled) -> None:
    page.goto(f"/share/{filled.revoked}")
    expect(page.locator("[role=alert]")).to_be_visible()


def show_libraries(page: Page, filled: Filled) -> None:
    page.goto("/libraries")
    expect(page.locator("main li a")).to_be_visible()


def show_library(page: Page, filled: Filled) -> None:
    """Something is being added, something read, something could not be, and something is about to be removed."""

    def add(route: Route) -> None:
        response = route.fetch()
        jobs = response.json()
        progress = jobs["data"][0]["progress"] | {
            "found": 40,
            "done": 12,
            "current": "https://beans.example/a",
        }
        running = jobs["data"][0] | {"id": "job_r", "state": "running", "progress": progress, "problems": []}
        route.fulfill(response=response, json={"data": [running, *jobs["data"]]})

    page.route("**/api/jobs?*", add)
    page.goto(f"/libraries/{filled.library}")
    expect(page.locator("main progress")).to_be_visible()
    expect(page.locator("main details li")).to_be_visible()
    page.locator("main textarea").fill("https://beans.example/")
    page.locator("main form select").first.select_option("site")
    page.locator("main li:has(.source) button:has(svg.lucide-trash-2)").first.click()
    expect(page.locator("main li:has(.source) button.danger")).to_be_visible()


def show_found(page: Page, filled: Filled) -> None:
    page.goto("/search?query=bean+well&language=en")
    expect(page.locator("main ol mark").first).to_be_visible()
    page.locator("main .ask .primary").click()
    expect(page.locator(".answer .legend")).to_be_visible()


def show_cited(page: Page, filled: Filled) -> None:
    page.goto(f"/c/{filled.cited}")
    expect(page.locator(".answer .legend")).to_be_visible()
    chip, tip = page.locator(".answer .md-cite").last, page.get_by_role("tooltip")
    # The page goes to its end as it fills, and what a pointer that stands still was over moves away.
    for _ in range(5):
        page.mouse.move(0, 0)
        chip.hover()
        with contextlib.suppress(AssertionError):
            expect(tip).to_be_visible(timeout=2000)
            break
    expect(tip).to_be_visible()


def show_source(page: Page, filled: Filled) -> None:
    show_cited(page, filled)
    page.locator(".answer .md-cite").last.click()
    expect(page.locator("dialog mark.quote")).to_be_visible()


def show_places(page: Page, filled: Filled) -> None:
    change_status(page, searches_web=True)
    page.goto(f"/c/{filled.cited}")
    expect(page.locator(".composer .places")).to_be_visible()
    page.locator(".composer button:has(svg.lucide-library)").click()
    expect(page.get_by_role("menuitemcheckbox")).to_have_count(2)


def show_shared_cited(page: Page, filled: Filled) -> None:
    page.goto(f"/share/{filled.cited_token}")
    expect(page.locator(".answer .legend")).to_be_visible()


def show_missing(page: Page, filled: Filled) -> None:
    page.goto("/c/conv_00000000000000000000000000")
    expect(page.locator(".empty .button")).to_be_visible()


def show_temporary(page: Page, filled: Filled) -> None:
    page.goto("/?temporary")
    page.locator("#composer").fill("When?")
    page.locator(".composer button[type=submit]").click()
    expect(page.locator(".answer button:has(svg.lucide-copy)")).to_be_attached()


def show_download(page: Page, filled: Filled) -> None:
    change_status(
        page,
        ready=False,
        engine={"state": "downloading", "message": "", "hint": ""},
        download={
            "model": "qwen2.5-coder-1.5b", "file": "qwen.gguf", "received_bytes": 300_000_000,
            "total_bytes": 1_100_000_000, "bytes_per_s": 12_000_000, "error": None,
        },
    )  # fmt: skip
    page.goto("/")
    expect(page.locator("progress")).to_be_visible()


def show_download_failed(page: Page, filled: Filled) -> None:
    change_status(page, ready=False, engine={"state": "missing", "message": "404", "hint": "https://a"})
    page.goto("/")
    expect(page.locator(".notice .button")).to_be_visible()


def change_status(page: Page, **status: Any) -> None:
    """Let the page find another state of the server than it has."""

    def change(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | status)

    page.route("**/api/status", change)


def show_deleted(page: Page, filled: Filled) -> None:
    """A note with a way back."""
    show_branches(page, filled)
    page.locator(".answer button:has(svg.lucide-ellipsis)").click()
    page.locator("[role=menu] button:has(svg.lucide-trash-2)").click()
    expect(page.locator(".toast .undo")).to_be_visible()
    page.locator(".toast .undo").click()
    expect(page.locator(".toast .undo")).to_have_count(0)
    expect(page.locator(".branches")).to_be_visible()
    page.locator(".answer button:has(svg.lucide-copy)").click()
    expect(page.locator(".toast")).to_be_visible()


def _settings(tab: str) -> Callable[[Page, Filled], None]:
    def show(page: Page, filled: Filled) -> None:
        page.goto("/")
        expect(page.locator("#composer")).to_be_visible()
        page.keyboard.press("Control+,")
        page.locator(f"#tab-{tab}").click()
        expect(page.locator("#settings-panel > *").first).to_be_visible()

    return show


def show_new_prompt(page: Page, filled: Filled) -> None:
    _settings("prompts")(page, filled)
    page.locator("#settings-panel .button").first.click()
    expect(page.locator("#settings-panel textarea")).to_be_visible()


def show_empty(page: Page, filled: Filled) -> None:
    page.goto("/")
    expect(page.locator(".suggestions")).to_be_visible()


def show_empty_folder(page: Page, filled: Filled) -> None:
    page.goto(f"/folder/{filled.folder}")
    expect(page.locator(".empty .muted")).to_be_visible()


VIEWS: dict[str, Callable[[Page, Filled], None]] = {
    "empty": show_empty,
    "folder": show_empty_folder,
    "everything": show_rich,
    "branches": show_branches,
    "edit": show_edit,
    "feedback": show_feedback,
    "answer menu": show_answer_menu,
    "models": show_models,
    "list": show_list,
    "row menu": show_row_menu,
    "search": show_search,
    "palette": show_palette,
    "shortcuts": show_shortcuts,
    **{
        f"settings, {tab}": _settings(tab)
        for tab in ("general", "instructions", "generation", "prompts", "shares", "archive", "data")
    },
    "new prompt": show_new_prompt,
    "share": show_share_dialog,
    "conversation's settings": show_conversation_dialog,
    "details": show_info,
    "new folder": show_folder_dialog,
    "prompt's variables": show_variables,
    "prompts": show_suggestions,
    "attached": show_attached,
    "shared page": show_shared,
    "revoked page": show_gone,
    "libraries": show_libraries,
    "library": show_library,
    "search of sources": show_found,
    "cited answer": show_cited,
    "source": show_source,
    "where to look": show_places,
    "shared page with sources": show_shared_cited,
    "missing conversation": show_missing,
    "temporary": show_temporary,
    "download": show_download,
    "failed download": show_download_failed,
    "note": show_deleted,
}
