"""Each setting comes from the first that names it, and a senseless one is refused with where it came from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from candide.errors import SettingsError
from candide.settings import Settings, load_settings, options


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
            settings = load(tmp_path, **{f"CANDIDE_{option.name.upper()}": "1"})
            assert settings.origins[option.name] == f"CANDIDE_{option.name.upper()}"
    assert {f.name for f in dataclasses.fields(Settings)} == {o.name for o in options()} | {"origins"}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("TITLES", "no", False), ("TITLES", "ON", True), ("LEASE_S", "2.5", 2.5),
        ("ENGINE_URLS", " http://a/v1 ,http://b ", ("http://a/v1", "http://b")), ("ENGINE_URLS", "", ()),
        ("ENGINE_KEYS", ",second, ", ("", "second")),
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
