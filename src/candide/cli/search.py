"""`candide search`: passages of the user's own sources, for people and for pipes.

Standard output carries the results alone: laid out on a terminal, separated by tabs in a pipe, with `--json` one
document. With `--input` each line of a file is a question, and each result one line as soon as it is there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from candide.cli.client import PassagesView, ResultView
from candide.cli.connection import connect
from candide.cli.output import plain_text, print_json, print_note, print_warning
from candide.domain.retrieval import Filters
from candide.errors import BadRequest, CandideError, NotFound
from candide.retrieval.query import explain_operator, parse_query

if TYPE_CHECKING:
    from candide.settings import Settings

Wishes = Mapping[str, "str | Sequence[str]"]


LineId = str | int | float | None


class Asked(msgspec.Struct):
    """A line of the input."""

    question: str
    id: LineId = None


class Numbered(msgspec.Struct):
    """A line of which the id alone is looked at."""

    id: LineId = None


async def search(settings: Settings, query: str, wishes: Wishes, *, as_json: bool) -> None:
    """Print what is found. Raises NotFound where there is nothing that could be searched."""
    _check_query(query)
    async with connect(settings) as client:
        found = await client.find_passages(query, wishes)
        _check(found)
    for written in found.ignored:
        print_warning(
            f"'{written}' was searched as words: behind the colon belongs {explain_operator(written)}"
        )
    if as_json:
        print_json(_describe(found))
        return
    if not found.results:
        print_note(f"nothing about '{query}'")
    elif not found.is_good:
        print_note("none of these answers well: they are the nearest")
    if sys.stdout.isatty():
        _show(found.results)
    else:
        for result in found.results:
            source, passage = result.source, result.passage
            cells = (source.uri, f"{passage.start}-{passage.end}", source.title, passage.text)
            sys.stdout.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")


async def search_all(settings: Settings, path: str, wishes: Wishes) -> int:
    """Answer the questions of a file, a line of JSON each, in their order; the exit code.

    A line that is no question, or that cannot be searched for, gets an `error` instead of results, and makes the exit
    code 1.
    """
    code = 0
    missing: set[str] = set()
    async with connect(settings) as client:
        # Before the first question, so that what is wrong with all of them is said once.
        _check(await client.find_passages("?", wishes))
        for number, line in read_lines(path):
            answer: dict[str, Any] = {"id": read_id(line)}
            try:
                asked = read_asked(line)
                _check_query(asked.question)
                found = await client.find_passages(asked.question, wishes)
                answer |= _describe(found)
                missing.update(found.missing)
            except CandideError as error:
                code = 1
                answer["error"] = describe_failure(number, error)
            sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
            sys.stdout.flush()
    if missing:
        _warn(missing)
    return code


def read_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers; `-` is standard input. Raises BadRequest."""
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if text := line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
                    yield number, text
    except OSError as error:
        raise BadRequest(f"'{path}' cannot be read: {error.strerror}", param="input") from error


def read_id(line: bytes) -> LineId:
    """The id of a line of the input, also of one that asks nothing; None where it has none."""
    try:
        return msgspec.json.decode(line, type=Numbered).id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def read_asked(line: bytes) -> Asked:
    """What a line of the input asks. Raises BadRequest."""
    try:
        asked = msgspec.json.decode(line, type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(
            str(error), code="invalid_json", hint='each line is an object like {"id": 1, "question": "Who?"}'
        ) from error
    if not asked.question.strip():
        raise BadRequest("the question is empty", param="question")
    return asked


def describe_failure(number: int, error: CandideError) -> dict[str, Any]:
    """The `error` of a line of the input."""
    return {"code": error.code, "message": f"line {number}: {error.message}", "hint": error.hint}


def _check_query(query: str) -> None:
    """Raises BadRequest for one that only says what must not be there, or where: nothing could be found for it."""
    asked = parse_query(query, now=time.time(), find_library=lambda name: name)
    if asked.text.strip():
        return
    example = f"candide search 'WORD {query}'"
    if asked.without:
        raise BadRequest(
            f"'{query}' says what to leave out, and not what to look for",
            hint=f"put a word before it: {example}",
        )
    if asked.filters != Filters():
        raise BadRequest(
            f"'{query}' says where to look, and not for what", hint=f"put a word before it: {example}"
        )


def _check(found: PassagesView) -> None:
    if not found.libraries:
        raise NotFound(
            "there is no library to search yet",
            hint="candide add TARGET --library NAME makes one of a file or a page",
        )
    if found.missing:
        _warn(found.missing)


def _warn(missing: Iterable[str]) -> None:
    print_warning(f"a part of the search did not work: {', '.join(sorted(missing))}")


def _describe(found: PassagesView) -> dict[str, Any]:
    described: dict[str, Any] = {
        "results": [_describe_result(result) for result in found.results],
        "is_good": found.is_good,
    }
    if found.ignored:
        described["ignored"] = found.ignored
    return described


def _describe_result(result: ResultView) -> dict[str, Any]:
    source, passage = result.source, result.passage
    return {
        "source": {
            "id": source.id,
            "external_id": source.external_id,
            "uri": source.uri,
            "title": source.title,
            "published": source.published,
        },
        "passage": {"start": passage.start, "end": passage.end, "text": passage.text},
        "score": result.score,
    }


def _show(results: Sequence[ResultView]) -> None:
    """Rank, title, site and date of each, the passage with what was looked for, and where it stands."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    for rank, result in enumerate(results, 1):
        source, passage = result.source, result.passage
        published = (
            "" if source.published is None else f"{datetime.fromtimestamp(source.published, UTC):%Y-%m-%d}"
        )
        origin = " · ".join(part for part in (plain_text(source.site), published) if part)
        title = plain_text(source.title) or plain_text(source.uri)
        console.print(Text.assemble((f"{rank:2} ", "dim"), (title, "bold"), (f"  {origin}", "dim")))
        console.print(Padding(_mark(result), (0, 0, 0, 3)))
        page = f", page {passage.page}" if passage.page is not None else ""
        headings = f" › {plain_text(passage.headings)}" if passage.headings else ""
        where = f"{plain_text(source.uri)}{headings}{page}, characters {passage.start}-{passage.end}"
        # Broken by the terminal alone, so that an address can be copied.
        console.print(Text(f"   {where}\n", "dim"), soft_wrap=True)


def _mark(result: ResultView) -> Any:
    """The passage in one paragraph, what was looked for in bold."""
    from rich.text import Text

    marked = Text()
    at = 0
    text = result.passage.text
    for start, end in result.highlights:
        marked.append(_flatten(text[at:start]))
        marked.append(_flatten(text[start:end]), "bold yellow")
        at = end
    return marked.append(_flatten(text[at:]))


def _flatten(text: str) -> str:
    """One line of it, with a space at either end where there was any."""
    flat = " ".join(plain_text(text).split())
    return f"{' ' if text[:1].isspace() else ''}{flat}{' ' if text[-1:].isspace() and flat else ''}"
