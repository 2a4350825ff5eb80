"""Vectors by a server of `/v1/embeddings`, as a user has them who names one in the settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from ..processes import read_command

if TYPE_CHECKING:
    from conftest import EmbeddingHost

    from .conftest import Candide, Server

PATIENCE_S = 90.0
KEY = "sesame-of-the-embedder"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "animals.md").write_text("# Animals\n\nThe hound sleeps by the fire all winter long.\n")
    (docs / "machines.md").write_text("# Machines\n\nAn automobile wants petrol and a road to go.\n")
    return docs


def use(candide: Candide, host: EmbeddingHost, model: str) -> Server:
    """Start a server with this model of embeddings."""
    candide.home.mkdir(parents=True, exist_ok=True)
    (candide.home / "settings.toml").write_text(
        f"embedding_url = '{host.url}'\nembedding_model = '{model}'\nembedding_dimensions = {host.dimensions}\n"
        f"embedding_key = '{KEY}'\nembedding_query_prefix = 'query: '\n"
    )
    return candide.serve()


def search(candide: Candide, query: str) -> list[str]:
    done = candide.run("search", query, "--json")
    assert done.code == 0, done.err
    return [result["source"]["title"] for result in done.json()["results"]]


def wait_for(candide: Candide, query: str, title: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while search(candide, query)[:1] != [title]:
        assert time.monotonic() < deadline, (candide.home / "logs" / "ingestion.log").read_text()
        time.sleep(0.1)


def test_a_server_finds_passages_by_their_meaning_and_its_key_is_shown_nowhere(
    candide: Candide, embedding_host: EmbeddingHost, docs: Path
) -> None:
    server = use(candide, embedding_host, "small")
    assert candide.run("add", str(docs), "-l", "Garden").code == 0
    assert search(candide, "dog")[0] == "Animals"
    assert search(candide, "car")[0] == "Machines"
    assert {body["model"] for body in embedding_host.asked} == {"small"}
    assert {body["key"] for body in embedding_host.asked} == {f"Bearer {KEY}"}
    assert embedding_host.asked[-1]["input"] == ["query: car"]
    assert len(embedding_host.list_passages("small")) == 2

    for process in [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children()]:
        assert KEY not in read_command(process)
    told = candide.run("settings")
    assert embedding_host.url in told.out
    assert KEY not in told.out + told.err
    for path in (candide.home / "logs").iterdir():
        assert KEY not in path.read_text()
    (check,) = [
        one for one in candide.run("doctor", "--json").json() if one["name"].startswith("embeddings ")
    ]
    assert (check["status"], check["message"]) == ("ok", "'small' makes vectors of 8 elements")


def test_words_are_found_while_the_server_is_away_and_meanings_when_it_is_back(
    candide: Candide, embedding_host: EmbeddingHost, docs: Path
) -> None:
    embedding_host.stop()
    server = use(candide, embedding_host, "small")
    assert candide.run("add", str(docs), "-l", "Garden").code == 0
    assert search(candide, "petrol") == ["Machines"]
    assert search(candide, "dog") == []
    (check,) = [
        one for one in candide.run("doctor", "--json").json() if one["name"].startswith("embeddings ")
    ]
    assert check["status"] == "fail"
    assert "cannot be reached" in check["message"]
    server.stop()
    embedding_host.start()
    candide.serve()
    wait_for(candide, "dog", "Animals")


def test_another_model_makes_all_vectors_anew_and_those_of_the_first_are_not_found(
    candide: Candide, embedding_host: EmbeddingHost, docs: Path
) -> None:
    use(candide, embedding_host, "small").stop()
    assert candide.run("add", str(docs), "-l", "Garden").code == 0
    assert search(candide, "dog")[0] == "Animals"
    embedding_host.stop()
    server = use(candide, embedding_host, "larger")
    assert search(candide, "dog") == []
    server.stop()
    embedding_host.start()
    # Without a server nobody makes vectors for a search, and those of the other model mean something else.
    assert search(candide, "dog") == []
    candide.serve()
    wait_for(candide, "dog", "Animals")
    wait_for(candide, "car", "Machines")
    assert sorted(embedding_host.list_passages("larger")) == sorted(embedding_host.list_passages("small"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("embedding_url = 'http://a/v1'", "embedding_url is set, and embedding_model is not"),
        ("embedding_url = 'http://a/v1'\nembedding_model = 'm'", "and embedding_dimensions is not"),
        ("embedding_url = 'a:8080'", "embedding_url 'a:8080' does not begin with http"),
        ("embedding_model = 'm'", "embedding_model is set, and embedding_url is not"),
        ("embedding_dimensions = -1", "'embedding_dimensions'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_with_the_next_step(
    candide: Candide, settings: str, said: str
) -> None:
    candide.home.mkdir()
    (candide.home / "settings.toml").write_text(settings)
    done = candide.run("libraries")
    assert done.code == 2
    assert said in done.err
    assert "hint: " in done.err
