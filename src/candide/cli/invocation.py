"""What the global flags said, and how a command reaches its settings and its event loop."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from candide.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Invocation:
    home: Path | None = None

    def settings(self, **flags: Any) -> Settings:
        """The settings under these flags; raises SettingsError for one without sense.

        A variable that looks like a setting and is none is warned of: it may be another program's.
        """
        from candide.cli.output import print_note
        from candide.settings import find_unknown_variables, load_settings

        for variable, nearest in find_unknown_variables().items():
            print_note(f"warning: {variable} is no setting{f'; did you mean {nearest}?' if nearest else ''}")
        return load_settings({"home": self.home, **flags})


def invocation(ctx: typer.Context) -> Invocation:
    return ctx.ensure_object(Invocation)


def debugging() -> bool:
    """Whether errors are shown with their traceback."""
    return os.environ.get("CANDIDE_DEBUG", "") not in ("", "0")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end on an event loop of its own."""
    import asyncio

    return asyncio.run(work)
