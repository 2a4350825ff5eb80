#!/usr/bin/env python3
"""Sees to it that the tests of the page have a browser: Debian's own Chromium, and a font to write with.

Where there is one, this returns at once. Where there is none, apt installs it if that may be done without
asking: by root, or with a sudo that wants no password. Otherwise it says which tests will be skipped.
It needs the standard library alone, and fails never.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-dejavu-core")
VARIABLE = "CANDIDE_TEST_BROWSER"
"""Names another browser of Chromium's kind, by its path."""


def main() -> None:
    if find_browser():
        return
    problem = install()
    if problem:
        say(
            f"the tests in tests/browser are skipped: there is no Chromium, and {problem}\n"
            f"hint: install it (Debian: apt-get install {' '.join(PACKAGES)}), or name one in {VARIABLE}"
        )


def find_browser() -> str | None:
    """The path of a browser that is here."""
    named = os.environ.get(VARIABLE)
    return named or next((path for path in map(shutil.which, BROWSERS) if path), None)


def install() -> str:
    """Have apt install a browser; why it could not be, or nothing."""
    if not shutil.which("apt-get"):
        return "this is no system with apt"
    rights: list[str] = []
    if os.geteuid() != 0:
        if not shutil.which("sudo") or call(["sudo", "-n", "true"], quiet=True) != 0:
            return "installing it needs root's rights"
        rights = ["sudo", "-n"]
    say(f"installing {' and '.join(PACKAGES)} for the tests of the page")
    apt = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    wanted = ["install", "-y", "--no-install-recommends", *PACKAGES]
    # Where the machine has no package lists, as in a container, they are fetched first.
    if call([*apt, *wanted], quiet=True) != 0 and (call([*apt, "update"]) != 0 or call([*apt, *wanted]) != 0):
        return "apt could not install it"
    return "" if find_browser() else "apt installed none"


def call(command: list[str], *, quiet: bool = False) -> int:
    output = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ).returncode
    except OSError:
        return 127


def say(text: str) -> None:
    print(f"candide: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
