"""Flags made from the settings, so that each option is named, typed and explained once.

What a shell completes behind a flag or an argument is found here too, from local files alone: a key was
pressed, and nothing may be waited for.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, Optional, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from candide.errors import BadRequest
from candide.settings import Settings, options

NOT_FLAGS = frozenset({"home"})
"""`--home` stands before the command, for all of them."""


SWITCHES = {"open_browser": "--open/--no-open"}
"""Settings of yes, no and more whose flag is but a yes or a no."""


def flag_names(setting: dataclasses.Field[Any]) -> list[str]:
    """How a setting is written as a flag: `engine_urls` is `--engine-url`, given as often as needed."""
    if setting.name in SWITCHES:
        return [SWITCHES[setting.name]]
    name = setting.name.replace("_", "-")
    default: object = setting.default
    if isinstance(default, tuple):
        name = name.removesuffix("s")
    if isinstance(default, bool):
        return [f"--{name}/--no-{name}"]
    return [f"--{name}"]


def complete_installed(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of models on this machine that begin so."""
    from candide.errors import SettingsError
    from candide.settings import load_settings

    try:
        # The command itself has not run: what stands before it is read from what was parsed.
        folder = load_settings({"home": ctx.find_root().params.get("home")}).weights_dir
        names = [path.stem for path in folder.glob("*.gguf")]
    except (SettingsError, OSError):
        return []  # the command will say so; a completion has no place to
    return sorted(name for name in names if name.startswith(incomplete) and not name.startswith("."))


def complete_catalogue(incomplete: str) -> list[str]:
    """Names of the catalogue that begin so."""
    from candide.models.catalog import load_catalog

    return [entry.name for entry in load_catalog() if entry.name.startswith(incomplete)]


def complete_model(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of models on this machine, and then of the catalogue, that begin so."""
    return list(dict.fromkeys([*complete_installed(ctx, incomplete), *complete_catalogue(incomplete)]))


LibraryNames = TypeVar("LibraryNames", str, "list[str]", None)


def check_library(names: LibraryNames) -> LibraryNames:
    """The libraries that an option names. Raises BadRequest for an empty name, as an unset variable gives one."""
    for name in [names] if isinstance(names, str) else names or []:
        if not name.strip():
            raise BadRequest(
                "the name of the library is empty",
                param="library",
                hint="candide libraries shows their names",
            )
    return names


class WordsCommand(TyperCommand):
    """A command whose words may begin with a minus: where those are taken for flags, it is said how to write them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = [word for word in args if re.match(r"-[^\W\d_]{2}", word)]
        try:
            return super().parse_args(ctx, args)
        except TyperException as error:
            if words:
                # Its lines are short: what prints them wraps nothing.
                error.message += f"\nHint: to leave a word out: candide search 'WORD {words[0]}'"
                error.message += f"\n      or, without quotes:  candide search -- WORD {words[0]}"
            raise


def with_settings_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for each setting; it gets those that were used as `flags`."""
    hints = get_type_hints(Settings)
    names = [setting.name for setting in options() if setting.name not in NOT_FLAGS]

    def wrapper(**arguments: Any) -> None:
        used = {name: arguments.pop(name) for name in names}
        # A list flag that was not used comes as an empty list, which is not a choice of nothing.
        flags = {name: value for name, value in used.items() if value not in (None, [])}
        for name in SWITCHES.keys() & flags.keys():
            flags[name] = "yes" if flags[name] else "no"
        command(**arguments, flags=flags)

    own = inspect.signature(command, eval_str=True).parameters
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.values() if p.name != "flags"]
    for setting in options():
        if setting.name in NOT_FLAGS:
            continue
        kind = hints[setting.name]
        is_list = kind == tuple[str, ...]
        kind = list[str] if is_list else bool if setting.name in SWITCHES else kind
        option = typer.Option(
            *flag_names(setting),
            help=_flag_help(setting),
            metavar="<str>" if is_list else None,
            show_default=False,
            autocompletion=complete_model if setting.name == "model" else None,
        )
        parameters.append(
            inspect.Parameter(
                setting.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[Optional[kind], option],  # noqa: UP045 - made at run time
            )
        )
    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _flag_help(setting: dataclasses.Field[Any]) -> str:
    help_text: str = setting.metadata["help"]
    default: object = setting.default
    if default in ("", 0, ()) or isinstance(default, bool):
        return help_text
    return f"{help_text} [default: {default}]"
