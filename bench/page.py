"""The page in a real browser: its first load, long conversations, fast answers, typing meanwhile.

    python bench/page.py [--rounds 5] [--beside URL] [--trace FOLDER]

Over the scripted engine, in Debian's Chromium: the JavaScript of the first load (compressed, as it is sent) and the
time until one can type; a conversation of 2,000 messages opened from its address and from another conversation, and
scrolled; the sidebar with 10,000 conversations scrolled; an answer at 200 tokens a second, with its long tasks (over 50 ms) and
the delay of typing meanwhile, from the key to the next frame.

With `--beside` another chat page is loaded in the same run, in turns with ours, and its first load is compared; llama.cpp's
own is one (`llama-server` with its page). `--trace` keeps a trace of each answer for Chromium's performance panel.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from candide.domain.ids import new_id
from candide.domain.messages import Conversation, Message
from candide.store.conversations import ConversationStore
from candide.store.database import Database
from processes import print_table, spawn_candide, spawn_scripted, workplace

ROOT = Path(__file__).resolve().parent.parent
MESSAGES = 2_000
CONVERSATIONS = 10_000
TOKENS = 1_500
PACE_MS = 5

WATCH = """
window.longTasks = []
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.longTasks.push(entry.duration)
}).observe({ type: 'longtask', buffered: true })
"""

ANSWER = """# Heat pumps

A *heat pump* moves heat. Here is a **table**:

| Part | Role |
|---|---|
| Compressor | raises pressure |
| Evaporator | takes heat in |

