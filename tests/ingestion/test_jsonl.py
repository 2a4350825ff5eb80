from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candide.ingestion.jsonl import BadLine, JsonDocument, read, read_date


def write(folder: Path, *lines: str | bytes | dict[str, Any], name: str = "a.jsonl") -> Path:
    path = folder / name
    content = b"".join(
        (line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode())
        + b"\n"
        for line in lines
    )
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_documents_are_read_with_all_that_they_bring(tmp_path: Path, name: str) -> None:
    path = write(
        tmp_path,
        {
            "_id": "d1",
            "title": "Un",
            "text": "Texte.",
            "url": "https://e.x/1",
            "language": "fr-CA",
            "published": "2024-05-01",
        },
        {"id": 7, "text": "Second.", "published": 1714521600.5, "other": [1, 2]},
        {"text": "Third."},
        name=name,
    )
    first, second, third = read(path)
    assert first == JsonDocument(
        position=first.position,
        line=1,
        external_id="d1",
        title="Un",
        text="Texte.",
        url="https://e.x/1",
        language="fr",
        published=1714521600.0,
    )
    assert second == JsonDocument(
        position=second.position, line=2, external_id="7", text="Second.", published=1714521600.5
    )
    assert third == JsonDocument(position=third.position, line=3, text="Third.")


def test_a_bad_line_costs_itself_alone(tmp_path: Path) -> None:
    good = {"_id": "x", "text": "good"}
    bad: list[tuple[str | bytes | dict[str, Any], str]] = [
        ("{", "no JSON"),
        ("[1, 2]", "no object"),
        ('"text"', "no object"),
        ("null", "no object"),
        ({"title": "only"}, "no `text`"),
        ({"text": ""}, "no `text`"),
        ({"text": " \n"}, "no `text`"),
        ({"text": 5}, "no `text`"),
        ({"text": "x", "_id": "i" * 600}, "an id of more"),
        (b'{"text": "\xff\xfe"}', "no JSON"),
        ('{"text": "\\ud800"}', "no JSON"),
        ('{"text": "a", "x": 1e999}', "no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"text": ' + "[" * 50_000 + "]" * 50_000 + "}", "nested too deeply"),
        (b"\x00" * 50, "no JSON"),
        ('{"text": "a"} {"text": "b"}', "no JSON"),
    ]
    lines: list[Any] = []
    for line, _ in bad:
        lines += [line, good]
    found = list(read(write(tmp_path, *lines)))
    assert len(found) == 2 * len(bad)
    for (line, reason), problem, document in zip(bad, found[::2], found[1::2], strict=True):
        assert isinstance(problem, BadLine), line
        assert reason in problem.reason
        assert isinstance(document, JsonDocument)
        assert document.line == problem.line + 1


def test_a_line_that_is_too_long_is_stepped_over_without_being_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "before"}\n{"text": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"text": "after"}\n')
    tracemalloc.start()
    before, long, after = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(before, JsonDocument)
    assert isinstance(long, BadLine)
    assert "longer than 16 MiB" in long.reason
    assert isinstance(after, JsonDocument)
    assert (after.text, after.line, after.position) == ("after", 3, path.stat().st_size)
    assert peak < 40 << 20


