"""Every option of Candide, once: its name, type, default and help.

A value comes from the first that names it: a flag, the environment (`CANDIDE_` and the name in
capitals), the file `settings.toml` under the home, the default. `Settings.origins` tells which.
What a setting may be stands beside its default and is checked when it is read, so that a wrong one
is refused with where it came from, and not found out by whom it is passed to. Only `cli/` and
`compose.py` read settings; everything else is passed values.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from candide.errors import SettingsError

OTHER_VARIABLES = ("CANDIDE_DEBUG", "CANDIDE_TEST_")
"""Beginnings of variables that are read elsewhere and are no settings."""


def option(
    default: Any,
    help_text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare one setting: a default, one line of help, and what is allowed, the bounds included.

    Choices are words in small letters, taken in capitals too.
    """
    if isinstance(default, (list, dict)):
        raise TypeError("use a tuple")
    allowed = {"minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata={"help": help_text, **allowed})


@dataclass(frozen=True)
class Settings:
    home: Path = option(  # noqa: RUF009 - it makes a field
        Path(), "Folder under which everything that Candide keeps lies."
    )
    host: str = option("127.0.0.1", "Address to listen on; anything but loopback needs a key.")
    port: int = option(8000, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65535)
    api_key: str = option("", "Key that clients must send as `Authorization: Bearer`; none on loopback.")
    allowed_hosts: tuple[str, ...] = option(
        (), "Names beside localhost under which browsers may reach the server."
    )
    open_browser: str = option(
        "auto",
        "Show the page in a browser at the start: yes, no, or auto, in a terminal of this machine's desktop.",
        choices=("auto", "yes", "no"),
    )
    max_body_mb: int = option(32, "Largest request body taken, in MiB.", minimum=1)
    max_import_mb: int = option(16_384, "Largest file taken to be imported, in MiB.", minimum=1)
    log_level: str = option(
        "info",
        "debug, info, warning or error; logs go to stderr.",
        choices=("debug", "info", "warning", "error"),
    )

    model: str = option(
        "", "Model to answer with: a catalogue name or a GGUF file; chosen for the machine when empty."
    )
    engine_urls: tuple[str, ...] = option(
        (), "OpenAI-compatible servers to use instead of the embedded engine, or beside it."
    )
    engine_keys: tuple[str, ...] = option((), "Keys for engine_urls, in the same order.")
    embedded: bool = option(
        True, "Run the embedded engine; off by default when engine_urls is set and no model is named."
    )
    llama_server: str = option(
        "", "Path of a llama-server to run instead of the built-in llama.cpp; 'off' never looks for one."
    )
    context_tokens: int = option(
        0,
        "Context length of the embedded engine in tokens, a conversation each; 0 chooses from memory.",
        minimum=0,
    )
    # The largest numbers of slots and threads are those that llama.cpp was compiled for.
    slots: int = option(
        0,
        "Answers that the embedded engine writes at once; 0 chooses from cores and memory.",
        minimum=0,
        maximum=256,
    )
    threads: int = option(
        0,
        "Threads of the embedded engine; 0 takes the cores that the process may use.",
        minimum=0,
        maximum=512,
    )
    kv_cache: str = option(
        "auto",
        "Type of the embedded engine's KV cache: auto, f16, q8_0 or q4_0.",
        choices=("auto", "f16", "q8_0", "q4_0"),
    )
    memory_mb: int = option(
        0, "Memory that all embedded models may use together, in MiB; 0 chooses from the machine.", minimum=0
    )
    idle_unload_s: float = option(
        1800.0, "Seconds after which an unused embedded model is unloaded; 0 never.", minimum=0
    )
    engine_timeout_s: float = option(
        600.0, "Seconds without a token after which an engine counts as dead.", minimum=0.1
    )

    database_url: str = option("", "SQLAlchemy URL of the database; SQLite in the home when empty.")
    backups: int = option(5, "Backup copies of the database to keep, one before each migration.", minimum=1)
    lease_s: float = option(
        10.0, "Seconds after which a turn whose owner went silent is taken over.", minimum=0.1
    )
    answer_tokens: int = option(
        0,
        "Longest answer of a turn in tokens, unless the user sets another; 0 leaves it to the model.",
        minimum=0,
    )
    system_prompt: str = option(
        "You are a helpful assistant. Answer in the language of the question.",
        "System prompt of conversations.",
    )
    titles: bool = option(True, "Let the model write titles for conversations, after the answer.")

    fetch_allowed: tuple[str, ...] = option(
        (), "Hosts, host:port and networks beside the public internet that sources may be fetched from."
    )
    embeddings: bool = option(True, "Find passages of sources by their meaning too, with a model for that.")
    embedding_url: str = option(
        "", "OpenAI-compatible server that makes these vectors, in place of the embedded model."
    )
    embedding_model: str = option("", "Name of the model there.")
    embedding_dimensions: int = option(
        0, "How many elements the vectors of that model have, like 1024.", minimum=0, maximum=4000
    )
    embedding_key: str = option("", "Key for embedding_url.")
    embedding_query_prefix: str = option("", "What that model wants before questions, like 'query: '.")
    embedding_passage_prefix: str = option("", "What that model wants before passages, like 'passage: '.")
    web_search: str = option(
        "off",
        "Search engine that answers may use for the live web: off, searxng, brave or tavily.",
        choices=("off", "searxng", "brave", "tavily"),
    )
    web_search_url: str = option(
        "",
        "Address of the SearXNG instance, which must allow JSON; for the others, where they are not their own.",
    )
    web_search_key: str = option("", "Key for brave or tavily.")

    origins: Mapping[str, str] = field(
        default_factory=dict[str, str], compare=False, metadata={"internal": True}
    )

    @property
    def weights_dir(self) -> Path:
        return self.home / "models"

    @property
    def logs_dir(self) -> Path:
        return self.home / "logs"

    @property
    def run_dir(self) -> Path:
        """Short-lived files: locks, the addresses of running servers."""
        return self.home / "run"

    @property
    def backups_dir(self) -> Path:
        return self.home / "backups"

    @property
    def imports_dir(self) -> Path:
        """Files that were uploaded to be imported, until they are."""
        return self.home / "imports"

    @property
    def index_dir(self) -> Path:
        """The index of the libraries' passages."""
        return self.home / "index"

    @property
    def database_file(self) -> Path:
        """The database in the home, used where no other one is named."""
        return self.home / "candide.db"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.database_file}"


