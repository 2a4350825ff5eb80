"""A server that cannot begin says why and what to do, and leaves nothing behind."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from candide.compose import compose
from candide.errors import CandideError, SettingsError, SetupError, StoreError
from candide.server.run import serve
from candide.settings import load_settings


def settings(tmp_path: Path, **flags: Any) -> Any:
    return load_settings(
        {"home": str(tmp_path / "home"), "engine_urls": "http://127.0.0.1:9/v1", **flags}, {}
    )


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SetupError, match="is in use") as refused,
    ):
        serve(settings(tmp_path, port=taken.getsockname()[1]))
    assert "--port" in str(refused.value.hint)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.invalid"])
def test_a_host_that_lets_others_in_needs_a_key(tmp_path: Path, host: str) -> None:
    with pytest.raises(CandideError) as refused:
        serve(settings(tmp_path, host=host, port=0))
    assert isinstance(refused.value, SettingsError | SetupError)
    assert refused.value.hint


def test_a_log_level_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="log_level"):
        serve(settings(tmp_path, port=0, log_level="loud"))


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x"])
async def test_an_engine_url_that_is_none_is_named_and_what_was_opened_is_closed(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(SettingsError, match="engine URL"):
        await compose(settings(tmp_path, engine_urls=url))


async def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises((StoreError, SettingsError), match="home"):
        await compose(settings(tmp_path))


async def test_a_damaged_database_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "candide.db").write_bytes(b"no database" * 500)
    with pytest.raises(StoreError, match="is damaged"):
        await compose(settings(tmp_path))
