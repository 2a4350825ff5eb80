#!/usr/bin/env python3
"""Writes the reference that the code itself gives: docs/reference/cli.md and settings.md.

python scripts/reference.py            write them
python scripts/reference.py --check    say whether they are true, and fail if not
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from candide.cli.flags import NOT_FLAGS, flag_names
from candide.cli.main import app
from candide.settings import options

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- made by scripts/reference.py; do not edit -->\n\n"
FORM: dict[str, Any] = {"resilient_parsing": True, "terminal_width": 100, "max_content_width": 100}
INTRODUCTION = """# Commands

Data goes to standard output, all the rest to standard error. Exit codes: 0 done, 1 an engine or the
setup failed, 2 the caller made a mistake, 130 Ctrl-C. `NO_COLOR` is honoured. `candide
--install-completion` teaches the shell to complete commands and flags.
"""


def main() -> int:
    pages = {"cli.md": write_commands(), "settings.md": write_settings()}
    if "--check" in sys.argv[1:]:
        stale = [name for name, text in pages.items() if read(FOLDER / name) != text]
        for name in stale:
            print(f"docs/reference/{name} is stale: make reference", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
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