def options() -> list[dataclasses.Field[Any]]:
    """The settings, in the order of their declaration."""
    return [f for f in dataclasses.fields(Settings) if "help" in f.metadata]


def load_settings(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Gather the settings from flags, environment, file and defaults.

    Flags whose value is None are absent. Raises SettingsError for an unknown name in the file or
    a value that is not allowed, naming where it came from.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    environ = os.environ if environ is None else environ
    hints = typing.get_type_hints(Settings)
    home, home_origin = _find_home(given, environ)
    file_path = home / "settings.toml"
    from_file = _read_file(file_path)
    _check_names(from_file, file_path)
    values: dict[str, Any] = {"home": home}
    origins: dict[str, str] = {"home": home_origin}
    for f in options():
        if f.name == "home":
            continue
        variable = f"CANDIDE_{f.name.upper()}"
        for value, origin in (
            (given.get(f.name), "flag"),
            (environ.get(variable), variable),
            (from_file.get(f.name), str(file_path)),
        ):
            if value is not None:
                values[f.name] = _coerce(value, hints[f.name], f, origin)
                origins[f.name] = origin
                break
        else:
            origins[f.name] = "default"
    return Settings(**values, origins=types.MappingProxyType(origins))


def find_unknown_variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that look like settings and are none, each with the nearest that is one, or nothing."""
    known = [f.name.upper() for f in options()]
    found: dict[str, str] = {}
    for variable in sorted(os.environ if environ is None else environ):
        name = variable.removeprefix("CANDIDE_")
        if name == variable or name in known or variable.startswith(OTHER_VARIABLES):
            continue
        nearest = _find_nearest(name, known)
        found[variable] = f"CANDIDE_{nearest}" if nearest else ""
    return found


def _find_nearest(name: str, known: Sequence[str]) -> str:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), "")


def _check_names(from_file: Mapping[str, Any], path: Path) -> None:
    known = [f.name for f in options() if f.name != "home"]
    for name in from_file:
        if name in known:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        at = next((n for n, line in enumerate(lines, 1) if line.lstrip(" \t[\"'").startswith(name)), 0)
        if name == "home":
            hint = "the file lies in the home: name that with --home or CANDIDE_HOME"
        elif nearest := _find_nearest(name.lower().replace("-", "_"), known):
            hint = f"did you mean '{nearest}'?"
        else:
            hint = f"take it out; the settings are {', '.join(known)}"
        raise SettingsError(f"unknown setting '{name}' in {path}{f', line {at}' if at else ''}", hint=hint)


def _find_home(given: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Path, str]:
    if "home" in given:
        return Path(given["home"]).expanduser().resolve(), "flag"
    if environ.get("CANDIDE_HOME"):
        return Path(environ["CANDIDE_HOME"]).expanduser().resolve(), "CANDIDE_HOME"
    import platformdirs

    return Path(platformdirs.user_data_dir("candide", appauthor=False)), "default"


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def _coerce(value: Any, hint: Any, setting: dataclasses.Field[Any], origin: str) -> Any:
    try:
        read = _check_allowed(_read(value, hint), setting)
    except (ValueError, KeyError, TypeError, OverflowError):
        wanted = _describe_allowed(hint, setting)
        raise SettingsError(
            f"setting '{setting.name}' from {origin} is {value!r}, not {wanted}",
            hint="candide serve --help says what each setting is",
        ) from None
    return read


def _read(value: Any, hint: Any) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        return {"1": True, "true": True, "yes": True, "on": True,
                "0": False, "false": False, "no": False, "off": False}[str(value).strip().lower()]  # fmt: skip
    if hint in (int, float, str):
        # A file's true is no number, and its 80.5 no port.
        if isinstance(value, bool) or (hint is str and not isinstance(value, str)):
            raise ValueError
        if hint is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        read = hint(value)
        if isinstance(read, float) and not math.isfinite(read):
            raise ValueError
        return read
    if isinstance(value, str):
        # An empty place in the middle is one: keys belong to engines by their order.
        return tuple(part.strip() for part in value.rstrip(", ").split(",")) if value.strip(", ") else ()
    return tuple(str(part) for part in value)


def _check_allowed(value: Any, setting: dataclasses.Field[Any]) -> Any:
    if choices := setting.metadata["choices"]:
        value = value.strip().lower()
        if value not in choices:
            raise ValueError
    least, most = setting.metadata["minimum"], setting.metadata["maximum"]
    if (least is not None and value < least) or (most is not None and value > most):
        raise ValueError
    return value


def _describe_allowed(hint: Any, setting: dataclasses.Field[Any]) -> str:
    least, most = setting.metadata["minimum"], setting.metadata["maximum"]
    if choices := setting.metadata["choices"]:
        return f"one of {', '.join(choices)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}.get(hint, "a list")
    if most is not None:
        return f"{words} from {least} to {most}"
    return words if least is None else f"{words} of at least {least}"
