"""The page is shown to who sits in front of the machine, and to nobody who does not."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import Any

import pytest

from candide.cli.browser import should_open

DESKTOP = {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("choice", "has_terminal", "environ", "platform", "opens"),
    [
        ("auto", True, DESKTOP, "linux", True),
        ("auto", True, {"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ("auto", True, {}, "linux", False),
        ("auto", True, {}, "darwin", True),
        ("auto", True, {}, "win32", True),
        ("auto", False, DESKTOP, "linux", False),
        ("auto", True, {**DESKTOP, "SSH_CONNECTION": "192.0.2.1 5 192.0.2.2 22"}, "linux", False),
        ("auto", True, {"CI": "true"}, "darwin", False),
        ("no", True, DESKTOP, "linux", False),
        ("yes", False, {"CI": "true"}, "linux", True),
    ],
)
def test_a_browser_is_opened_on_a_desktop_alone_unless_told_so(
    choice: str, has_terminal: bool, environ: dict[str, str], platform: str, opens: bool
) -> None:
    assert should_open(choice, has_terminal=has_terminal, environ=environ, platform=platform) is opens


def test_the_browser_gets_the_address_and_says_nothing_between_the_lines(
    candide: Any, tmp_path: Path
) -> None:
    opener = tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\necho noise; echo noise >&2; echo "$1" > {tmp_path}/opened\n')
    opener.chmod(opener.stat().st_mode | stat.S_IXUSR)
    environment = candide.environment
    candide.environment = lambda **more: environment(**more, PATH=f"{opener.parent}:/usr/bin:/bin")
    server = candide.serve("--open")
    deadline = time.monotonic() + 20
    while not (tmp_path / "opened").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "opened").read_text().strip() == server.url
    server.process.terminate()
    assert b"noise" not in server.process.communicate(timeout=30)[1]
