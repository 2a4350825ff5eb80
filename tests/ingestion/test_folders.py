from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candide.domain.jobs import Problem
from candide.ingestion.folders import Change, File, look_at, walk, watch


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def names(folder: Path, *patterns: str) -> list[str]:
    return [os.path.relpath(file.path, folder) for file in walk(folder, patterns) if isinstance(file, File)]


def test_documents_are_found_wherever_they_lie(tmp_path: Path) -> None:
    make(tmp_path, "b.md", "a.PDF", "sub/deep/c.docx", "sub/d.html", "é/f.txt")
    assert names(tmp_path) == ["a.PDF", "b.md", "sub/d.html", "sub/deep/c.docx", "é/f.txt"]


def test_what_is_no_document_is_left_out(tmp_path: Path) -> None:
    make(
        tmp_path,
        "a.md",
        "photo.jpg",
        "program",
        "archive.zip",
        "~$a.docx",
        ".hidden.md",
        ".git/config.md",
        ".venv/x.md",
        "node_modules/p/README.md",
        "__pycache__/x.txt",
        "CVS/x.txt",
    )
    assert names(tmp_path) == ["a.md"]


def test_patterns_say_what_is_wanted(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "b.PY", "reports/c.md", "reports/2024/d.md", "x.jpg")
    assert names(tmp_path, "*.py", "*.jpg") == ["b.PY", "x.jpg"]
    assert names(tmp_path, "reports/*.md") == ["reports/c.md", "reports/2024/d.md"]
    assert names(tmp_path, "c.*") == ["reports/c.md"]
    assert names(tmp_path, "[") == []


def test_links_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    make(inside, "a.md", "sub/b.md")
    make(outside, "secret.md")
    (inside / "out.md").symlink_to(outside / "secret.md")
    (inside / "relative.md").symlink_to("../outside/secret.md")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "sub" / "up").symlink_to("..")
    (inside / "dangling.md").symlink_to("nowhere.md")
    (inside / "self.md").symlink_to("self.md")
    (inside / "in.md").symlink_to("sub/b.md")
    (inside / "chain.md").symlink_to("out.md")
    assert names(inside) == ["a.md", "in.md", "sub/b.md"]


def test_a_folder_that_is_a_link_itself_is_followed(tmp_path: Path) -> None:
    make(tmp_path / "real", "a.md")
    (tmp_path / "link").symlink_to("real")
    assert [file.path for file in walk(tmp_path / "link") if isinstance(file, File)] == [
        str((tmp_path / "real" / "a.md").resolve())
    ]


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    make(tmp_path, "a.txt")
    (tmp_path / "folder.txt").mkdir()
    assert names(tmp_path) == ["a.txt"]
    assert look_at(tmp_path / "pipe.txt") is None
    assert look_at(tmp_path / "none.txt") is None


def test_a_folder_that_is_gone_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(walk(tmp_path / "gone"))
    with pytest.raises(NotADirectoryError):
        list(walk(make(tmp_path, "a.txt") / "a.txt"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_part_that_must_not_be_looked_at_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "closed/b.md")
    (tmp_path / "closed").chmod(0)
    try:
        file, problem = walk(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert isinstance(file, File)
    assert isinstance(problem, Problem)
    assert problem.uri.endswith("closed")


def test_a_name_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path, "a.md")
    for name in (b"\xe9t\xe9.md", b"\xff"):
        path = os.path.join(os.fsencode(tmp_path), name)
        try:
            os.mkdir(path) if name == b"\xff" else open(path, "w").close()
        except OSError:
            pytest.skip("this file system takes only UTF-8")
    file, folder, other = sorted(walk(tmp_path), key=lambda found: isinstance(found, Problem))
    assert isinstance(file, File)
    for problem in (folder, other):
        assert isinstance(problem, Problem)
        assert "\ufffd" in problem.uri
        assert problem.uri.encode()


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    path = make(tmp_path, "a.md") / "a.md"
    stamps: list[str] = []
    for content, modified in (("one", 1), ("two", 2), ("three", 2)):
        path.write_text(content)
        os.utime(path, ns=(modified, modified))
        file = look_at(path)
        assert file is not None
        stamps.append(file.stamp)
    assert len(set(stamps)) == 3


parts = st.text(st.sampled_from("ab.~$ é-"), min_size=1, max_size=4).filter(
    lambda part: part.strip(".") != ""
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.lists(parts, min_size=1, max_size=3), max_size=8))
def test_a_walk_finds_each_file_that_is_not_hidden_once(
    tmp_path_factory: pytest.TempPathFactory, tree: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("walk")
    made: set[str] = set()
    for path in tree:
        try:
            make(folder, "/".join(path) + ".txt")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        made.add("/".join(path) + ".txt")
    wanted = {path for path in made if not any(part.startswith(".") for part in path.split("/"))}
    found = names(folder, "*.txt")
    assert len(found) == len(set(found))
    assert set(found) == wanted


# --- watching ---


async def next_change(changes: AsyncIterator[Change]) -> tuple[list[str], list[str]]:
    change = await asyncio.wait_for(anext(changes), 20)
    return sorted(Path(file.path).name for file in change.changed), sorted(
        Path(path).name for path in change.removed
    )


async def test_what_changes_in_a_folder_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "sub/b.md", "c.md")
    changes = watch(tmp_path, known={}, interval_s=0.05)
    assert await next_change(changes) == (["a.md", "b.md", "c.md"], [])
    (tmp_path / "a.md").write_text("changed")
    assert await next_change(changes) == (["a.md"], [])
    (tmp_path / "sub" / "b.md").unlink()
    assert await next_change(changes) == ([], ["b.md"])
    make(tmp_path, "new/d.md", ".hidden.md", "x.jpg")
    assert await next_change(changes) == (["d.md"], [])
    (tmp_path / "c.md").rename(tmp_path / "e.md")
    removed: list[str] = []
    added: list[str] = []
    while not (added and removed):
        changed, gone = await next_change(changes)
        added += changed
        removed += gone
    assert (added, removed) == (["e.md"], ["c.md"])
    await changes.aclose()


async def test_what_was_read_before_is_not_told_again(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "b.md")
    known = {file.path: file.stamp for file in walk(tmp_path) if isinstance(file, File)}
    (tmp_path / "b.md").write_text("while nobody looked")
    known[str(tmp_path.resolve() / "gone.md")] = "1-1"
    changes = watch(tmp_path, known=known, interval_s=0.05)
    assert await next_change(changes) == ([], ["gone.md"])
    assert await next_change(changes) == (["b.md"], [])
    await changes.aclose()


async def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    changes = watch(tmp_path, known={}, interval_s=0.2)
    path = tmp_path / "a.md"
    told = asyncio.ensure_future(next_change(changes))
    for number in range(40):
        with path.open("a") as file:
            file.write(f"{number}\n")
        await asyncio.sleep(0.02)
    size = path.stat().st_size
    assert await told == (["a.md"], [])
    assert path.stat().st_size == size
    await changes.aclose()


async def test_a_drive_that_is_away_is_not_taken_for_files_that_were_removed(tmp_path: Path) -> None:
    folder = make(tmp_path / "drive", "a.md")
    changes = watch(folder, interval_s=0.05)
    told = asyncio.ensure_future(next_change(changes))
    await asyncio.sleep(0.2)
    folder.rename(tmp_path / "away")
    await asyncio.sleep(0.3)
    assert not told.done()
    (tmp_path / "away").rename(folder)
    make(folder, "b.md")
    assert await told == (["b.md"], [])
    await changes.aclose()