- first, the [evaporator](https://example.org/evaporator)
- then the compressor, in `code`

```python
def find(n: int) -> list[int]:
    return [i for i in range(n) if i % 2]
```

"""


def fill(home: Path) -> str:
    """Put the conversations into the database of a home; the id of the long one."""
    words = random.Random(1)

    def tree(conversation: str, count: int, at: float) -> list[Message]:
        made: list[Message] = []
        for n in range(count):
            text = f"Question {n} about heat pumps?"
            if n % 2:
                text = ANSWER + " ".join(words.choices(["alpha", "beta", "gamma", "delta"], k=80))
            parent = made[-1].id if made else None
            role = "assistant" if n % 2 else "user"
            made.append(
                Message(
                    id=new_id("msg"),
                    conversation_id=conversation,
                    parent_id=parent,
                    role=role,
                    text=text,
                    created_at=at + n,
                )
            )
        return made

    async def add() -> str:
        database = await Database.open(f"sqlite:///{home / 'candide.db'}", backups_dir=home / "backups")
        store = ConversationStore(database)
        long = ""
        try:
            for n in range(CONVERSATIONS):
                at = time.time() - 3600 * n
                made = new_id("conv")
                messages = tree(made, 2 if n else MESSAGES, at)
                conversation = Conversation(
                    id=made, title=f"Conversation {n}", current_leaf_id=messages[-1].id, model=None, system_prompt=None,
                    created_at=at, updated_at=at,
                )  # fmt: skip
                await store.add_all(conversation, messages)
                long = long or made
        finally:
            await database.close()
        return long

    return asyncio.run(add())


def new_page(browser: Browser) -> tuple[BrowserContext, Page]:
    """A page as a newcomer has it: nothing cached, nothing kept."""
    context = browser.new_context(viewport={"width": 1280, "height": 850})
    page = context.new_page()
    page.add_init_script(WATCH)
    return context, page


def load(browser: Browser, url: str) -> dict[str, float]:
    """The first load: when one can type, and what came over the wire until a second later."""
    context, page = new_page(browser)
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    kinds: dict[str, str] = {}
    sizes: dict[str, float] = {}
    wire.on("Network.responseReceived", lambda event: kinds.update({event["requestId"]: event["type"]}))
    wire.on(
        "Network.loadingFinished",
        lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}),
    )
    page.goto(url, wait_until="commit")
    page.wait_for_function(
        "() => { const box = document.querySelector('textarea'); return box && !box.disabled && (window.typeable ??= performance.now()) }"
    )
    ready = float(page.evaluate("window.typeable"))
    page.wait_for_timeout(1000)
    scripts = [size for request, size in sizes.items() if kinds.get(request) == "Script"]
    context.close()
    return {"ready_ms": ready, "script_kb": sum(scripts) / 1000, "scripts": float(len(scripts))}


def open_long(browser: Browser, url: str, conversation: str) -> dict[str, float]:
    """The long conversation: from its address, from the empty page, and scrolled to and fro."""
    context, page = new_page(browser)
    shown = "document.querySelector('article.answer .markdown pre code')"
    page.goto(f"{url}/c/{conversation}", wait_until="commit")
    page.wait_for_function(f"() => {shown} && (window.shown ??= performance.now())")
    direct = float(page.evaluate("window.shown"))
    page.goto(url)
    page.wait_for_selector("nav li a")
    page.wait_for_timeout(800)
    switch = float(
        page.evaluate(
            f"""async (path) => {{
              const begun = performance.now()
              document.querySelector(`a[href='${{path}}']`).click()
              while (!({shown})) await new Promise(requestAnimationFrame)
              return performance.now() - begun
            }}""",
            f"/c/{conversation}",
        )
    )
    page.wait_for_timeout(800)
    frames: list[float] = page.evaluate(
        """async () => {
          const view = document.querySelector('.view')
          const frames = []
          let last = await new Promise(requestAnimationFrame)
          for (let n = 0; n < 300; n++) {
            view.scrollTop += n % 100 < 80 ? -160 : 300
            const now = await new Promise(requestAnimationFrame)
            frames.push(now - last)
            last = now
          }
          return frames
        }"""
    )
    context.close()
    ordered = sorted(frames)
    return {
        "direct_ms": direct,
        "switch_ms": switch,
        "scroll_p95_ms": ordered[int(0.95 * len(ordered))],
        "scroll_worst_ms": ordered[-1],
    }


def scroll_sidebar(browser: Browser, url: str) -> dict[str, float]:
    context, page = new_page(browser)
    page.goto(url)
    page.wait_for_selector("nav li a")
    page.wait_for_timeout(800)
    page.evaluate("window.longTasks.length = 0")
    begun = time.perf_counter()
    page.evaluate(
        f"""async () => {{
          const list = document.querySelector('nav .list')
          const last = 'Conversation {CONVERSATIONS - 1}'
          while (![...document.querySelectorAll('nav li a')].some((a) => a.title === last)) {{
            list.scrollTop = list.scrollHeight
            await new Promise(requestAnimationFrame)
          }}
        }}"""
    )
    taken = time.perf_counter() - begun
    tasks: list[float] = page.evaluate("window.longTasks")
    rows = float(page.evaluate("document.querySelectorAll('nav li').length"))
    context.close()
    return {"to_end_s": taken, "longest_task_ms": max(tasks, default=0.0), "rows": rows}


def stream(browser: Browser, url: str, trace: Path | None) -> dict[str, float]:
    """One answer at 200 tokens a second, typing all the while."""
    context, page = new_page(browser)
    page.goto(url)
    page.wait_for_selector("textarea")
    page.wait_for_timeout(800)
    if trace:
        browser.start_tracing(page=page, path=trace)
    page.fill("textarea", "Tell me about heat pumps")
    page.keyboard.press("Enter")
    page.wait_for_selector("article.answer .markdown p")
    page.evaluate(
        """() => {
          window.longTasks.length = 0
          window.delays = []
          document.querySelector('textarea').addEventListener('keydown', (event) => {
            requestAnimationFrame(() => setTimeout(() => window.delays.push(performance.now() - event.timeStamp)))
          })
        }"""
    )
    deadline = time.monotonic() + 3 * TOKENS * PACE_MS / 1000
    page.focus("textarea")
    while time.monotonic() < deadline and page.locator("article.answer[aria-busy=true]").count():
        page.keyboard.type("a")
        page.wait_for_timeout(70)
    if trace:
        browser.stop_tracing()
    tasks: list[float] = page.evaluate("window.longTasks")
    delays: list[float] = sorted(page.evaluate("window.delays"))
    context.close()
    return {
        "long_tasks": float(len(tasks)),
        "longest_task_ms": max(tasks, default=0.0),
        "typing_p95_ms": delays[int(0.95 * len(delays))] if delays else 0.0,
    }


def summarise(rounds: list[dict[str, float]]) -> Iterator[tuple[str, str]]:
    for name in rounds[0]:
        values = sorted(one[name] for one in rounds)
        yield name, f"{statistics.median(values):.0f} ({values[0]:.0f} to {values[-1]:.0f})"


def find_browser() -> str:
    sys.path.insert(0, str(ROOT / "scripts"))
    from provide_browser import find_browser  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    path: Any = find_browser()
    if path is None:
        sys.exit("there is no Chromium: python scripts/provide_browser.py")
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beside", action="append", default=[], metavar="URL", help="another chat page")
    parser.add_argument("--trace", type=Path, help="folder for traces")
    options = parser.parse_args()
    with workplace() as folder:
        script: dict[str, Any] = {"pace_ms": PACE_MS, "replies": [
            {"match": "title", "answer": "Heat", "pace_ms": 0},
            {"answer": ANSWER * (TOKENS // len(ANSWER.split()))},
        ]}  # fmt: skip
        engine = spawn_scripted(script, folder)
        home = folder / "home"
        home.mkdir()
        # Before Playwright, whose calls run a loop of their own.
        long = fill(home)
        server = spawn_candide(home, "--engine-url", f"{engine.url}/v1")
        server.wait("/ready")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=find_browser(), chromium_sandbox=os.geteuid() != 0, args=["--disable-gpu"]
            )
            pages = {"Candide": server.url, **{url: url for url in options.beside}}
            loads: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
            ours: dict[str, list[dict[str, float]]] = {"long": [], "sidebar": [], "stream": []}
            for n in range(options.rounds):
                for name, url in pages.items():
                    loads[name].append(load(browser, url))
                ours["long"].append(open_long(browser, server.url, long))
                ours["sidebar"].append(scroll_sidebar(browser, server.url))
                ours["stream"].append(
                    stream(browser, server.url, options.trace and options.trace / f"answer-{n}.json")
                )
            browser.close()
        server.stop()
        engine.stop()
    for name, rounds in loads.items():
        print_table(f"First load of {name}", ["", "median (range)"], [list(row) for row in summarise(rounds)])
    for name, url in pages.items():
        if url != server.url:
            ratios = [
                ours["ready_ms"] / theirs["ready_ms"]
                for ours, theirs in zip(loads["Candide"], loads[name], strict=True)
            ]
            print(f"Candide can be typed into after {statistics.median(ratios):.2f} of the time of {name}")
    titles = {
        "long": f"A conversation of {MESSAGES:,} messages",
        "sidebar": f"{CONVERSATIONS:,} conversations in the sidebar, scrolled to the last",
        "stream": f"An answer at {1000 // PACE_MS} tokens/s",
    }
    for name, rounds in ours.items():
        print_table(titles[name], ["", "median (range)"], [list(row) for row in summarise(rounds)])


if __name__ == "__main__":
    main()
