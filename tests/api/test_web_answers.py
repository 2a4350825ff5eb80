"""Answers from the live web, as the official client sees them: a search engine and its pages are servers of the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest

from candide.engine.scripted import Reply, Script

from .conftest import Place, starter
from .libraries import HARBOR, HARBOR_QUESTION

SAID = "The harbor cranes of Port Amber lifted 42 containers before noon [1]."
MISQUOTED = 'The page says: "the harbor cranes of Port Ambre lifted 42 containers before noon" [1].'
PAGE = (
    f"<html lang=en><head><title>Harbor record</title></head><body><article><h1>Harbor record</h1><p>{HARBOR}</p>"
    "<p>Nothing else of note happened on the quays that day, the port office said.</p></article></body></html>"
)


class Web(BaseHTTPRequestHandler):
    """A search engine that answers as SearXNG does, and the page that it finds."""

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        url = f"http://127.0.0.1:{self.server.server_address[1]}/harbor"
        if self.path.startswith("/search"):
            found = {"results": [{"url": url, "title": "Harbor record", "content": HARBOR[:60]}]}
            self._send(json.dumps(found), "application/json")
        elif self.path == "/harbor":
            self._send(PAGE, "text/html; charset=utf-8")
        else:
            self.send_error(404)

    def _send(self, text: str, media_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, web: str) -> Iterator[Place]:
    host = web.removeprefix("http://")
    script = Script(
        replies=[
            Reply(match="Quote the page", answer=MISQUOTED),
            Reply(match="unwell", status=500),
            Reply(match="refuse", status=400, message="scripted refusal"),
            Reply(answer=SAID),
        ]
    )
    settings = {"web_search": "searxng", "web_search_url": web, "fetch_allowed": (host,)}
    with starter(tmp_path_factory.mktemp("home"), **settings) as start:
        yield start(script)


def test_a_response_cites_pages_of_the_web(place: Place, web: str) -> None:
    response = place.client().responses.create(
        model="scripted",
        input=HARBOR_QUESTION,
        tools=[{"type": "web_search"}],
        include=["web_search_call.action.sources"],
    )
    call, message = response.output
    assert (call.type, call.status) == ("web_search_call", "completed")
    assert call.action.query == HARBOR_QUESTION
    assert [source.url for source in call.action.sources] == [f"{web}/harbor"]
    (citation,) = message.content[0].annotations
    assert (citation.type, citation.url, citation.title) == ("url_citation", f"{web}/harbor", "Harbor record")
    assert response.output_text[citation.start_index : citation.end_index] == "[1]"


def test_events_of_a_web_search_come_before_the_text(place: Place) -> None:
    tools: Any = [{"type": "web_search_preview", "search_context_size": "low"}]
    events = list(
        place.client().responses.create(model="scripted", input=HARBOR_QUESTION, tools=tools, stream=True)
    )
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[2:7] == [
        "output_item.added",
        "web_search_call.in_progress",
        "web_search_call.searching",
        "web_search_call.completed",
        "output_item.done",
    ]
    assert kinds.index("output_text.annotation.added") > kinds.index("output_text.delta")


def test_a_domain_that_is_not_allowed_is_not_found(place: Place) -> None:
    tools: Any = [{"type": "web_search", "filters": {"allowed_domains": ["pubmed.ncbi.nlm.nih.gov"]}}]
    response = place.client().responses.create(model="scripted", input=HARBOR_QUESTION, tools=tools)
    assert "do not say" in response.output_text


@pytest.mark.parametrize("question", [HARBOR_QUESTION, f"{HARBOR_QUESTION} Quote the page."])
def test_a_chat_completion_is_searched_for_and_annotated(place: Place, web: str, question: str) -> None:
    client = place.client()
    asked: Any = {
        "model": "scripted",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}],
        "web_search_options": {},
    }
    reply = client.chat.completions.create(**asked)
    (choice,) = reply.choices
    (annotation,) = choice.message.annotations or []
    text = choice.message.content or ""
    assert "Port Ambre" not in text
    assert (annotation.type, annotation.url_citation.url) == ("url_citation", f"{web}/harbor")
    assert text[annotation.url_citation.start_index : annotation.url_citation.end_index] == "[1]"
    assert (choice.finish_reason, reply.usage is not None) == ("stop", True)

    frames = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    deltas = [frame.choices[0].delta for frame in frames if frame.choices]
    assert "".join(delta.content or "" for delta in deltas) == text
    assert deltas[-1].model_extra == {"annotations": [annotation.model_dump()]}
    assert frames[-1].usage is not None


def test_a_chat_completion_says_what_is_an_extract_and_where_it_abstains(place: Place) -> None:
    asked: Any = {
        "model": "scripted",
        "messages": [{"role": "user", "content": f"{HARBOR_QUESTION} unwell"}],
        "web_search_options": {},
    }
    *_, last = place.client().chat.completions.create(**asked, stream=True)
    assert last.model_extra == {"metadata": {"candide_extract": "true"}}
    asked["messages"] = [{"role": "user", "content": HARBOR_QUESTION}]
    assert place.client().chat.completions.create(**asked).metadata is None
    asked["messages"] = [{"role": "user", "content": "Combien coûte un billet de train pour Madrid demain ?"}]
    assert place.client().chat.completions.create(**asked).metadata == {"candide_abstained": "true"}


def test_a_chat_completion_leaves_nothing(place: Place) -> None:
    async def count() -> int:
        import sqlalchemy as sa

        async with place.services.conversations._database.read() as connection:
            return int((await connection.execute(sa.text("select count(*) from turn_events"))).scalar_one())

    before = place.run(count())
    messages: Any = [{"role": "user", "content": HARBOR_QUESTION}]
    place.client().chat.completions.create(model="scripted", messages=messages, web_search_options={})
    assert place.run(count()) == before


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"web_search_options": {"search_context_size": "huge"}}, "web_search_options.search_context_size"),
    ],
)
def test_what_does_not_go_with_a_search_is_refused(place: Place, change: dict[str, Any], param: str) -> None:
    asked: Any = {
        "model": "scripted",
        "messages": [{"role": "user", "content": HARBOR_QUESTION}],
        "web_search_options": {},
    }
    with pytest.raises(openai.BadRequestError) as caught:
        place.client().chat.completions.create(**{**asked, **change})
    assert caught.value.param == param


def test_without_a_search_engine_a_web_search_is_refused(shared: Place) -> None:
    client = shared.client()
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="scripted", input="x", tools=[{"type": "web_search"}])
    assert caught.value.param == "tools[0]"
    messages: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="scripted", messages=messages, web_search_options={})
    assert refused.value.param == "web_search_options"
