"""A server that cannot begin says why and what to do, and leaves nothing behind."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from candide.compose import check_model, compose
from candide.errors import CandideError, SettingsError, SetupError, StoreError
from candide.server.address import Address, leave_address, read_addresses
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


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x"])
async def test_an_engine_url_that_is_none_is_named_and_what_was_opened_is_closed(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(SettingsError, match="engine URL"):
        await compose(settings(tmp_path, engine_urls=url))


async def test_a_llama_server_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="llama_server '/nope'"):
        await compose(settings(tmp_path, engine_urls="", llama_server="/nope"))
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["README.md", "missing.gguf"])
def test_a_model_file_that_cannot_be_loaded_is_named_with_where_it_was_named(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "README.md").write_text("# No weights")
    with pytest.raises(SettingsError, match=f"'model' from flag: .*{name}"):
        check_model(settings(tmp_path, engine_urls="", model=str(tmp_path / name)))


def test_a_model_that_can_be_fetched_or_is_an_attached_engine_s_need_not_be_there(tmp_path: Path) -> None:
    check_model(settings(tmp_path, engine_urls="", model="smollm2-135m"))
    check_model(settings(tmp_path, engine_urls="", model="hf:owner/repository/file.gguf"))
    check_model(settings(tmp_path, model="theirs", embedded="no"))


async def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises((StoreError, SettingsError), match="home"):
        await compose(settings(tmp_path))


async def test_a_damaged_database_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "candide.db").write_bytes(b"no database" * 500)
    with pytest.raises(StoreError, match="is damaged"):
        await compose(settings(tmp_path))


def test_a_living_server_is_found_and_a_dead_one_is_not(tmp_path: Path) -> None:
    left = tmp_path / "servers" / "server_0.json"
    left.parent.mkdir()
    left.write_text('{"url": "http://127.0.0.1:1", "pid": 1}')
    assert read_addresses(tmp_path) == [], "nobody holds a lock on it"
    first, second = Address("http://127.0.0.1:2", pid=2), Address("http://127.0.0.1:3", pid=3)
    with leave_address(tmp_path, first):
        assert not left.exists()
        with leave_address(tmp_path, second):
            assert read_addresses(tmp_path) == [first, second]
        assert read_addresses(tmp_path) == [first]
    assert list(left.parent.iterdir()) == []
