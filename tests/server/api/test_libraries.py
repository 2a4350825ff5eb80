"""Libraries over HTTP: what is added is read, shown, kept up to date, and removed."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Here, HereStarter

PDF_LIKE = "%PDF"


async def finish(here: Here, job: Any, state: str = "finished") -> Any:
    """The job once it has ended, which it must in this state."""
    async with asyncio.timeout(60):
        while True:
            view = (await here.call("GET", f"/api/jobs/{job['id']}")).json
            if view["state"] in ("finished", "failed", "cancelled"):
                assert view["state"] == state, view
                return view
            await asyncio.sleep(0.05)


async def make_library(here: Here, name: str = "Garden") -> str:
    reply = await here.call("POST", "/api/libraries", {"name": name})
    assert reply.status == 201, reply.body
    return reply.json["id"]


async def add(here: Here, library: str, *targets: dict[str, Any]) -> Any:
    reply = await here.call("POST", f"/api/libraries/{library}/targets", {"targets": list(targets)})
    assert reply.status == 202, reply.body
    return reply.json


async def sources_of(here: Here, library: str, **query: Any) -> list[Any]:
    reply = await here.call("GET", "/api/sources", params={"library": library, **query})
    assert reply.status == 200, reply.body
    return reply.json["data"]


async def found(here: Here, query: str) -> list[str]:
    """The titles of the sources in which passages are found."""
    reply = await here.call("GET", "/api/passages", params={"query": query})
    assert reply.status == 200, reply.body
    return [one["source"]["title"] for one in reply.json["results"]]


WORDS_ONLY = {"embeddings": False}


async def test_libraries_are_made_renamed_deleted_and_restored(start_here: HereStarter) -> None:
    here = await start_here(WORDS_ONLY)
    library = await make_library(here)
    again = await here.call("POST", "/api/libraries", {"name": "garden"})
    assert again.status == 409
    renamed = await here.call("PATCH", f"/api/libraries/{library}", {"name": "Orchard"})
    assert renamed.json["name"] == "Orchard"
    assert (await here.call("DELETE", f"/api/libraries/{library}")).status == 204
    assert (await here.call("GET", "/api/libraries")).json["data"] == []
    assert (await here.call("POST", f"/api/libraries/{library}/restore")).status == 204
    assert [one["name"] for one in (await here.call("GET", "/api/libraries")).json["data"]] == ["Orchard"]
    assert (await here.call("DELETE", "/api/libraries/lib_none")).status == 404


async def test_a_folder_is_read_and_an_unreadable_file_costs_itself(
    start_here: HereStarter, tmp_path: Path
) -> None:
    here = await start_here(WORDS_ONLY)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "figs.md").write_text("# Figs\n\nThe fig tree bears fruit in the warm garden of August.\n")
    (docs / "pears.txt").write_text("A pear ripens from the inside, which is why it is picked early.\n")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing of a PDF follows")
    library = await make_library(here)
    job = await finish(here, await add(here, library, {"uri": str(docs)}))
    assert job["progress"] | {"current": "", "passages": 2, "embedded": 0} == {
        "found": 3, "done": 3, "added": 2, "updated": 0, "unchanged": 0, "removed": 0, "failed": 1,
        "passages": 2, "embedded": 0, "current": "",
    }  # fmt: skip
    (problem,) = job["problems"]
    assert problem["uri"] == str(docs / "broken.pdf")
    assert problem["reason"]
    assert {one["title"] for one in await sources_of(here, library)} == {"Figs", "pears"}
    assert await found(here, "fig tree fruit") == ["Figs"]

    # Unchanged: nothing is read. Changed, new and deleted: each is noticed.
    target = (await here.call("GET", f"/api/libraries/{library}/targets")).json["data"][0]
    refreshed = await here.call("POST", f"/api/libraries/{library}/refresh", {})
    assert (await finish(here, refreshed.json))["progress"]["unchanged"] == 2
    (docs / "figs.md").write_text("# Figs\n\nThe fig wasp lives in the flower of the tree.\n")
    (docs / "pears.txt").unlink()
    (docs / "quinces.txt").write_text("Quinces smell better than they taste when raw.\n")
    refreshed = await here.call("POST", f"/api/libraries/{library}/refresh", {"target_ids": [target["id"]]})
    progress = (await finish(here, refreshed.json))["progress"]
    assert [progress[name] for name in ("added", "updated", "unchanged", "removed")] == [1, 1, 0, 1]
    assert await found(here, "wasp") == ["Figs"]
    assert await found(here, "pear ripens") == []

    removed = await here.call("DELETE", f"/api/targets/{target['id']}")
    assert removed.json == {"sources": 2}
    assert await sources_of(here, library) == []
    assert (await here.call("DELETE", f"/api/targets/{target['id']}")).status == 404


async def test_a_file_is_put_into_a_library_and_its_newer_version_takes_its_place(
    start_here: HereStarter, tmp_path: Path
) -> None:
    here = await start_here({**WORDS_ONLY, "max_body_mb": 1})
    library = await make_library(here)

    async def upload(name: str, data: bytes) -> Any:
        return await here.call(
            "POST", f"/api/libraries/{library}/files", params={"name": name}, data=io.BytesIO(data)
        )

    # More than a body may be elsewhere.
    first = b"# Notes\n\nCandide planted cabbages.\n" + b"\n" * 2_000_000
    reply = await upload("notes.md", first)
    assert reply.status == 202, reply.body
    await finish(here, reply.json)
    (source,) = await sources_of(here, library)
    whole = (await here.call("GET", f"/api/sources/{source['id']}")).json
    assert whole["has_original"]
    assert [one["heading"] for one in whole["sections"]] == ["Notes"]
    text = (await here.call("GET", f"/api/sources/{source['id']}/text")).json["text"]
    assert "Candide planted cabbages." in text
    original = await here.call("GET", f"/api/sources/{source['id']}/original")
    assert original.body == first
    assert original.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in original.headers["Content-Security-Policy"]

    progress = (await finish(here, (await upload("notes.md", b"# Notes\n\nNow leeks.\n")).json))["progress"]
    assert (progress["updated"], progress["added"]) == (1, 0)
    (newer,) = await sources_of(here, library)
    assert newer["id"] != source["id"]
    # The text that was cited is still there, the file that it was in is not.
    assert (await here.call("GET", f"/api/sources/{source['id']}/text")).json["text"] == text
    assert (await here.call("GET", f"/api/sources/{source['id']}/original")).status == 404

    for name in ("../notes.md", ".hidden", "a/b", "\x00"):
        assert (await upload(name, b"x")).status == 400, name
    assert (await upload("empty.txt", b"")).status == 400
    assert [path.name for path in (tmp_path / "home" / "uploads" / library).iterdir()] == ["notes.md"]

    assert (await here.call("DELETE", f"/api/sources/{newer['id']}")).status == 204
    assert await sources_of(here, library) == []
    assert list((tmp_path / "home" / "uploads" / library).iterdir()) == []


async def test_documents_of_json_lines_come_with_their_ids_and_go_when_their_file_has_them_no_more(
    start_here: HereStarter, tmp_path: Path
) -> None:
    here = await start_here(WORDS_ONLY)
    library = await make_library(here)
    path = tmp_path / "corpus.jsonl"
    lines: list[Any] = [
        {
            "_id": "one",
            "title": "One",
            "text": "The first document speaks of melons.",
            "published": "2024-05-01",
        },
        {
            "id": 2,
            "text": "Le deuxième document parle des courges et des potirons du jardin.",
            "language": "fr",
        },
        {
            "_id": "three",
            "title": "Three",
            "text": "The third speaks of beans.",
            "url": "https://example.org/3",
        },
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\nno json\n")
    job = await finish(here, await add(here, library, {"uri": str(path)}))
    assert (job["progress"]["added"], job["progress"]["failed"]) == (3, 1)
    assert job["problems"][0]["uri"] == f"{path}:4"
    kept = {one["external_id"]: one for one in await sources_of(here, library)}
    assert kept["one"]["published"] == 1714521600.0
    assert kept["2"]["language"] == "fr"
    assert kept["three"]["uri"] == "https://example.org/3"

    lines[0]["text"] = "The first document speaks of cucumbers now."
    path.write_text("\n".join(json.dumps(line) for line in lines[:2]))
    progress = (await finish(here, await add(here, library, {"uri": str(path)})))["progress"]
    assert [progress[name] for name in ("added", "updated", "unchanged", "removed")] == [0, 1, 1, 1]
    assert {one["external_id"] for one in await sources_of(here, library)} == {"one", "2"}
    assert await found(here, "cucumbers") == ["One"]


async def test_sources_are_listed_in_pages_and_by_what_their_titles_say(
    start_here: HereStarter, tmp_path: Path
) -> None:
    here = await start_here(WORDS_ONLY)
    library = await make_library(here)
    for n in range(5):
        (tmp_path / f"chapter-{n}.txt").write_text(f"This is what chapter number {n} has to say.")
    await finish(
        here, await add(here, library, *({"uri": str(tmp_path / f"chapter-{n}.txt")} for n in range(5)))
    )
    titles: list[str] = []
    after: str | None = None
    while True:
        query = {"library": "garden", "limit": 2} | ({"after": after} if after else {})
        page = (await here.call("GET", "/api/sources", params=query)).json
        titles += [one["title"] for one in page["data"]]
        after = page["next"]
        if after is None:
            break
    assert sorted(titles) == [f"chapter-{n}" for n in range(5)]
    assert [one["title"] for one in await sources_of(here, library, query="CHAPTER-3")] == ["chapter-3"]
    (one,) = (await here.call("GET", "/api/sources", params={"query": "chapter-3"})).json["data"]
    of_target = await sources_of(here, library, target=one["target_id"])
    assert [source["id"] for source in of_target] == [one["id"]]


@pytest.mark.parametrize(
    ("target", "param"),
    [
        ({"uri": "/no/such/file"}, "targets[0].uri"),
        ({"uri": "ftp://example.org/file"}, "targets[0].uri"),
        ({"uri": "https://example.org/", "kind": "folder"}, "targets[0].kind"),
        ({"uri": "https://example.org/", "watched": True}, "targets[0].watched"),
        ({"uri": "https://example.org/feed", "refresh_s": 5}, "targets[0].refresh_s"),
        ({"uri": "https://example.org/", "options": {"depth": -1}}, "targets[0].options.depth"),
    ],
)
async def test_a_target_without_sense_is_refused(
    start_here: HereStarter, target: dict[str, Any], param: str
) -> None:
    here = await start_here(WORDS_ONLY)
    library = await make_library(here)
    reply = await here.call("POST", f"/api/libraries/{library}/targets", {"targets": [target]})
    assert (reply.status, reply.error["param"]) == (400, param)
    assert (await here.call("GET", "/api/jobs")).json["data"] == []


async def test_what_is_read_is_heard_of(start_here: HereStarter, tmp_path: Path) -> None:
    here = await start_here(WORDS_ONLY)
    library = await make_library(here)
    (tmp_path / "a.txt").write_text("What is read is heard of by whoever listens.")
    async with here.session.get(f"{here.url}/api/changes") as stream:
        await stream.content.readuntil(b"\n\n")
        job = await add(here, library, {"uri": str(tmp_path / "a.txt")})
        heard: list[str] = []
        async with asyncio.timeout(30):
            # Once for the target, and again when its source was kept, in another process.
            while heard.count("libraries") < 2 or heard.count("jobs") < 3:
                frame = await stream.content.readuntil(b"\n\n")
                heard.append(frame.decode().partition("\n")[0].removeprefix("event: "))
    await finish(here, job)


async def test_of_several_targets_the_one_that_is_refused_is_named(
    start_here: HereStarter, tmp_path: Path
) -> None:
    here = await start_here(WORDS_ONLY)
    library = await make_library(here)
    (tmp_path / "beans.md").write_text("Beans.")
    targets = [{"uri": str(tmp_path / "beans.md")}, {"uri": str(tmp_path / "nothing.md")}]
    reply = await here.call("POST", f"/api/libraries/{library}/targets", {"targets": targets})
    assert (reply.status, reply.error["param"]) == (400, "targets[1].uri")
    assert await sources_of(here, library) == []
