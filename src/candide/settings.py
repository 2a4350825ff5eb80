"""Every option of Candide, once: its name, type, default and help.

A value comes from the first that names it: a flag, the environment (`CANDIDE_` and the name in
capitals), the file `settings.toml` under the home, the default. `Settings.origins` tells which.
Only `cli/` and `compose.py` read settings; everything else is passed values.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from candide.errors import SettingsError


def option(default: Any, help_text: str) -> Any:
    """Declare one setting: a default and one line of help."""
    if isinstance(default, (list, dict)):
        raise TypeError("use a tuple")
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class Settings:
    home: Path = option(  # noqa: RUF009 - it makes a field
        Path(), "Folder under which everything that Candide keeps lies."
    )
    host: str = option("127.0.0.1", "Address to listen on; anything but loopback needs a key.")
    port: int = option(8000, "Port to listen on.")
    api_key: str = option("", "Key that clients must send as `Authorization: Bearer`; none on loopback.")
    allowed_hosts: tuple[str, ...] = option(
        (), "Names beside localhost under which browsers may reach the server."
    )
    max_body_mb: int = option(32, "Largest request body taken, in MiB.")
    log_level: str = option("info", "debug, info, warning or error; logs go to stderr.")

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
        0, "Context length of the embedded engine in tokens, a conversation each; 0 chooses from memory."
    )
    slots: int = option(
        0, "Answers that the embedded engine writes at once; 0 chooses from cores and memory."
    )
    threads: int = option(0, "Threads of the embedded engine; 0 takes the cores that the process may use.")
    kv_cache: str = option("auto", "Type of the embedded engine's KV cache: auto, f16, q8_0 or q4_0.")
    memory_mb: int = option(
        0, "Memory that all embedded models may use together, in MiB; 0 chooses from the machine."
    )
    idle_unload_s: float = option(
        1800.0, "Seconds after which an unused embedded model is unloaded; 0 never."
    )
    engine_timeout_s: float = option(600.0, "Seconds without a token after which an engine counts as dead.")

    database_url: str = option("", "SQLAlchemy URL of the database; SQLite in the home when empty.")
    backups: int = option(5, "Backup copies of the database to keep, one before each migration.")
    lease_s: float = option(10.0, "Seconds after which a turn whose owner went silent is taken over.")
    answer_tokens: int = option(0, "Longest answer of a turn in tokens; 0 leaves it to the model.")
    system_prompt: str = option(
        "You are a helpful assistant. Answer in the language of the question.",
        "System prompt of conversations.",
    )
    titles: bool = option(True, "Let the model write titles for conversations, after the answer.")

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
        """Short-lived files: locks, the running server's address."""
        return self.home / "run"

    @property
    def backups_dir(self) -> Path:
        return self.home / "backups"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'candide.db'}"


def options() -> list[dataclasses.Field[Any]]:
    """The settings, in the order of their declaration."""
    return [f for f in dataclasses.fields(Settings) if "help" in f.metadata]


def load_settings(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Gather the settings from flags, environment, file and defaults.

    Flags whose value is None are absent. Raises SettingsError for an unknown name in the file or
    a value of the wrong type, naming where it came from.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    environ = os.environ if environ is None else environ
    hints = typing.get_type_hints(Settings)
    home, home_origin = _find_home(given, environ)
    file_path = home / "settings.toml"
    from_file = _read_file(file_path)
    known = {f.name for f in options()}
    for name in from_file:
        if name not in known or name == "home":
            raise SettingsError(
                f"unknown setting '{name}' in {file_path}", hint="candide settings lists them"
            )
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
                values[f.name] = _coerce(value, hints[f.name], f.name, origin)
                origins[f.name] = origin
                break
        else:
            origins[f.name] = "default"
    return Settings(**values, origins=types.MappingProxyType(origins))


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


def _coerce(value: Any, hint: Any, name: str, origin: str) -> Any:
    try:
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
    except (ValueError, KeyError, TypeError, OverflowError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}.get(
            hint, "a list"
        )
        raise SettingsError(f"setting '{name}' from {origin} is {value!r}, not {wanted}") from None
