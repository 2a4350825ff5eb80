"""Libraries, sources, passages and jobs, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import time

import pytest

from candide.domain.jobs import Item
from candide.domain.sources import Cut, Document, NewSource, Section, Target
from candide.errors import BadRequest, Conflict, NotFound
from candide.store.jobs import JobStore
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore

from .conftest import Store


def make_source(key: str, text: str, *, size: int = 20) -> NewSource:
    return NewSource(
        key=key,
        uri=key,
        kind="page",
        media_type="text/html",
        document=Document(text=text, title=f"About {key}", language="en", sections=[Section(0, 1, "Top")]),
        cuts=[Cut(start, min(start + size, len(text))) for start in range(0, len(text), size)],
        content_hash=hashlib.sha256(text.encode()).hexdigest(),
    )


async def test_a_library_is_found_by_its_name_without_case_and_accents(store: Store) -> None:
    libraries = LibraryStore(store.database)
    made = await libraries.create("Actualités")
    assert (await libraries.find("actualites")).id == made.id
    with pytest.raises(Conflict):
        await libraries.create("ACTUALITES")
    with pytest.raises(BadRequest):
        await libraries.create(" … ")
    with pytest.raises(NotFound, match="press") as refused:
        await libraries.find("press")
    assert "Actualités" in (refused.value.hint or "")


async def test_a_deleted_library_is_out_of_sight_and_comes_back_with_its_sources(store: Store) -> None:
    libraries, sources = LibraryStore(store.database), SourceStore(store.database)
    library = await libraries.create("news")
    await sources.keep(library.id, [make_source("a", "A page.")])
    await libraries.delete(library.id)
    assert await libraries.list() == []
    await libraries.create("news")
    with pytest.raises(Conflict):
        await libraries.restore(library.id)
    await libraries.delete((await libraries.find("news")).id)
    await libraries.restore(library.id)
    assert (await libraries.find("news")).sources == 1


async def test_keeping_the_same_again_changes_nothing_and_keeping_another_text_is_an_update(
    store: Store,
) -> None:
    libraries, sources = LibraryStore(store.database), SourceStore(store.database)
    library = await libraries.create("news")
    first, second = make_source("a", "The first text of a. " * 3), make_source("b", "Of b.")
    assert await sources.keep(library.id, [first, second]) == ["added", "added"]
    before = await sources.last_change()
    assert await sources.keep(library.id, [first, second]) == ["unchanged", "unchanged"]
    assert await sources.last_change() == before
    old = (await sources.find_known(library.id, ["a"]))["a"]
    assert await sources.keep(library.id, [make_source("a", "Another text of a.")]) == ["updated"]
    new = (await sources.find_known(library.id, ["a"]))["a"]
    assert new.source_id != old.source_id
    # What was cited can still be shown.
    assert (await sources.read_text(old.source_id))[0] == "The first text of a. " * 3
    assert not (await sources.get(old.source_id)).current
    assert [source.uri for source in await sources.list(library.id, limit=9)] == ["a", "b"]


async def test_the_last_change_of_targets_is_none_of_others(store: Store) -> None:
    libraries, sources = LibraryStore(store.database), SourceStore(store.database)
    library = await libraries.create("news")
    mine, other = make_source("a", "Of a."), make_source("b", "Of b.")
    mine.target_id, other.target_id = "target_mine", "target_other"
    await sources.keep(library.id, [mine, other])
    assert await sources.last_change_of(["target_mine"], after=0) == 1
    assert await sources.last_change_of(["target_mine", "target_other"], after=0) == 2
    assert await sources.last_change_of(["target_mine"], after=1) == 0
    # What is taken out is a change of its target's too.
    await sources.remove([(await sources.find_known(library.id, ["a"]))["a"].source_id])
    assert await sources.last_change_of(["target_mine"], after=2) == await sources.last_change() == 3


async def test_the_log_of_changes_says_what_the_indexes_have_to_take_in(store: Store) -> None:
    libraries, sources = LibraryStore(store.database), SourceStore(store.database)
    library = await libraries.create("news")
    text = "Élan vital \U0001f600 und so weiter. " * 4
    await sources.keep(library.id, [make_source("a", text), make_source("b", "Of b.")])
    changes = await sources.changes_after(0, 10)
    assert [change.seq for change in changes] == [1, 2]
    assert "".join(passage.text for passage in changes[0].passages) == text
    assert all(p.text == text[p.start : p.end] for p in changes[0].passages)
    fetched = await sources.fetch_passages([p.id for p in changes[0].passages] + [99_999])
    assert {n: p for n, (_, p) in fetched.items()} == {p.id: p for p in changes[0].passages}

    gone = changes[0].source_id
    assert await sources.remove([gone, "source_none"]) == 1
    assert await sources.remove([gone]) == 0
    (change,) = await sources.changes_after(2, 10)
    assert (change.source_id, change.source, change.passages) == (gone, None, [])
    # An index that is made anew reads one change a source; what is gone need not be told of for ever.
    await sources.trim_changes(2)
    assert [change.seq for change in await sources.changes_after(0, 10)] == [2, 3]
    await sources.trim_changes(3)
    assert [change.seq for change in await sources.changes_after(0, 10)] == [2]


async def test_a_target_that_is_added_again_takes_the_new_wishes_over(store: Store) -> None:
    libraries = LibraryStore(store.database)
    library = await libraries.create("news")
    (first,) = await libraries.add_targets(library.id, [Target(kind="feed", uri="https://example.org/feed")])
    (again,) = await libraries.add_targets(
        library.id, [Target(kind="feed", uri="https://example.org/feed", refresh_s=60.0, next_check_at=5.0)]
    )
    assert again.id == first.id
    assert [target.refresh_s for target in await libraries.list_targets(library.id)] == [60.0]
    assert [target.id for target in await libraries.list_due(6.0)] == [first.id]
    await libraries.note_check(first.id, error="it is away")
    assert await libraries.list_due(6.0) == []
    assert (await libraries.get_target(first.id)).error == "it is away"
    await libraries.remove_target(first.id)
    with pytest.raises(NotFound):
        await libraries.get_target(first.id)


async def test_a_due_target_is_taken_once(store: Store) -> None:
    libraries = LibraryStore(store.database)
    library = await libraries.create("news")
    wanted = [
        Target(kind="feed", uri=f"https://example.org/{n}", refresh_s=60.0, next_check_at=n * 10.0)
        for n in (1, 2, 3)
    ]
    await libraries.add_targets(library.id, [*wanted, Target(kind="page", uri="https://example.org/page")])
    assert await libraries.next_due() == 10.0
    first, second = await asyncio.gather(libraries.take_due(20.0), libraries.take_due(20.0))
    assert sorted(target.uri for target in first + second) == [
        "https://example.org/1",
        "https://example.org/2",
    ]
    assert await libraries.next_due() == 30.0
    await libraries.delete(library.id)
    assert await libraries.take_due(1e9) == []
    assert await libraries.next_due() is None


async def test_what_was_not_seen_again_and_whose_target_is_gone_is_found(store: Store) -> None:
    libraries, sources = LibraryStore(store.database), SourceStore(store.database)
    library = await libraries.create("news")
    (target,) = await libraries.add_targets(library.id, [Target(kind="folder", uri="/docs")])
    new = [make_source(name, f"The text of {name}.") for name in "abc"]
    for one in new:
        one.target_id = target.id
    await sources.keep(library.id, new)
    known = await sources.find_of_target(target.id)
    assert set(known) == {"a", "b", "c"}
    between = time.time()
    await sources.keep(library.id, new[:1])
    assert sorted(await sources.find_stale(target.id, between, 9)) == sorted(
        known[name].source_id for name in "bc"
    )
    assert await sources.find_orphans(9) == []
    await libraries.remove_target(target.id)
    assert len(await sources.find_orphans(2)) == 2
    await sources.remove(await sources.find_orphans(9))
    assert await sources.find_orphans(9) == []


async def test_jobs_that_have_ended_are_forgotten_but_for_the_latest(store: Store) -> None:
    libraries, jobs = LibraryStore(store.database), JobStore(store.database)
    library = await libraries.create("news")
    made = [await jobs.create(library.id, []) for _ in range(5)]
    for job in made[:4]:
        await jobs.move(job.id, "cancelled")
    await jobs.trim(2)
    assert [job.id for job in await jobs.list()] == [job.id for job in reversed(made[2:])]
    assert [job.id for job in await jobs.list(unended=True)] == [made[4].id]


async def test_a_job_goes_on_where_it_stood(store: Store) -> None:
    libraries, jobs = LibraryStore(store.database), JobStore(store.database)
    library = await libraries.create("news")
    job = await jobs.create(library.id, ["target_1"])
    await jobs.move(job.id, "running")
    assert await jobs.add_items(job.id, [Item("/b", "target_1", 1), Item("/a", "target_1", 0)]) == 2
    assert await jobs.add_items(job.id, [Item("/b", "target_1", 3), Item("/c", "target_1", 1)]) == 1
    await jobs.finish_items(job.id, ["/a"])
    job.progress.done = 1
    job.note_problem("/z", "it is locked")
    await jobs.save(job)
    there = await jobs.get(job.id)
    assert (there.progress.done, there.progress.failed, there.problems[0].reason) == (1, 1, "it is locked")
    assert [item.key for item in await jobs.next_items(job.id, 10)] == ["/b", "/c"]
    assert [j.id for j in await jobs.list_unfinished()] == [job.id]
    await jobs.move(job.id, "paused")
    assert await jobs.list_unfinished() == []
    with pytest.raises(Conflict):
        await jobs.move(job.id, "finished")
    await jobs.move(job.id, "queued")
    await jobs.move(job.id, "cancelled")
    assert await jobs.next_items(job.id, 10) == []


async def test_what_could_not_be_read_is_told_until_a_later_job_reads_it(store: Store) -> None:
    libraries, jobs = LibraryStore(store.database), JobStore(store.database)
    library = await libraries.create("news")
    targets = [Target(kind="file", uri=f"/{name}.pdf") for name in ("a", "b", "c")]
    a, b, c = [target.id for target in await libraries.add_targets(library.id, targets)]
    first = await jobs.create(library.id, [a, b])
    await jobs.move(first.id, "running")
    first.note_problem("/a.pdf", "it is locked with a password")
    first.note_problem("/b.pdf", "it is empty")
    await jobs.save(first)
    await jobs.move(first.id, "finished")
    await libraries.note_check(c, error="there is no such file")
    assert await jobs.find_unread([library.id]) == [
        "/a.pdf: it is locked with a password", "/b.pdf: it is empty", "/c.pdf: there is no such file",
    ]  # fmt: skip
    again = await jobs.create(library.id, [a, b])
    assert await jobs.find_unread([library.id]) == [
        "some of what was added are still to be read", "/c.pdf: there is no such file",
    ]  # fmt: skip
    await jobs.move(again.id, "running")
    await jobs.move(again.id, "finished")
    assert await jobs.find_unread([library.id]) == ["/c.pdf: there is no such file"]
    assert await jobs.find_unread([]) == []
    uploaded, own = f"/home/uploads/{library.id}/d.pdf", "/srv/uploads/lib_photos/e.pdf"
    added = [Target(kind="file", uri=uri) for uri in (uploaded, own)]
    for target in await libraries.add_targets(library.id, added):
        await libraries.note_check(target.id, error="it is empty")
    assert set(await jobs.find_unread([library.id])) >= {"d.pdf: it is empty", f"{own}: it is empty"}
