"""Passages are found over HTTP, with filters that are read or refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from candide.domain.sources import Cut, Document, NewSource
from candide.index.embedded import EmbeddedIndex
from candide.index.indexer import Indexer

if TYPE_CHECKING:
    from conftest import Here

ARTICLE = Document(
    title="L'inflation ralentit",
    site="lemonde.fr",
    language="fr",
    published=1715900000.0,
    text="L'inflation a ralenti à 2,2 % en avril.\n\nLes prix de l'énergie ont augmenté.",
)
REPORT = Document(title="Inflation report", language="en", text="Inflation has slowed in the euro area.")


async def fill(here: Here) -> str:
    services = here.services
    library = await services.libraries.create("Presse")
    for document, uri, media_type in (
        (ARTICLE, "https://www.lemonde.fr/inflation", "text/html"),
        (REPORT, "/files/report.pdf", "application/pdf"),
    ):
        new = NewSource(
            key=uri, uri=uri, kind="page", media_type=media_type, document=document,
            cuts=[Cut(0, 39), Cut(41, len(document.text))] if document is ARTICLE else [Cut(0, len(document.text))],
            content_hash=uri, external_id=f"ext {uri}",
        )  # fmt: skip
        await services.sources.keep(library.id, [new])
    writer = EmbeddedIndex(Path(services.home) / "index")
    await Indexer(writer, services.sources, None).catch_up()
    await writer.close()
    return library.id


async def find(here: Here, query: str, **params: Any) -> Any:
    reply = await here.call("GET", "/api/passages", params={"query": query, **params})
    assert reply.status == 200, reply.body
    return reply.json


async def test_passages_come_with_their_sources_and_spans(here: Here) -> None:
    library = await fill(here)
    found = await find(here, "inflation avril")
    best = found["results"][0]
    assert found["libraries"] == [library]
    assert found["query"] == "inflation avril"
    source, passage = best["source"], best["passage"]
    assert (source["title"], source["uri"]) == ("L'inflation ralentit", "https://www.lemonde.fr/inflation")
    assert (source["external_id"], source["site"]) == ("ext https://www.lemonde.fr/inflation", "lemonde.fr")
    assert ARTICLE.text[passage["start"] : passage["end"]] == passage["text"]
    assert [passage["text"][start:end] for start, end in best["highlights"]] == ["inflation", "avril"]


@pytest.mark.parametrize(
    ("params", "titles"),
    [
        ({}, {"L'inflation ralentit", "Inflation report"}),
        ({"library": "PRESSE"}, {"L'inflation ralentit", "Inflation report"}),
        ({"site": "https://lemonde.fr/x"}, {"L'inflation ralentit"}),
        ({"language": "anglais"}, {"Inflation report"}),
        ({"type": "pdf"}, {"Inflation report"}),
        ({"after": "mai 2024"}, {"L'inflation ralentit"}),
        ({"before": "2024-05-01"}, set[str]()),
        ({"limit": "1"}, {"Inflation report"}),
    ],
)
async def test_filters_are_parameters(here: Here, params: dict[str, str], titles: set[str]) -> None:
    await fill(here)
    results = (await find(here, "inflation", **params))["results"]
    if "limit" in params:
        assert len(results) == 1
    else:
        assert {result["source"]["title"] for result in results} == titles


@pytest.mark.parametrize(
    ("params", "status", "param"),
    [
        ({}, 400, "query"),
        ({"query": "x", "library": "none"}, 404, "library"),
        ({"query": "x", "after": "soon"}, 400, "after"),
        ({"query": "x", "before": "2024-13"}, 400, "before"),
        ({"query": "x", "type": "nothing"}, 400, "type"),
        ({"query": "x", "language": "?"}, 400, "language"),
        ({"query": "x", "site": "/"}, 400, "site"),
        ({"query": "x", "limit": "0"}, 400, "limit"),
        ({"query": "x" * 4001}, 400, "query"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    here: Here, params: dict[str, str], status: int, param: str
) -> None:
    reply = await here.call("GET", "/api/passages", params=params)
    assert (reply.status, reply.error["param"]) == (status, param)


async def test_operators_that_mean_nothing_are_named(here: Here) -> None:
    await fill(here)
    found = await find(here, "inflation before:foo library:nope before:foo after:2020")
    assert found["ignored"] == ["before:foo", "library:nope"]
    assert (await find(here, "inflation after:2020"))["ignored"] == []


async def test_without_a_library_nothing_is_searched(here: Here) -> None:
    found = await find(here, "inflation")
    assert (found["results"], found["libraries"], found["is_good"]) == ([], [], False)
