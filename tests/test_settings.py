"""Each setting comes from the first that names it, and a senseless one is refused with where it came from."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

import candide
from candide.errors import SettingsError
from candide.settings import Settings, find_unknown_variables, load_settings, options


def load(home: Path, flags: dict[str, Any] | None = None, file: str = "", **environ: str) -> Settings:
    if file:
        (home / "settings.toml").write_text(file, encoding="utf-8")
    return load_settings(flags, {"CANDIDE_HOME": str(home), **environ})


def test_a_flag_goes_before_the_environment_the_file_and_the_default(tmp_path: Path) -> None:
    file = "port = 1\nhost = 'localhost'\nmodel = 'file'\n"
    settings = load(tmp_path, {"port": 3, "host": None}, file, CANDIDE_PORT="2", CANDIDE_HOST="127.0.0.2")
    assert (settings.port, settings.host, settings.model, settings.slots) == (3, "127.0.0.2", "file", 0)
    origins = {name: settings.origins[name] for name in ("port", "host", "model", "slots", "home")}
    assert origins == {
        "port": "flag", "host": "CANDIDE_HOST", "model": str(tmp_path / "settings.toml"), "slots": "default",
        "home": "CANDIDE_HOME",
    }  # fmt: skip


def test_every_setting_has_one_line_of_help_and_can_be_set_by_its_variable(tmp_path: Path) -> None:
    for option in options():
        text = option.metadata["help"]
        assert text.endswith(".")
        assert "\n" not in text
        if option.name != "home":
            given = next(iter(option.metadata["choices"]), "1")
            settings = load(tmp_path, **{f"CANDIDE_{option.name.upper()}": given})
            assert settings.origins[option.name] == f"CANDIDE_{option.name.upper()}"
    assert {f.name for f in dataclasses.fields(Settings)} == {o.name for o in options()} | {"origins"}


def test_every_setting_is_read_by_the_program() -> None:
    package = Path(candide.__file__).parent
    text = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    read = set(re.findall(r"\bsettings\.(\w+)", text))
    # Some are read by what is made of them, like the home by its folders.
    read |= set(re.findall(r"\bself\.(\w+)", (package / "settings.py").read_text(encoding="utf-8")))
    assert [option.name for option in options() if option.name not in read] == []


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("TITLES", "no", False), ("TITLES", "ON", True), ("LEASE_S", "2.5", 2.5),
        ("ENGINE_URLS", " http://a/v1 ,http://b ", ("http://a/v1", "http://b")), ("ENGINE_URLS", "", ()),
        ("ENGINE_KEYS", ",second, ", ("", "second")), ("LOG_LEVEL", "DEBUG", "debug"), ("PORT", "0", 0),
    ],
)  # fmt: skip
def test_values_of_the_environment_are_read_by_their_type(
    tmp_path: Path, name: str, given: str, value: Any
) -> None:
    assert getattr(load(tmp_path, **{f"CANDIDE_{name}": given}), name.lower()) == value


@pytest.mark.parametrize(
    ("file", "environ", "said"),
    [
        ("prot = 1", {}, "unknown setting 'prot'"),
        ("home = '/x'", {}, "unknown setting 'home'"),
        ("port = ", {}, "is not TOML"),
        ("port = 'x'", {}, "'port' from .*settings.toml is 'x', not a whole number"),
        ("model = 5", {}, "'model' from .* not text"),
        ("engine_urls = 5", {}, "not a list"),
        ("", {"CANDIDE_TITLES": "perhaps"}, "'titles' from CANDIDE_TITLES is 'perhaps', not true or false"),
        ("", {"CANDIDE_LEASE_S": "soon"}, "not a number"),
        ("", {"CANDIDE_LEASE_S": "nan"}, "not a number"),
        ("port = 80.5", {}, "not a whole number"),
        ("port = true", {}, "not a whole number"),
        ("port = -1", {}, "'port' from .*settings.toml is -1, not a whole number from 0 to 65535"),
        ("", {"CANDIDE_PORT": "70000"}, "'port' from CANDIDE_PORT is '70000', not .* from 0 to 65535"),
        ("", {"CANDIDE_SLOTS": "9999"}, "not a whole number from 0 to 256"),
        ("", {"CANDIDE_THREADS": "-3"}, "not a whole number from 0"),
        ("", {"CANDIDE_MAX_BODY_MB": "-1"}, "not a whole number of at least 1"),
        ("", {"CANDIDE_LEASE_S": "-1"}, "not a number of at least 0.1"),
        ("", {"CANDIDE_KV_CACHE": "foo"}, "'foo', not one of auto, f16, q8_0, q4_0"),
        ("", {"CANDIDE_LOG_LEVEL": "loud"}, "'loud', not one of debug, info, warning, error"),
    ],
)
def test_what_has_no_sense_is_refused_with_its_origin(
    tmp_path: Path, file: str, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        load(tmp_path, None, file, **environ)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        load(tmp_path)
    (tmp_path / "settings.toml").unlink()
    (tmp_path / "settings.toml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("file", "line", "hint"),
    [
        ("slots = 2\nprot = 1\n", 2, "did you mean 'port'?"),
        ("max-body-mb = 1", 1, "did you mean 'max_body_mb'?"),
        ("\n\nzzz = 1", 3, "take it out; the settings are host, port"),
        ("home = '/x'", 1, "--home or CANDIDE_HOME"),
    ],
)
def test_unknown_name_in_the_file_is_told_with_its_line_and_the_nearest_that_is_one(
    tmp_path: Path, file: str, line: int, hint: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, None, file)
    assert f"settings.toml, line {line}" in refused.value.message
    assert hint in str(refused.value.hint)


def test_variable_that_is_no_setting_is_found_with_the_nearest_that_is_one() -> None:
    environ = {
        "CANDIDE_PROT": "8",
        "CANDIDE_PORT": "8",
        "CANDIDE_DEBUG": "1",
        "CANDIDE_TEST_CACHE": "/",
        "X": "",
    }
    assert find_unknown_variables(environ) == {"CANDIDE_PROT": "CANDIDE_PORT"}
    assert find_unknown_variables({"CANDIDE_QWXYZ": "1"}) == {"CANDIDE_QWXYZ": ""}