def test_reading_goes_on_from_any_line(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz"):
        lines: list[Any] = [
            {"_id": str(number), "text": "x" * random.randint(1, 50)} for number in range(200)
        ]
        lines[50], lines[70], lines[199] = "", "{", ""
        path = write(tmp_path, *lines, name=name)
        whole = list(read(path))
        for index, found in enumerate(whole):
            assert list(read(path, found.position)) == whole[index + 1 :]


def test_a_text_is_kept_letter_by_letter(tmp_path: Path) -> None:
    text = "  One\r\n\ttwo\u2028three 𝄞 e\u0301\n "
    first, second = read(write(tmp_path, {"text": text}, {"text": "a\x00b", "_id": "c\x00d"}))
    assert isinstance(first, JsonDocument)
    assert first.text == text
    assert isinstance(second, JsonDocument)
    assert (second.text, second.external_id) == ("a b", "c d")


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\r\n{"text": "two"}')
    one, two = read(path)
    assert isinstance(one, JsonDocument)
    assert isinstance(two, JsonDocument)
    assert (one.text, two.text, two.line) == ("one", "two", 3)
    assert two.position == path.stat().st_size
    assert list(read(path, two.position)) == []
    assert list(read(path, two.position + 1_000)) == []


def test_an_empty_file_has_no_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for content in (b"", b"\n\n \n", b"\xef\xbb\xbf"):
        path.write_bytes(content)
        assert list(read(path)) == []


@pytest.mark.parametrize("seed", range(12))
def test_a_packed_file_that_is_damaged_gives_what_comes_before(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    lines = b"".join(b'{"text": "%d"}\n' % chance.getrandbits(100) for _ in range(5_000))
    packed = gzip.compress(lines)
    path = tmp_path / "a.jsonl.gz"
    for damaged in (
        packed[: len(packed) // 2],
        packed[:-4] + b"\x00\x00\x00\x00",
        packed[:60_000] + b"x" * 500 + packed[60_500:],
    ):
        path.write_bytes(damaged)
        *good, last = read(path)
        assert good
        assert isinstance(last, BadLine)
        assert "damaged" in last.reason
        # Whoever goes on from there comes to the same end.
        *_, again = read(path, last.position)
        assert again == last


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read(tmp_path / "none.jsonl"))


def test_many_lines_take_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        for number in range(20_000):
            file.write(f'{{"_id": "{number}", "title": "T", "text": "{"word " * 20}"}}\n')
    tracemalloc.start()
    count = sum(isinstance(found, JsonDocument) for found in read(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 3 << 20


line_contents = st.one_of(
    st.builds(lambda text: json.dumps({"text": text}).encode(), st.text(min_size=1, max_size=30)),
    st.builds(
        lambda text: json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "replace"),
        st.text(max_size=30),
    ),
    st.binary(max_size=40).map(lambda content: content.replace(b"\n", b"")),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(line_contents, max_size=12), st.booleans(), st.sampled_from([b"\n", b"\r\n"]))
def test_positions_are_the_ends_of_lines(tmp_path: Path, lines: list[bytes], ends: bool, end: bytes) -> None:
    content = end.join(lines) + (end if ends else b"")
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    if content.startswith(b"\x1f\x8b"):
        return
    found = list(read(path))
    positions = [one.position for one in found]
    assert positions == sorted(set(positions))
    for one in found:
        assert one.position == len(content) or content[one.position - 1 : one.position] == b"\n"
        assert content[: one.position].count(b"\n") == one.line - (
            not content[: one.position].endswith(b"\n")
        )
        assert list(read(path, one.position)) == [other for other in found if other.position > one.position]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2024-05-01", 1714521600.0),
        ("2024-05-01T02:00:00+02:00", 1714521600.0),
        ("2024-05-01T00:00:00Z", 1714521600.0),
        ("2024-05-01 00:00", 1714521600.0),
        ("2024-05", 1714521600.0),
        ("2024", 1704067200.0),
        ("1714521600", 1714521600.0),
        (1714521600, 1714521600.0),
        (1714521600000, 1714521600.0),
        (0, 0.0),
        (-86400, -86400.0),
        ("1936-05-01", -1062547200.0),
        (True, None),
        (None, None),
        ("soon", None),
        ("", None),
        ("2024-13-45", None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ([], None),
    ],
)
def test_a_date_is_read_in_the_ways_that_it_is_written(value: object, seconds: float | None) -> None:
    assert read_date(value) == seconds


@given(st.one_of(st.text(max_size=30), st.floats(), st.integers()))
def test_whatever_is_given_as_a_date_is_seconds_or_none(value: object) -> None:
    seconds = read_date(value)
    assert seconds is None or abs(seconds) < 1e12
