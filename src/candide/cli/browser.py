"""Shows the page in the user's browser: where a person sits in front of this machine, and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Mapping


def should_open(choice: str, *, has_terminal: bool, environ: Mapping[str, str], platform: str) -> bool:
    """Whether to open a browser; `choice` is the setting `open_browser`."""
    if choice != "auto":
        return choice == "yes"
    if not has_terminal or environ.get("CI") or environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    # Elsewhere a browser without a window would take the terminal.
    return platform in ("darwin", "win32") or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_if_wanted(choice: str, url: str) -> None:
    """Open the page; returns at once, whatever the browser does."""
    if should_open(choice, has_terminal=sys.stderr.isatty(), environ=os.environ, platform=sys.platform):
        threading.Thread(target=_open, args=(url,), name="browser", daemon=True).start()


def _open(url: str) -> None:
    opener = shutil.which("xdg-open") if sys.platform.startswith("linux") else None
    if opener is None:
        webbrowser.open(url)
        return
    # What browsers say about themselves belongs between nobody's lines.
    nowhere = subprocess.DEVNULL
    subprocess.run([opener, url], stdin=nowhere, stdout=nowhere, stderr=nowhere, check=False)  # noqa: S603
