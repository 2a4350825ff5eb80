"""Jobs read what was asked for to its end, though processes are killed, and heed who holds them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from candide.domain.retrieval import Filters, WordQuery
from candide.domain.sources import Target
from candide.errors import BadRequest, Conflict, NotFound
from candide.index.embedded import EmbeddedIndex
from candide.ingestion import targets
from candide.ingestion.keeping import BATCH_SOURCES

from .reading_places import PATIENCE_S, Place, counts
from .websites import Website

PlaceOpener = Callable[..., Awaitable[Place]]


@pytest.fixture
async def open_place(tmp_path: Path, empty_database: Path) -> AsyncIterator[PlaceOpener]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(**more: bool) -> Place:
            place = await Place.open(tmp_path / "home", empty_database, **more)
            stack.push_async_callback(place.close)
            return place

        yield start


@pytest.fixture
async def place(open_place: PlaceOpener) -> Place:
    return await open_place()


def write_lines(path: Path, count: int, *, words: int = 30, note: str = "") -> Path:
    """Documents with the ids 0, 1, 2 ..., each with a word of its own and the word `garden`."""
    random.seed(count)
    with path.open("w") as file:
        for n in range(count):
            noise = " ".join(f"w{random.randrange(2000)}" for _ in range(words))
            file.write(
                json.dumps(
                    {"_id": str(n), "title": f"Document {n}", "text": f"garden only{n} {note} {noise}"}
                )
            )
            file.write("\n")
    return path


async def check_once_each(place: Place, count: int) -> None:
    """Check that the documents 0 to `count` are there once each, in the database and in the index."""
    ids = sorted(int(source.external_id or -1) for source in await place.list_sources())
    assert ids == list(range(count))
    assert await place.check_index("garden") == count


async def test_the_process_that_reads_is_killed_at_random_moments_and_nothing_is_lost_or_doubled(
    place: Place, tmp_path: Path
) -> None:
    # More than a fast machine reads until the last kill.
    count = 5000
    job = await place.add(write_lines(tmp_path / "corpus.jsonl", count))
    done, pid = 0, None
    for _ in range(3):
        # Each time a new process gets on for a while; what the last one kept as it died is not its doing.
        await place.wait(
            job,
            lambda now, done=done, dead=pid: (
                now.progress.done > done and place.ingestion.process_id not in (None, dead)
            ),
        )
        await asyncio.sleep(random.random() * 0.3)
        done, pid = (await place.jobs.get(job.id)).progress.done, place.ingestion.process_id
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    assert 0 < done < count
    finished = await place.finish(job)
    # Of what was kept in the moment of a death, a batch may be read once more.
    assert count <= finished.progress.added + finished.progress.unchanged <= count + 3 * BATCH_SOURCES
    await check_once_each(place, count)


async def test_a_job_goes_on_with_the_next_start(open_place: PlaceOpener, tmp_path: Path) -> None:
    place = await open_place()
    job = await place.add(write_lines(tmp_path / "corpus.jsonl", 1000))
    await place.wait(job, lambda now: now.progress.done > 0)
    process = psutil.Process(place.ingestion.process_id)
    await place.close()
    assert not process.is_running()
    again = await open_place()
    assert (await again.jobs.get(job.id)).state == "running"
    await again.finish(job)
    await check_once_each(again, 1000)


async def test_a_job_is_paused_goes_on_and_is_cancelled(place: Place, tmp_path: Path) -> None:
    job = await place.add(write_lines(tmp_path / "corpus.jsonl", 4000))
    await place.wait(job, lambda now: now.progress.done > 0)
    assert (await place.ingestion.pause(job.id)).state == "paused"
    await asyncio.sleep(1.0)
    done = (await place.jobs.get(job.id)).progress.done
    await asyncio.sleep(1.0)
    assert (await place.jobs.get(job.id)).progress.done == done < 4000
    assert len(await place.list_sources()) == done

    assert (await place.ingestion.resume(job.id)).state == "queued"
    await place.wait(job, lambda now: now.progress.done > done)
    await place.ingestion.cancel(job.id)
    await asyncio.sleep(1.0)
    kept = len(await place.list_sources())
    await asyncio.sleep(1.0)
    # What was read stays, and can be found.
    assert len(await place.list_sources()) == kept < 4000
    assert await place.check_index("garden") == kept
    with pytest.raises(Conflict):
        await place.ingestion.resume(job.id)
    with pytest.raises(NotFound):
        await place.ingestion.cancel("job_none")


async def test_a_small_job_does_not_wait_for_a_large_one(place: Place, tmp_path: Path) -> None:
    large = await place.add(write_lines(tmp_path / "corpus.jsonl", 4000))
    await place.wait(large, lambda now: now.progress.done > 0)
    (tmp_path / "note.txt").write_text("A note about the garden that was wanted at once.")
    await place.finish(await place.add(tmp_path / "note.txt"))
    assert (await place.jobs.get(large.id)).state == "running"
    await place.ingestion.cancel(large.id)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_million_lines_would_not_fill_the_memory(place: Place, tmp_path: Path) -> None:
    (tmp_path / "small.jsonl").write_text('{"_id": "-1", "text": "the garden before"}\n')
    await place.read(tmp_path / "small.jsonl")
    process = psutil.Process(place.ingestion.process_id)
    before = process.memory_info().rss
    path = write_lines(tmp_path / "corpus.jsonl", 20_000, words=60)
    assert path.stat().st_size > 7_000_000
    job = await place.add(path)
    most = before
    while (await place.jobs.get(job.id)).state != "finished":
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.1)
    assert counts(await place.jobs.get(job.id)) == {"added": 20_000}
    # tantivy's own buffers are in this; all texts with their passages would be more than twice as much.
    assert most - before < 200 * 2**20, most - before


async def test_words_are_found_before_vectors_are_made_and_both_before_a_job_is_finished(
    open_place: PlaceOpener, tmp_path: Path
) -> None:
    place = await open_place(embeds=True)
    job = await place.add(write_lines(tmp_path / "corpus.jsonl", 40))
    await place.wait(job, lambda now: now.progress.done == 40)
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(AssertionError):
                if await place.check_index("garden") == 40:
                    break
            await asyncio.sleep(0.1)
    now = await place.jobs.get(job.id)
    assert now.state == "running"
    assert now.progress.embedded < now.progress.passages == 40
    done = await place.finish(job)
    assert done.progress.embedded == 40


async def test_a_job_that_has_read_nothing_does_not_wait_for_the_vectors_of_another_library(
    open_place: PlaceOpener, tmp_path: Path
) -> None:
    place = await open_place(embeds=True)
    large = await place.add(write_lines(tmp_path / "corpus.jsonl", 600))
    await place.wait(large, lambda now: now.progress.done == 600)
    (tmp_path / "empty").mkdir()
    other = await place.libraries.find_or_create("Kitchen")
    small = await place.ingestion.add(other.id, [targets.parse(str(tmp_path / "empty"))])
    assert counts(await place.finish(small)) == {}
    now = await place.jobs.get(large.id)
    assert now.state == "running"
    assert now.progress.embedded < now.progress.passages
    await place.ingestion.cancel(large.id)


async def test_what_is_added_again_is_updated_and_what_is_removed_is_found_no_more(
    place: Place, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "corpus.jsonl", 300)
    assert counts(await place.read(path)) == {"added": 300}
    # The file has not changed: it is not even read.
    assert counts(await place.read(path)) == {}
    write_lines(path, 200, note="and more")
    assert counts(await place.read(path)) == {"updated": 200, "removed": 100}
    await check_once_each(place, 200)
    (target,) = await place.libraries.list_targets(place.library)
    assert await place.ingestion.remove_target(target.id) == 200
    (tmp_path / "last.txt").write_text("The garden is still there.")
    await place.read(tmp_path / "last.txt")
    assert await place.check_index("garden") == 1


async def test_what_a_job_reads_of_a_target_that_is_removed_meanwhile_goes_too(
    place: Place, tmp_path: Path
) -> None:
    job = await place.add(write_lines(tmp_path / "corpus.jsonl", 3000))
    await place.wait(job, lambda now: now.progress.done > 0)
    (target,) = await place.libraries.list_targets(place.library)
    await place.ingestion.remove_target(target.id)
    await place.finish(job)
    assert await place.list_sources() == []


async def test_documents_with_an_address_are_found_by_its_site(place: Place, tmp_path: Path) -> None:
    urls = {
        "a": "https://www.News.example/2024/figs", "b": "http://blog.news.example:8080/", "c": "https://other.example/",
        "d": "isbn:9782070", "e": "http://[broken", "f": None,
    }  # fmt: skip
    lines = [
        json.dumps({"id": name, "text": f"The garden {name}.", "url": url}) for name, url in urls.items()
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    assert counts(await place.read(tmp_path / "corpus.jsonl")) == {"added": 6}
    sites = {source.external_id: source.site for source in await place.list_sources()}
    assert sites == {
        "a": "news.example", "b": "blog.news.example", "c": "other.example", "d": "", "e": "", "f": "",
    }  # fmt: skip
    index = EmbeddedIndex(place.home / "index")
    found = await index.find_words(WordQuery(text="garden"), Filters(sites=("news.example",)), 10)
    await index.close()
    kept = await place.sources.fetch_passages([hit.passage_id for hit in found])
    assert {source.external_id for source, _ in kept.values()} == {"a", "b"}


async def test_near_duplicates_are_of_one_group(place: Place, tmp_path: Path) -> None:
    text = " ".join(f"The gardener waters bed number {n} before the sun is high." for n in range(40))
    (tmp_path / "a.txt").write_text(text)
    await place.read(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_text(text + " And then he rests.")
    (tmp_path / "c.txt").write_text(
        " ".join(f"Ships leave harbour {n} on the morning tide, bound for Surinam." for n in range(40))
    )
    await place.read(tmp_path / "b.txt")
    await place.read(tmp_path / "c.txt")
    groups = {source.title: source.group_id for source in await place.list_sources()}
    assert groups["a"] == groups["b"] != groups["c"]


async def test_an_index_that_is_lost_is_made_again_at_the_next_start(
    open_place: PlaceOpener, tmp_path: Path
) -> None:
    place = await open_place()
    await place.read(write_lines(tmp_path / "corpus.jsonl", 100))
    await place.close()
    shutil.rmtree(tmp_path / "home" / "index")
    again = await open_place()
    async with asyncio.timeout(PATIENCE_S):
        while not any((tmp_path / "home" / "index").glob("words/*")) or again.ingestion.process_id is None:
            await asyncio.sleep(0.05)
        while True:
            with contextlib.suppress(AssertionError):
                if await again.check_index("garden") == 100:
                    break
            await asyncio.sleep(0.1)


async def test_a_watched_folder_is_read_as_it_changes_also_while_nobody_watched(
    open_place: PlaceOpener, tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "one.txt").write_text("The first file of the garden.")
    place = await open_place()
    await place.finish(await place.add(docs, watched=True))

    async def titles(place: Place, expected: set[str]) -> None:
        async with asyncio.timeout(60):
            while {source.title for source in await place.list_sources()} != expected:
                await asyncio.sleep(0.1)

    await titles(place, {"one"})
    (docs / "two.txt").write_text("The second file of the garden.")
    await titles(place, {"one", "two"})
    (docs / "one.txt").unlink()
    await titles(place, {"two"})
    await place.close()
    (docs / "three.txt").write_text("The third file of the garden.")
    again = await open_place()
    await titles(again, {"two", "three"})


async def test_a_target_is_looked_at_again_when_it_is_due(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "page.txt"
    path.write_text("What the garden was like yesterday.")
    await place.finish(await place.add(path, refresh_s=1.5))
    path.write_text("What the garden is like today.")
    async with asyncio.timeout(30):
        while len(await place.jobs.list(place.library)) < 2:
            await asyncio.sleep(0.05)
    second = (await place.jobs.list(place.library))[0]
    assert counts(await place.finish(second)) == {"updated": 1}


async def test_a_job_that_its_process_dies_of_fails_with_a_reason_and_the_others_are_read(
    place: Place, website: Website, tmp_path: Path
) -> None:
    over = asyncio.Event()

    async def never_answer(request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    website.pages["/slow"] = never_answer
    job = await place.add(f"{website.address}/slow")
    seen: set[int] = set()
    async with asyncio.timeout(PATIENCE_S):
        while (now := await place.jobs.get(job.id)).state != "failed":
            pid = place.ingestion.process_id
            if pid is not None and pid not in seen and len(website.asked) > len(seen):
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.02)
    over.set()
    assert "died several times" in (now.error or "")
    assert f"{website.address}/slow" in (now.error or "")
    assert len(seen) == 3
    (tmp_path / "good.txt").write_text("The garden is open.")
    assert counts(await place.read(tmp_path / "good.txt")) == {"added": 1}


async def test_what_makes_no_sense_is_refused(place: Place) -> None:
    with pytest.raises(NotFound):
        await place.ingestion.add("lib_none", [Target(kind="file", uri="/x")])
    with pytest.raises(BadRequest):
        await place.ingestion.refresh(place.library)
    with pytest.raises(NotFound):
        await place.ingestion.refresh(place.library, ["target_none"])
