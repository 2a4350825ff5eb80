"""`candide search` as a user types it, over a home with a library in it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from candide.domain.sources import Cut, Document, NewSource
from candide.index.embedded import EmbeddedIndex
from candide.index.indexer import Indexer
from candide.store.database import Database
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore

if TYPE_CHECKING:
    from conftest import Candide, Terminal

TEXT = "Voltaire a publié Candide en 1759. Le conte a été condamné à Genève."


def fill(home: Path, empty_database: Path) -> str:
    """Make a home with one library of one source; the source's id."""

    async def make() -> str:
        database = await Database.open(f"sqlite:///{home / 'candide.db'}", home / "backups")
        sources = SourceStore(database)
        library = await LibraryStore(database).create("Lumières")
        document = Document(
            title="Voltaire", text=TEXT, language="fr", site="a.example", published=1715904000.0
        )
        new = NewSource(
            key="1", uri="https://a.example/voltaire", kind="page", media_type="text/html", document=document,
            cuts=[Cut(0, len(TEXT))], content_hash="1", external_id="doc-1",
        )  # fmt: skip
        await sources.keep(library.id, [new])
        writer = EmbeddedIndex(home / "index")
        await Indexer(writer, sources, None).catch_up()
        await writer.close()
        [found] = await sources.list(library.id, limit=1)
        await database.close()
        return found.id

    home.mkdir(exist_ok=True)
    shutil.copy(empty_database, home / "candide.db")
    return asyncio.run(make())


def test_json_is_the_contract_for_machines(candide: Candide, empty_database: Path) -> None:
    source = fill(candide.home, empty_database)
    done = candide.run("search", "Qui a publié Candide ?", "--library", "lumieres", "--limit", "3", "--json")
    assert done.code == 0, done.err
    told = done.json()
    score = told["results"][0].pop("score")
    assert told == {
        "results": [
            {
                "source": {
                    "id": source,
                    "external_id": "doc-1",
                    "uri": "https://a.example/voltaire",
                    "title": "Voltaire",
                    "published": 1715904000.0,
                },
                "passage": {"start": 0, "end": len(TEXT), "text": TEXT},
            }
        ],
        "is_good": True,
    }
    assert 0 < score <= 1


def test_what_does_not_answer_is_not_passed_off_as_an_answer(candide: Candide, empty_database: Path) -> None:
    fill(candide.home, empty_database)
    for question, is_good in (
        ("Qui a publié Candide ?", True),
        ("Candide coûte combien en billet de train pour Madrid demain matin ?", False),
    ):
        done = candide.run("search", question)
        assert done.out.startswith("https://a.example/voltaire\t")
        assert ("none of these answers well" not in done.err) == is_good
        assert candide.run("search", question, "--json").json()["is_good"] == is_good
        done = candide.run("search", "--input", "-", stdin=json.dumps({"question": question}))
        assert json.loads(done.out)["is_good"] == is_good


def test_a_file_of_questions_is_answered_line_by_line_in_one_process(
    candide: Candide, empty_database: Path, tmp_path: Path
) -> None:
    fill(candide.home, empty_database)
    lines = [
        {"id": "a", "question": "Candide 1759"},
        {"id": 7, "question": "girafe"},
        {"question": "condamné"},
    ]
    last = json.dumps({"id": "last", "question": "condamné"})
    file = tmp_path / "questions.jsonl"
    bad = ['{"id": "bad"}', "not json", '{"question": " "}', '{"question": "-girafe"}']
    file.write_text("\n".join([*map(json.dumps, lines), "", *bad, last]))
    done = candide.run("search", "--input", str(file))
    told = [json.loads(line) for line in done.out.splitlines()]
    assert [(one["id"], len(one.get("results", []))) for one in told] == [
        ("a", 1), (7, 0), (None, 1), ("bad", 0), (None, 0), (None, 0), (None, 0), ("last", 1),
    ]  # fmt: skip
    for number, one in zip((5, 6, 7, 8), told[3:7], strict=True):
        assert one["error"]["message"].startswith(f"line {number}: ")
    assert "put a word before it" in told[6]["error"]["hint"]
    assert done.code == 1
    again = candide.run("search", "--input", "-", stdin=json.dumps(lines[0]))
    assert again.code == 0, again.err
    assert json.loads(again.out)["results"]


def test_in_a_pipe_each_result_is_a_line(candide: Candide, empty_database: Path) -> None:
    fill(candide.home, empty_database)
    done = candide.run("search", "candide -voltairine after:2024")
    assert done.out == f"https://a.example/voltaire\t0-{len(TEXT)}\tVoltaire\t{TEXT}\n"
    done = candide.run("search", "candide", "--after", "2025")
    assert (done.code, done.out) == (0, "")
    assert "nothing about 'candide'" in done.err


def test_an_operator_that_means_nothing_is_named_with_what_would_be_right(
    candide: Candide, empty_database: Path
) -> None:
    fill(candide.home, empty_database)
    done = candide.run("search", "candide before:foo", "--json")
    assert (done.code, done.json()["ignored"]) == (0, ["before:foo"])
    assert "'before:foo' was searched as words" in done.err
    assert "before:2024-05" in done.err


def test_what_is_wrong_is_said_with_the_next_step(candide: Candide) -> None:
    for arguments, code, words in (
        (("search", "x"), 2, "candide add"),
        (("search",), 2, "--input"),
        (("search", "x", "--input", "y"), 2, "not both"),
        (("search", "x", "--library", "none"), 2, "candide add"),
        (("search", "x", "--library", ""), 2, "the name of the library is empty"),
        (("search", "--", "-Altman"), 2, "candide search 'WORD -Altman'"),
        (("search", "site:lemonde.fr"), 2, "says where to look, and not for what"),
        (("search", "-Altman"), 2, "candide search 'WORD -Altman'"),
        (("search", "IA", "-loi"), 2, "candide search -- WORD -loi"),
        (("search", "--input", "/does/not/exist"), 2, "error"),
    ):
        done = candide.run(*arguments)
        assert (done.code, done.out) == (code, ""), arguments
        assert words in done.err, arguments


def test_an_address_is_not_torn_on_a_narrow_terminal(
    candide: Candide, empty_database: Path, terminal: Callable[..., Terminal]
) -> None:
    fill(candide.home, empty_database)
    screen = terminal("search", "Candide 1759", columns=24)
    assert screen.wait() == 0
    # What the terminal itself breaks, it gives whole when it is copied.
    assert b"   https://a.example/voltaire, characters" in screen.bytes.replace(b"\x1b[2m", b"")
