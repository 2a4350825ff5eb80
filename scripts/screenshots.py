#!/usr/bin/env python3
"""Makes the pictures of the README, `docs/images/*.png`: the page in both themes, on a desktop and on a phone.

    .venv/bin/python scripts/screenshots.py

It starts a scripted engine and a server in a folder of their own, has a conversation, and photographs the page in
the browser that `provide_browser.py` finds. Everything is the page's own; only the answers are written here.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from provide_browser import find_browser

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
LARGEST_BYTES = 200_000
SIZES: dict[str, tuple[Any, float]] = {
    "desktop": ({"width": 1280, "height": 920}, 1),
    "phone": ({"width": 390, "height": 844}, 2),
}
"""Of the window, and the pixels of the picture for each of its own."""

ORBIT = r"""A satellite stays up because it falls around the Earth as fast as the ground curves away. Its speed follows
from its height alone:

$$v = \sqrt{\frac{G M}{r}}$$

| Orbit | Height | Speed | Period |
|:------|-------:|------:|------------:|
| Space station | 410 km | 7.7 km/s | 93 min |
| Navigation | 20,200 km | 3.9 km/s | 12 h |
| Geostationary | 35,786 km | 3.1 km/s | 24 h |

In Python, with $r$ counted from the middle of the Earth:

```python
def orbital_speed(height_km: float) -> float:
    '''Speed in km/s of a circular orbit.'''
    return (398_600 / (6_371 + height_km)) ** 0.5

print(f"{orbital_speed(410):.1f} km/s")  # 7.7 km/s
```
"""
TITLES = [
    "Jam without added sugar", "A polite letter to the landlord", "Regular expressions, step by step",
    "Train from Lyon to Lisbon", "Why is the sky blue?", "Names for a grey cat", "Tests for the invoice parser",
]  # fmt: skip
QUESTION = "How fast does a satellite have to be to stay in orbit?"


def main() -> None:
    path = find_browser()
    if path is None:
        sys.exit("there is no Chromium: scripts/provide_browser.py")
    with ExitStack() as stack:
        url = start_server(stack, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        conversation = fill(url)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=path, chromium_sandbox=os.geteuid() != 0, args=["--disable-gpu"]
        )
        stack.callback(browser.close)
        FOLDER.mkdir(parents=True, exist_ok=True)
        for size, (viewport, scale) in SIZES.items():
            for theme in ("light", "dark"):
                context = browser.new_context(
                    base_url=url,
                    viewport=viewport,
                    color_scheme=theme,  # pyright: ignore[reportArgumentType]
                    has_touch=size == "phone",
                    is_mobile=size == "phone",
                    reduced_motion="reduce",
                    device_scale_factor=scale,
                    locale="en-GB",
                )
                photograph(context.new_page(), f"/c/{conversation}", FOLDER / f"{size}-{theme}.png")
                context.close()


def photograph(page: Page, path: str, target: Path) -> None:
    page.goto(path)
    expect(page.locator(".katex").first).to_be_visible()
    expect(page.locator(".answer .hljs-keyword").first).to_be_visible()
    page.evaluate("document.fonts.ready")
    page.evaluate("document.activeElement.blur()")
    page.locator(".view").evaluate("(view) => view.scrollTo(0, 0)")
    page.screenshot(path=target, animations="disabled", caret="hide")
    size = target.stat().st_size
    if size > LARGEST_BYTES:
        sys.exit(f"{target} has {size} bytes, more than {LARGEST_BYTES}")
    print(f"{target.name}  {size // 1000} KB")


def fill(url: str) -> str:
    """Have the conversation that is shown, and others for the sidebar; its id."""
    folder = call(url, "/api/folders", {"name": "Garden"})["id"]
    call(url, "/api/conversations", {"title": "When to sow beans", "folder_id": folder})
    for title in reversed(TITLES):
        call(url, "/api/conversations", {"title": title})
    pinned = call(url, "/api/conversations", {"title": "Reading list"})["id"]
    call(url, f"/api/conversations/{pinned}", {"pinned": True}, method="PATCH")
    shown: str = call(url, "/api/conversations", {"title": "How satellites stay up"})["id"]
    turn = call(url, f"/api/conversations/{shown}/turns", {"text": QUESTION})
    while call(url, f"/api/turns/{turn['id']}", method="GET")["state"] in ("queued", "running"):
        time.sleep(0.1)
    return shown


def start_server(stack: ExitStack, home: Path) -> str:
    """Start an engine that gives the answer, and a server over it; the server's address."""
    script = home / "script.json"
    script.write_text(
        json.dumps({"models": ["qwen2.5-coder-1.5b"], "replies": [{"answer": ORBIT}]}), encoding="utf-8"
    )
    engine, server = free_port(), free_port()
    start(stack, home, "engine", "scripted", "--script", str(script), "--port", str(engine))
    start(stack, home, "serve", "--engine-url", f"http://127.0.0.1:{engine}/v1", "--port", str(server))
    for port in (engine, server):
        wait_for(f"http://127.0.0.1:{port}/health")
    return f"http://127.0.0.1:{server}"


def start(stack: ExitStack, home: Path, *arguments: str) -> None:
    environ = {**os.environ, "CANDIDE_HOME": str(home), "CANDIDE_TITLES": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "candide", *arguments],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)


def wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - an address made here
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    sys.exit(f"{url} does not answer")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def call(url: str, path: str, body: Any = None, method: str = "POST") -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url + path, data, headers, method=method)  # noqa: S310 - an address made here
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return json.loads(response.read() or b"null")


if __name__ == "__main__":
    main()
