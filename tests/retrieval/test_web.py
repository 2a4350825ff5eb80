"""The live web: engines that answer in their formats, fail, take their time or lie; pages that become sources."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from candide.compose import compose
from candide.domain.retrieval import Filters
from candide.domain.sources import WEB_LIBRARY, Document
from candide.errors import FetchError, UnreadableDocument
from candide.retrieval import web as engines
from candide.retrieval.query import parse_query
from candide.retrieval.web import Brave, SearXNG, Tavily, WebHit, WebSearch
from candide.retrieval.web_pages import WebPages, spell_query
from candide.settings import load_settings

from .conftest import cut_paragraphs, stem

if TYPE_CHECKING:
    from .conftest import Collection

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ServerStarter = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def start_server() -> AsyncIterator[ServerStarter]:
    runners: list[web.AppRunner] = []

    async def start(handle: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def serve_json(start_server: ServerStarter, reply: Any) -> tuple[str, list[web.Request], list[Any]]:
    """A server that answers so; what it was asked, and the bodies."""
    asked: list[web.Request] = []
    bodies: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request)
        bodies.append(await request.json() if request.can_read_body else None)
        return web.json_response(reply)

    return await start_server(handle), asked, bodies


async def find(engine: WebSearch, query: str = "inflation", **more: Any) -> list[WebHit]:
    try:
        return await engine.find(query, **more)
    finally:
        await engine.close()


async def test_searxng_is_asked_for_json_and_read(start_server: ServerStarter) -> None:
    url, asked, _ = await serve_json(
        start_server,
        {
            "query": "inflation",
            "number_of_results": 0,
            "results": [
                {"url": "https://lemonde.fr/a#x", "title": "L&#39;inflation", "content": "Elle <b>baisse</b>.",
                 "engine": "google", "score": 4.0, "publishedDate": "2024-05-17T08:00:00"},
                {"url": "https://insee.fr/b", "title": "IPC", "content": None, "publishedDate": None},
            ],
            "answers": [], "infoboxes": [], "suggestions": [], "unresponsive_engines": [["bing", "timeout"]],
        },
    )  # fmt: skip
    hits = await find(SearXNG(f"{url}/"), language="fr")
    assert [(hit.url, hit.title, hit.snippet) for hit in hits] == [
        ("https://lemonde.fr/a", "L'inflation", "Elle baisse."),
        ("https://insee.fr/b", "IPC", ""),
    ]
    assert hits[0].published == 1715932800.0
    assert asked[0].path == "/search"
    assert dict(asked[0].query) == {"q": "inflation", "format": "json", "language": "fr"}


async def test_brave_gets_its_key_and_is_read(start_server: ServerStarter) -> None:
    results = [{"url": "https://a.example/1", "title": "A", "description": "one <strong>two</strong>",
                "page_age": "2024-05-17T08:00:00", "age": "2 days ago"}]  # fmt: skip
    url, asked, _ = await serve_json(
        start_server, {"type": "search", "web": {"type": "search", "results": results}}
    )
    [hit] = await find(Brave("secret", url), language="en", limit=5)
    assert hit == WebHit(url="https://a.example/1", title="A", snippet="one two", published=1715932800.0)
    assert asked[0].headers["X-Subscription-Token"] == "secret"
    assert asked[0].query["count"] == "5"


async def test_tavily_gets_its_key_and_is_read(start_server: ServerStarter) -> None:
    results = [{"url": "https://a.example/1", "title": "A", "content": "one", "score": 0.9,
                "published_date": "Fri, 17 May 2024 08:00:00 GMT"}]  # fmt: skip
    url, asked, bodies = await serve_json(start_server, {"query": "x", "answer": None, "results": results})
    [hit] = await find(Tavily("secret", url))
    assert hit == WebHit(url="https://a.example/1", title="A", snippet="one", published=1715932800.0)
    assert asked[0].headers["Authorization"] == "Bearer secret"
    assert bodies[0]["query"] == "inflation"


@pytest.mark.parametrize(
    "reply",
    [
        {},
        [],
        None,
        {"results": None},
        {"results": "none"},
        {"results": [None, 1, [], {}]},
        {"web": []},
        {"web": {"results": {}}},
    ],
)
async def test_a_reply_of_another_shape_holds_nothing_or_is_refused(
    start_server: ServerStarter, reply: Any
) -> None:
    for make in (SearXNG, lambda url: Brave("k", url), lambda url: Tavily("k", url)):
        url, _, _ = await serve_json(start_server, reply)
        if isinstance(reply, dict):
            assert await find(make(url)) == []
        else:
            with pytest.raises(FetchError, match="no JSON of results"):
                await find(make(url))


async def test_what_is_no_address_of_a_page_is_dropped(start_server: ServerStarter) -> None:
    addresses = ["javascript:alert(1)", "file:///etc/passwd", "/relative", "ftp://a.example/", "http://", "", 7, None,
                 "https://user:pw@a.example/", "https://a.example/a b", "http://[::1", "https://a.example/" + "x" * 3000,
                 "https://good.example/", "https://good.example/#again"]  # fmt: skip
    url, _, _ = await serve_json(
        start_server, {"results": [{"url": one, "title": "t\u202e\x07"} for one in addresses]}
    )
    [hit] = await find(SearXNG(url))
    assert (hit.url, hit.title) == ("https://good.example/", "t")


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "search.formats"), (401, "web_search_key"), (429, None), (500, None), (302, None)],
)
async def test_a_refusal_says_what_was_answered_and_what_helps(
    start_server: ServerStarter, status: int, words: str | None
) -> None:
    asked: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Retry-After": "7", "Location": "/elsewhere"}, text="no")

    with pytest.raises(FetchError) as caught:
        await find(SearXNG(await start_server(refuse)))
    assert f"SearXNG answered {status}" in caught.value.message
    assert words is None or words in (caught.value.hint or "")
    assert caught.value.is_passing == (status in (429, 500))
    assert caught.value.retry_after == 7
    assert asked == ["/search"]


async def test_an_engine_that_is_slow_endless_broken_or_absent_is_a_fetch_error(
    start_server: ServerStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(engines, "MAX_REPLY_BYTES", 100_000)

    async def sleep(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.json_response({})

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b" " * 10_000)
        return response

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>not json</html>")

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    for handle, words in (
        (sleep, "did not answer"),
        (flood, "more than"),
        (page, "no JSON"),
        (cut, "cannot be asked"),
    ):
        with pytest.raises(FetchError, match=words):
            await find(SearXNG(await start_server(handle)))
    with pytest.raises(FetchError, match="cannot be asked"):
        await find(SearXNG("http://127.0.0.1:9"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "url": JSON | st.just("https://a.example/"),
                "title": JSON,
                "content": JSON,
                "publishedDate": JSON,
            },
        ),
        max_size=5,
    )
)
def test_whatever_an_engine_says_the_hits_are_pages(results: list[Any]) -> None:
    said = json.loads(json.dumps(results))
    for hit in engines._read_hits(said, 10, snippet="content", published=("publishedDate",)):
        assert hit.url.startswith(("http://", "https://"))
        assert "\n" not in hit.title + hit.snippet


class Listed:
    """An engine that has these pages; what it was asked is kept."""

    def __init__(self, *hits: WebHit) -> None:
        self.hits = list(hits)
        self.asked: list[tuple[str, str]] = []

    async def find(self, query: str, *, language: str = "", limit: int = 10) -> list[WebHit]:
        self.asked.append((query, language))
        return self.hits[:limit]

    async def close(self) -> None:
        pass


PAGES = {
    "https://lemonde.fr/prix": Document(
        title="Les prix", language="fr", site="lemonde.fr", published=1715900000.0,
        text="Le menu du jour.\n\nL'inflation a baissé à 2,2 % en avril selon l'Insee.\n\nAbonnez-vous.",
    ),
    "https://insee.fr/ipc": Document(
        title="Indice", language="fr", site="insee.fr", text="L'indice des prix mesure l'inflation chaque mois."
    ),
}  # fmt: skip


async def read_page(url: str) -> Document:
    if url.endswith("/slow"):
        await asyncio.sleep(30)
    if url not in PAGES:
        raise UnreadableDocument(f"{url} cannot be read")
    document = PAGES[url]
    return Document(
        title=document.title, language=document.language, site=document.site, text=document.text,
        published=document.published,
    )  # fmt: skip


def make_pages(collection: Collection, engine: WebSearch, **more: Any) -> WebPages:
    return WebPages(
        engine,
        more.pop("read_page", read_page),
        lambda document: cut_paragraphs(document.text),
        collection.sources,
        collection.libraries,
        stem=stem,
        **more,
    )


async def test_pages_are_read_and_become_sources_that_can_be_shown_later(collection: Collection) -> None:
    engine = Listed(*(WebHit(url=url) for url in PAGES))
    retrieval = collection.retrieval(web=make_pages(collection, engine))
    found = await retrieval.search("Combien vaut l'inflation en avril ?", web=True)
    best = found.results[0]
    assert best.source.uri == "https://lemonde.fr/prix"
    assert best.passage.text == "L'inflation a baissé à 2,2 % en avril selon l'Insee."
    assert (found.missing, found.is_good) == ([], True)
    text, _, _ = await collection.sources.read_text(best.source.id)
    assert text[best.passage.start : best.passage.end] == best.passage.text
    assert engine.asked == [("Combien vaut l'inflation en avril ?", "fr")]
    again = await retrieval.search("inflation en avril", web=True)
    assert again.results[0].source.id == best.source.id
    web_library = await collection.libraries.find(WEB_LIBRARY)
    assert web_library.sources == 2


async def test_a_page_that_has_changed_is_a_new_source_and_the_old_text_stays(collection: Collection) -> None:
    texts = iter(["Le taux est de 3 %.", "Le taux est de 4 %."])

    async def read_changing(url: str) -> Document:
        return Document(title="Taux", text=next(texts), language="fr")

    engine = Listed(WebHit(url="https://a.example/"))
    retrieval = collection.retrieval(web=make_pages(collection, engine, read_page=read_changing))
    first = (await retrieval.search("taux", web=True)).results[0]
    second = (await retrieval.search("taux", web=True)).results[0]
    assert first.source.id != second.source.id
    assert (await collection.sources.read_text(first.source.id))[0] == "Le taux est de 3 %."
    assert second.passage.text == "Le taux est de 4 %."


async def test_pages_that_cannot_be_read_or_are_late_are_left_out(collection: Collection) -> None:
    hits = [
        WebHit(url=f"https://b.example/{name}", snippet="inflation en avril") for name in ("gone", "slow")
    ]
    engine = Listed(*hits, WebHit(url="https://insee.fr/ipc"))
    retrieval = collection.retrieval(web=make_pages(collection, engine, reading_s=0.3))
    found = await retrieval.search("inflation", web=True)
    assert [result.source.uri for result in found.results] == ["https://insee.fr/ipc"]
    assert found.missing == []
    none = collection.retrieval(web=make_pages(collection, Listed(*hits), reading_s=0.3))
    found = await none.search("inflation", web=True)
    assert (found.results, found.missing) == ([], ["web"])


async def test_the_web_and_libraries_answer_together_and_each_without_the_other(
    collection: Collection, start_server: ServerStarter
) -> None:
    library = await collection.libraries.create("Presse")
    await collection.add(library, [Document(title="Article", text="L'inflation de 2023.", language="fr")])
    filters = Filters(libraries=(library.id,))
    retrieval = collection.retrieval(web=make_pages(collection, Listed(*(WebHit(url=url) for url in PAGES))))
    found = await retrieval.search("inflation", filters, web=True)
    assert {result.source.title for result in found.results} == {"Article", "Les prix", "Indice"}
    found = await retrieval.search("inflation", web=True)
    assert {result.source.title for result in found.results} == {"Les prix", "Indice"}

    async def fail(request: web.Request) -> web.Response:
        return web.Response(status=500)

    broken = SearXNG(await start_server(fail))
    found = await collection.retrieval(web=make_pages(collection, broken)).search(
        "inflation", filters, web=True
    )
    assert [result.source.title for result in found.results] == ["Article"]
    assert found.missing == ["web"]
    await broken.close()


async def test_a_page_of_a_library_that_the_web_finds_too_is_shown_once(collection: Collection) -> None:
    library = await collection.libraries.create("Presse")
    url = "https://lemonde.fr/prix"
    await collection.add(library, [PAGES[url]], uris=[url])
    retrieval = collection.retrieval(web=make_pages(collection, Listed(WebHit(url=url))))
    found = await retrieval.search("inflation avril", Filters(libraries=(library.id,)), web=True)
    assert len({result.source.id for result in found.results}) == 1


async def test_filters_hold_for_pages_of_the_web_too(collection: Collection) -> None:
    engine = Listed(*(WebHit(url=url) for url in PAGES))
    retrieval = collection.retrieval(web=make_pages(collection, engine))
    found = await retrieval.search("inflation site:lemonde.fr -insee after:2024", web=True)
    assert found.results == []
    found = await retrieval.search("menu site:lemonde.fr after:2024", web=True)
    assert [result.source.uri for result in found.results] == ["https://lemonde.fr/prix"]


def test_a_query_is_spelled_with_the_operators_that_engines_have_in_common() -> None:
    asked = parse_query(
        'prix "loi de finances" -gaz -"gaz naturel" site:lemonde.fr,insee.fr after:2024', now=0.0
    )
    spelled = spell_query(asked, asked.filters)
    assert spelled == 'prix "loi de finances" -gaz -"gaz naturel" site:lemonde.fr OR site:insee.fr'


async def test_a_composed_candide_reads_the_pages_itself(
    tmp_path: Path, empty_database: Path, start_server: ServerStarter
) -> None:
    page = (
        "<html lang='fr'><head><title>Les prix en avril</title></head><body><nav>Menu</nav><article><h1>Les prix</h1>"
        "<p>L'inflation a ralenti à 2,2 % en avril, selon l'institut de la statistique, après 2,3 % en mars.</p>"
        "<p>Les prix de l'énergie ont augmenté de 3,8 % sur un an, ceux des services de 3 %.</p></article></body></html>"
    )

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/search":
            here = f"http://{request.host}"
            return web.json_response({"results": [{"url": f"{here}/prix"}, {"url": f"{here}/gone"}]})
        if request.path == "/prix":
            return web.Response(text=page, content_type="text/html")
        return web.Response(status=404)

    url = await start_server(handle)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(empty_database, home)
    flags = {
        "home": str(home), "engine_urls": "http://127.0.0.1:9/v1", "web_search": "searxng", "web_search_url": url,
        "fetch_allowed": url.removeprefix("http://"),
    }  # fmt: skip
    services = await compose(load_settings(flags, {}), answers=False)
    try:
        found = await services.retriever.search("De combien est l'inflation en avril ?", web=True)
        assert (found.missing, found.is_good) == ([], True)
        best = found.results[0]
        assert best.source.uri == f"{url}/prix"
        assert "2,2 %" in best.passage.text
        text, _, _ = await services.sources.read_text(best.source.id)
        assert text[best.passage.start : best.passage.end] == best.passage.text
    finally:
        await services.close()
