"""`candide add` and what goes with it: libraries, sources, remove, refresh, jobs."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Candide, Terminal


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "figs.md").write_text("# Figs\n\nThe fig tree bears fruit in the warm garden of August.\n")
    (docs / "pears.txt").write_text("A pear ripens from the inside, which is why it is picked early.\n")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing of a PDF")
    return docs


def use_words_only(candide: Candide) -> None:
    """Have this home make no vectors, which takes long."""
    candide.home.mkdir(parents=True)
    (candide.home / "settings.toml").write_text("embeddings = false\n")


def write_corpus(path: Path, count: int) -> Path:
    with path.open("w") as file:
        for n in range(count):
            file.write(json.dumps({"_id": str(n), "text": f"The garden has bed {n}. " * 8}) + "\n")
    return path


def test_what_is_added_is_found_listed_refreshed_and_removed(candide: Candide, docs: Path) -> None:
    use_words_only(candide)
    candide.serve()
    done = candide.run("add", str(docs), "--library", "Été")
    assert (done.code, done.out) == (0, "")
    assert "Été: 2 added, 1 could not be read" in done.err
    assert f"warning: {docs / 'broken.pdf'}: " in done.err
    assert "by meaning they are not" in done.err

    (library,) = candide.run("libraries", "--json").json()
    assert (library["name"], library["sources"]) == ("Été", 2)
    listed = candide.run("sources", "-l", "ete", "--json").json()
    assert {source["title"] for source in listed} == {"Figs", "pears"}
    assert candide.run("sources", "--targets").out.startswith(f"{docs}\tfolder\tÉté\ton request\t")
    found = candide.run("search", "fig tree", "--library", "Été", "--json").json()
    assert found["results"][0]["source"]["title"] == "Figs"

    (docs / "figs.md").unlink()
    again = candide.run("refresh", str(docs))
    assert again.code == 0
    assert "1 unchanged, 1 removed, 1 could not be read" in again.err

    removed = candide.run("remove", str(docs))
    assert removed.code == 0
    assert f"removed '{docs}' and 1 source of it" in removed.err
    assert candide.run("sources", "--json").json() == []
    deleted = candide.run("remove", "--library", "Été")
    assert f"candide libraries restore {library['id']}" in deleted.err
    restored = candide.run("libraries", "restore", library["id"])
    assert (restored.code, "'Été' is back, with 0 sources" in restored.err) == (0, True)
    renamed = candide.run("libraries", "rename", "ete", "Hiver")
    assert "'Été' is now 'Hiver'" in renamed.err
    assert candide.run("libraries", "rename", "Hiver", "Été", "--json").json()["name"] == "Été"
    assert candide.run("libraries", "delete", "Été", "--json").json()["id"] == library["id"]
    assert candide.run("libraries", "restore", library["id"], "--json").json()["name"] == "Été"
    assert candide.run("libraries").out.startswith("Été\t0\t")


def test_one_source_is_removed_by_its_address(candide: Candide, docs: Path) -> None:
    use_words_only(candide)
    candide.serve()
    candide.run("add", str(docs), "-l", "Garden")
    removed = candide.run("remove", str(docs / "pears.txt"), "-l", "Garden", "--json")
    assert removed.code == 0
    told = removed.json()
    assert ([one["uri"] for one in told["sources"]], told["targets"]) == ([str(docs / "pears.txt")], [])
    assert f"it comes back when '{docs}' is refreshed" in removed.err
    (left,) = candide.run("sources", "--json").json()
    assert left["title"] == "Figs"


def test_the_exit_code_says_whether_anything_was_read(candide: Candide, docs: Path) -> None:
    use_words_only(candide)
    candide.serve()
    nothing = candide.run("add", str(docs / "broken.pdf"), "-l", "Garden", "--json")
    assert nothing.code == 1
    (job,) = nothing.json()
    assert (job["state"], job["progress"]["failed"], job["problems"][0]["uri"]) == (
        "finished", 1, str(docs / "broken.pdf"),
    )  # fmt: skip
    assert "positions" not in job["progress"]
    both = candide.run("add", str(docs / "broken.pdf"), str(docs / "pears.txt"), "-l", "Garden")
    assert both.code == 0


MISTAKES = {
    ("add", "/no/such/place", "-l", "x"): "there is no file or folder '/no/such/place'",
    ("add", "www.example.org", "-l", "x"): "did you mean https://www.example.org?",
    ("add", "https://example.org", "-l", "x", "--every", "often"): "'often' is no interval",
    ("add", "https://example.org", "-l", "x", "--watch"): "only folders are watched",
    ("refresh",): "nothing was added yet",
    ("refresh", "/elsewhere"): "'/elsewhere' was not added to any library",
    ("sources", "-l", ""): "the name of the library is empty",
    ("refresh", "-l", ""): "the name of the library is empty",
    ("add", ".", "-l", " "): "the name of the library is empty",
    ("remove",): "say what to remove",
    ("remove", "/elsewhere"): "there is no target and no source '/elsewhere'",
    ("sources", "-l", "y"): "there is no library 'y'",
    ("libraries", "delete", "y"): "there is no library 'y'",
    ("jobs", "cancel", "job_none"): "there is no job 'job_none'",
}


def test_mistake_of_the_caller_ends_with_2_and_the_next_step(candide: Candide) -> None:
    candide.serve()
    for arguments, said in MISTAKES.items():
        done = candide.run(*arguments)
        assert (done.code, done.out) == (2, ""), done.err
        assert said in done.err


def test_ctrl_c_pauses_a_job_of_ones_own_and_resume_goes_on(candide: Candide, tmp_path: Path) -> None:
    use_words_only(candide)
    corpus = write_corpus(tmp_path / "corpus.jsonl", 2000)
    process = candide.start("add", str(corpus), "-l", "Garden")
    deadline = time.monotonic() + 60
    while not any(candide.home.glob("index/words/*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "paused; candide jobs resume job_" in err.decode()
    (job,) = candide.run("jobs", "--json").json()
    assert job["state"] == "paused"
    assert 0 < job["progress"]["done"] < 2000
    done = candide.run("jobs", "resume", job["id"])
    assert done.code == 0
    assert candide.run("libraries", "--json").json()[0]["sources"] == 2000


def test_a_running_server_reads_on_without_the_command(candide: Candide, docs: Path) -> None:
    use_words_only(candide)
    candide.serve()
    done = candide.run("add", str(docs), "-l", "Garden", "--no-wait")
    assert done.code == 0
    assert "is read behind this; candide jobs shows job_" in done.err
    deadline = time.monotonic() + 60
    while candide.run("jobs", "--json").json()[0]["state"] != "finished":
        assert time.monotonic() < deadline
    assert candide.run("libraries").out.startswith("Garden\t2\t")


def test_a_terminal_shows_how_far_it_is(
    candide: Candide, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    use_words_only(candide)
    corpus = write_corpus(tmp_path / "corpus.jsonl", 1200)
    screen: Any = terminal("add", str(corpus), "-l", "Garden", columns=100)
    screen.wait_for(r"Garden .*\d+/\d+ read")
    screen.wait_for("Garden: 1200 added")
    assert screen.wait() == 0


def test_an_id_is_whole_on_a_terminal_of_any_width(
    candide: Candide, terminal: Callable[..., Terminal], docs: Path
) -> None:
    use_words_only(candide)
    candide.serve()
    candide.run("add", str(docs), "-l", "Bibliothèque municipale")
    ids = {one["id"] for one in candide.run("sources", "--json").json()}
    ids |= {one["id"] for one in candide.run("sources", "--targets", "--json").json()}
    ids |= {one["id"] for one in candide.run("libraries", "--json").json()}
    ids |= {one["id"] for one in candide.run("jobs", "--json").json()}
    for columns in (60, 80, 120):
        shown = ""
        for arguments in (("sources",), ("sources", "--targets"), ("libraries",), ("jobs",)):
            screen: Any = terminal(*arguments, columns=columns)
            assert screen.wait() == 0
            shown += screen.text
        for one in ids:
            assert one in shown, shown


def test_progress_counts_nothing_before_it_is_known_what_there_is(tmp_path: Path) -> None:
    from candide.cli.add import say_count
    from candide.domain.jobs import Job, Progress

    def say(state: Any, **progress: Any) -> str:
        return say_count(
            Job(id="j", library_id="l", state=state, target_ids=[], progress=Progress(**progress))
        )

    assert say("queued") == "waiting"
    assert say("running") == "counting"
    assert say("running", found=3) == "0 of 3"
