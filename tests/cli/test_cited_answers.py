"""Answers from libraries in a terminal and in a pipe: what they rest on, what was corrected, what could not be read."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rich.console import Console

from candide.cli.answer import BROKEN_OFF, NOT_BORNE_OUT, LiveView, RawView
from candide.domain.citations import Sentence
from candide.domain.turns import CitationsChecked, SearchStarted, SourcesFound, TextDelta, TurnFinished
from candide.engine.scripted import Reply, Script

from ..api.libraries import HARBOR, HARBOR_QUESTION, HARBOR_URL, QUESTION, make_library, wait_for
from ..conftest import EngineThread
from .conftest import Candide, Terminal

LENGTH = "La Seine est un fleuve français, long de 777 kilomètres [1]."
MISQUOTED = 'The page says: "the harbor cranes of Port Ambre lifted 42 containers before noon" [1].'
TALL = "\n\n".join([MISQUOTED, *(f"Paragraph {number} says nothing of note." for number in range(30))])
LAST = "It was a record of happy lighthouses [1]."

SCRIPT = Script(
    replies=[
        Reply(match="unwell", status=500),
        Reply(match="refuse", status=400, message="scripted refusal"),
        Reply(match="Tall, please", answer=TALL, pace_ms=10),
        Reply(match="Quote the page", answer=MISQUOTED, pace_ms=20),
        Reply(match="Quelle est la longueur", answer=f"{LENGTH} {LAST}"),
    ]
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Candide, str]]:
    """A home with a server that runs, and a library of a file, a page, and what cannot be read."""
    folder = tmp_path_factory.mktemp("library")
    engines = EngineThread()
    candide = Candide(tmp_path_factory.mktemp("home"), engines.start(SCRIPT))
    url = candide.serve().url
    library = make_library(url, folder)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 this is none")
    targets = [{"uri": str(folder / "broken.pdf")}]
    with httpx2.Client(base_url=url, timeout=30) as client:
        job = client.post(f"/api/libraries/{library}/targets", json={"targets": targets}).json()
        wait_for(lambda: client.get(f"/api/jobs/{job['id']}").json()["state"] == "finished")
    yield candide, url
    candide.end_all()
    engines.close()


@pytest.fixture
def candide(place: tuple[Candide, str]) -> Candide:
    return place[0]


@pytest.fixture
def terminal(candide: Candide) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, rows: int = 40, columns: int = 100) -> Terminal:
        command = [sys.executable, "-m", "candide", *arguments]
        opened.append(Terminal(command, candide.environment(), rows=rows, columns=columns))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def test_a_pipe_gets_the_checked_text_alone(candide: Candide) -> None:
    done = candide.run("ask", "--library", "mixed", f"{HARBOR_QUESTION} Quote the page.")
    assert done.code == 0
    assert "Port Ambre" not in done.out
    assert done.out.count("\n") == 1
    assert done.out.split('"')[1] in HARBOR
    assert f"[1] Harbor record · news.example.org · 2024-05-14 · {HARBOR_URL}" in done.err.replace(
        "record · 2024", "record · news.example.org · 2024"
    )


def test_what_could_not_be_read_is_said_and_what_is_not_borne_out(candide: Candide) -> None:
    done = candide.run("ask", "-l", "mixed", QUESTION)
    assert done.out == f"{LENGTH} {LAST}\n"
    lines = done.err.splitlines()
    assert lines[0].startswith("not read: ")
    assert "broken.pdf" in lines[0]
    assert lines[1].startswith("[1] La Seine · ")
    assert lines[1].endswith("/seine.md")
    assert lines[2] == f"no source bears out: “{LAST}”"


def test_json_is_the_object_that_programs_are_promised(place: tuple[Candide, str]) -> None:
    candide, url = place
    told = candide.run("ask", "--json", "--library", "mixed", f"{HARBOR_QUESTION} Quote the page.").json()
    assert {"answer", "abstained", "sources", "sentences", "model", "timings"} <= told.keys()
    assert told["abstained"] is False
    assert "Port Ambre" not in told["answer"]
    for source in told["sources"]:
        assert set(source) == {"number", "id", "external_id", "uri", "title"}
    (cited,) = [source for source in told["sources"] if source["number"] == 1]
    assert (cited["external_id"], cited["uri"], cited["title"]) == ("h-1", HARBOR_URL, "Harbor record")
    (sentence,) = told["sentences"]
    assert set(sentence) == {"text", "start", "end", "support", "citations"}
    assert told["answer"][sentence["start"] : sentence["end"]] == sentence["text"]
    assert sentence["support"] == "quoted"
    text = httpx2.get(f"{url}/api/sources/{cited['id']}/text", timeout=30).json()["text"]
    for citation in sentence["citations"]:
        assert set(citation) == {"number", "start", "end", "quote"}
        assert text[citation["start"] : citation["end"]] == citation["quote"]


def test_an_answer_without_a_search_has_the_same_members(candide: Candide) -> None:
    told = candide.run("ask", "--json", "Hello").json()
    assert (told["abstained"], told["sources"], told["sentences"]) == (False, [], [])


def test_where_the_engine_fails_an_extract_is_marked_as_such(candide: Candide) -> None:
    told = candide.run("ask", "--json", "-l", "mixed", f"unwell {HARBOR_QUESTION}").json()
    assert told["extract"] is True
    assert "42 containers before noon" in told["answer"]
    assert [one["support"] for one in told["sentences"]] == ["quoted"] * len(told["sentences"])
    done = candide.run("ask", "-l", "mixed", f"unwell {HARBOR_QUESTION}")
    assert done.code == 0
    assert "word for word" in done.err


def test_questions_of_a_file_are_answered_in_one_process(candide: Candide, tmp_path: Path) -> None:
    lines: list[Any] = [
        {"id": "a", "question": QUESTION},
        "not JSON",
        {"id": 7, "question": "Who won the chess tournament of Reykjavik in 1972?"},
        {"id": "b"},
        {"id": "c", "question": " "},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    done = candide.run("ask", "--library", "mixed", "--input", str(path))
    assert done.code == 1
    told = [json.loads(line) for line in done.out.splitlines()]
    assert [one["id"] for one in told] == ["a", None, 7, "b", "c"]
    assert ["error" in one for one in told] == [False, True, False, True, True]
    assert told[0]["sources"][0]["title"] == "La Seine"
    assert (told[2]["abstained"], told[2]["state"]) == (True, "finished")
    assert told[1]["error"]["message"].startswith("line 3: ")
    from_stdin = candide.run("ask", "-l", "mixed", "--input", "-", stdin=json.dumps(lines[0]))
    assert (from_stdin.code, json.loads(from_stdin.out)["id"]) == (0, "a")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--library", "nosuch", "x"], "there is no library 'nosuch'"),
        (["--library", "nosuch", "--input", "-"], "there is no library 'nosuch'"),
        (["--no-search", "--web", "x"], "--no-search goes with neither"),
        (["--input", "/nowhere", "x"], "--input goes without a question"),
        (["--input", "/nowhere"], "'/nowhere' cannot be read"),
    ],
)
def test_mistakes_leave_nothing_behind(candide: Candide, arguments: list[str], said: str) -> None:
    before = candide.run("conversations", "list", "--json").json()
    done = candide.run("ask", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert candide.run("conversations", "list", "--json").json() == before


def test_a_conversation_goes_on_searching_unless_it_is_told_not_to(candide: Candide) -> None:
    first = candide.run("ask", "--json", "-l", "mixed", QUESTION).json()
    chosen = ["-c", first["conversation_id"], "--json"]
    assert candide.run("ask", *chosen, QUESTION).json()["sources"] == first["sources"]
    assert candide.run("ask", *chosen, "--no-search", QUESTION).json()["sources"] == []


def test_a_terminal_is_painted_again_when_the_check_corrects(terminal: Callable[..., Terminal]) -> None:
    asked = terminal("ask", "-l", "mixed", f"{HARBOR_QUESTION} Quote the page.")
    text = asked.wait_for(r"^\[1\] Harbor record")
    assert asked.wait() == 0
    assert "Port Ambre" not in text
    assert text.count("42 containers before noon") == 1
    assert text.index("not read: ") < text.index("The page says")


def test_the_waiting_line_says_that_it_is_searched() -> None:
    written = io.StringIO()
    view = LiveView(Console(file=written, force_terminal=True, width=80))
    view.show(SearchStarted(query="x", libraries=["rivers", "harbors"], web=True))
    view.tick()
    assert "searching rivers, harbors, the web" in written.getvalue()
    view.show(SourcesFound(query="x", sources=[]))
    view.tick()
    assert "0 sources found · waiting for the model" in written.getvalue()
    view.close()


@pytest.mark.parametrize(("finish_reason", "note"), [("stop", NOT_BORNE_OUT), ("extract", BROKEN_OFF)])
def test_between_the_model_and_the_sources_stands_why_they_speak(
    finish_reason: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "She fled.\n\n« She stayed. » [1]"
    quoted = Sentence(text="« She stayed. » [1]", start=11, end=len(text), support="quoted")
    written = io.StringIO()
    for view in (RawView(), LiveView(Console(file=written, force_terminal=True, width=100))):
        view.show(SearchStarted(query="x", libraries=[], web=False))
        view.show(TextDelta(text="She fled."))
        view.show(CitationsChecked(text=text, extract=[quoted]))
        view.show(TurnFinished(state="finished", finish_reason=finish_reason))
        view.close()
    for shown in (capsys.readouterr().out, written.getvalue()):
        assert shown.rindex("She fled.") < shown.index(note) < shown.index("She stayed.")


def test_what_can_no_longer_be_painted_is_told(terminal: Callable[..., Terminal]) -> None:
    asked = terminal("ask", "-l", "mixed", f"{HARBOR_QUESTION} Tall, please.", rows=10)
    asked.wait_for(r"^\[1\] Harbor record")
    assert asked.wait() == 0
    before, told, after = asked.text.partition("corrected this answer; it is now:")
    assert told
    assert "Port Ambre" in before
    assert "Port Ambre" not in after
    assert "42 containers before noon" in after


def test_chat_answers_from_libraries(terminal: Callable[..., Terminal]) -> None:
    chat = terminal("chat", "--new")
    chat.wait_for_prompt()
    chat.send("/library nosuch")
    chat.wait_for("there is no library 'nosuch'")
    chat.wait_for_prompt()
    chat.send("/library Mixed")
    chat.wait_for("answers come from mixed")
    chat.wait_for_prompt()
    chat.send(QUESTION)
    chat.wait_for(r"^\[1\] La Seine")
    chat.wait_for("no source bears out: “It was a record")
    chat.wait_for_prompt()
    chat.send("/library")
    chat.wait_for(r"^  \* mixed +2 sources")
    chat.wait_for_prompt()
    chat.send("/web")
    chat.wait_for("the web cannot be searched here: no search engine is set")
    chat.wait_for_prompt()
    chat.send("/new")
    chat.wait_for(r"a new conversation\nanswers come from mixed$")
    chat.wait_for_prompt()
    chat.send(QUESTION)
    chat.wait_for(r"^\[1\] La Seine", count=2)
    chat.wait_for_prompt()
    chat.send("/library off")
    chat.wait_for("nothing is searched")
    chat.wait_for_prompt()
    chat.send("/quit")
    assert chat.wait() == 0
    again = terminal("chat")
    again.wait_for(r"^\[1\] La Seine")
    again.wait_for_prompt()
