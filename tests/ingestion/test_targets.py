from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.domain.sources import Target
from candide.errors import BadRequest
from candide.ingestion.targets import parse


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    (tmp_path / "docs.jsonl").touch()
    (tmp_path / "docs.NDJSON.gz").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "été 1.txt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("report.pdf", "file", "report.pdf"),
        ("./folder/../report.pdf", "file", "report.pdf"),
        ("~/report.pdf", "file", "report.pdf"),
        ("folder/", "folder", "folder"),
        ("docs.jsonl", "jsonl", "docs.jsonl"),
        ("docs.NDJSON.gz", "jsonl", "docs.NDJSON.gz"),
        (" été 1.txt ", "file", "été 1.txt"),
    ],
)
def test_a_path_is_what_lies_there(here: Path, text: str, kind: str, name: str) -> None:
    target = parse(text)
    assert (target.kind, target.uri) == (kind, str(here / name))


def test_a_file_may_come_as_a_url(here: Path) -> None:
    assert parse(f"file://{here}/%C3%A9t%C3%A9%201.txt").uri == str(here / "été 1.txt")
    assert parse(f"file://localhost{here}/folder").kind == "folder"


@pytest.mark.parametrize(
    ("text", "asked", "kind", "uri"),
    [
        ("https://Example.com", None, "page", "https://example.com/"),
        ("HTTP://example.com/a?utm_source=x#y", None, "page", "http://example.com/a"),
        ("https://example.com/", "site", "site", "https://example.com/"),
        ("https://example.com/rss", "feed", "feed", "https://example.com/rss"),
        ("feed://example.com/rss", None, "feed", "https://example.com/rss"),
        ("feed:https://example.com/rss", None, "feed", "https://example.com/rss"),
        ("http://10.0.0.1:3000/wiki", None, "page", "http://10.0.0.1:3000/wiki"),
        ("http://localhost:8080/", None, "page", "http://localhost:8080/"),
    ],
)
def test_a_url_is_a_page_unless_more_is_asked_for(text: str, asked: str | None, kind: str, uri: str) -> None:
    target = parse(text, kind=asked)
    assert (target.kind, target.uri) == (kind, uri)


def test_a_kind_may_be_said(here: Path) -> None:
    assert parse("report.pdf", kind="jsonl").kind == "jsonl"
    assert parse("docs.jsonl", kind="file").kind == "file"
    assert parse("folder", kind="folder").kind == "folder"


@pytest.mark.parametrize(
    ("text", "kind", "message", "hint"),
    [
        ("", None, "a target is", None),
        ("a\x00b", None, "a target is", None),
        ("\udce9t\udce9.md", None, "in UTF-8", None),
        ("missing.pdf", None, "there is no file or folder", None),
        ("reprot.pdf", None, "there is no file or folder", "did you mean {here}/report.pdf?"),
        (
            "nowhere/report.pdf",
            None,
            "there is no file or folder",
            "there is no folder '{here}/nowhere' either",
        ),
        ("example.com/news", None, "there is no file or folder", "did you mean https://example.com/news?"),
        ("www.lemonde.fr", None, "there is no file or folder", "did you mean https://www.lemonde.fr?"),
        ("example.com", "site", "is no URL", "did you mean https://example.com?"),
        ("ftp://example.com/a", None, "only http, https and files", "https://"),
        ("s3://bucket/key", None, "only http, https and files", None),
        ("file://server/share", None, "another machine", "mount"),
        ("https://", None, "names no host", None),
        ("https:///x", None, "names no host", None),
        ("https://user:secret@example.com/", None, "password", None),
        ("http://0x7f.1/", None, "odd form", "decimal"),
        ("https://example.com/", "folder", "is on the web", "page, site, feed"),
        ("report.pdf", "folder", "is a file", None),
        ("folder", "jsonl", "is a folder", None),
        ("report.pdf", "sites", "no kind of target", "did you mean site?"),
        ("report.pdf", "zzz", "no kind of target", "it is one of"),
        ("~nobody-of-this-name/x", None, "there is no file or folder", None),
    ],
)
def test_what_cannot_be_added_is_said_with_what_could(
    here: Path, text: str, kind: str | None, message: str, hint: str | None
) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(text, kind=kind)
    assert message in refused.value.message
    if hint is not None:
        assert hint.format(here=here) in (refused.value.hint or "")


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(BadRequest) as refused:
        parse("https://user:secret@example.com/")
    assert "secret" not in str(refused.value)


def test_what_is_neither_a_file_nor_a_folder_is_no_target(here: Path) -> None:
    (here / "dangling").symlink_to("nowhere")
    for name in ("dangling", "/dev/null"):
        with pytest.raises(BadRequest, match="neither a file nor a folder"):
            parse(name)


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_target_or_refused(text: str) -> None:
    for typed in (text, f"https://{text}", f"file:{text}", f"{text}://x"):
        try:
            target = parse(typed)
        except BadRequest:
            continue
        assert isinstance(target, Target)
