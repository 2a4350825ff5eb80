"""The page tells reasons in its reader's language by the server's words: they must be words that the server says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ENTRY = re.compile(r"^  \[/(?P<words>.+)/, 'reason\.(?P<key>\w+)'\]", re.MULTILINE)
PATTERN = re.compile(r"\(\?<\w+>[^)]*\)|\([^)]*\)\??|\[[^\]]*\]\+?|\\[bdw]\+?|[.^$]\+?|\\")
"""What in an expression of the page stands for no letters of its own."""


def read_words() -> list[tuple[str, str]]:
    text = (REPOSITORY / "web/src/stores/reasons.ts").read_text(encoding="utf-8")
    return [
        (entry["key"], alternative)
        for entry in ENTRY.finditer(text)
        for alternative in re.split(r"\|(?![^(]*\))", entry["words"])
    ]


@pytest.fixture(scope="module")
def server() -> str:
    files = sorted((REPOSITORY / "src/candide").rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_the_page_knows_reasons() -> None:
    assert len({key for key, _ in read_words()}) > 15


@pytest.mark.parametrize(("key", "words"), read_words())
def test_words_that_the_page_looks_for_are_said_by_the_server(key: str, words: str, server: str) -> None:
    longest = max(PATTERN.sub("\0", words).split("\0"), key=len)
    assert len(longest.strip()) > 3
    assert longest in server, f"nothing says '{longest}' any more, which is how the page knows '{key}'"
