"""A response as it is written: chat deltas in, the numbered events of `/v1/responses` out.

The same writer makes the whole response of one that is not streamed, so both always agree. Ids are
made from the response's own, so that a replay of the same deltas gives the same events.

An answer that is searched for begins with an item for each tool that searches, and its citations are annotations.
The text is checked at its end, and may be corrected then: what was streamed stands as it is, `output_text.done` and
all that follows hold the corrected text.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from candide.domain.grounding import Grounding
from candide.domain.sources import NumberedSource
from candide.domain.turns import (
    CitationsChecked,
    SearchStarted,
    SourcesFound,
    begin_grounding,
    finish_grounding,
)
from candide.server.openai.citations import Annotation, annotate, describe_attributes, file_name, is_on_web
from candide.server.openai.search_tools import FILE_SEARCH, WEB_SEARCH

Event = dict[str, Any]


def encode_event(event: Event) -> bytes:
    """One server-sent event."""
    return b"event: " + event["type"].encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"


class ResponseWriter:
    """Writes one response; `body` is the response object, up to date at any time.

    `known` are the sources of earlier answers, by number; `include` names what is told beside the usual. Of a response
    that has ended `completed_at` is when, in seconds since 1970.
    """

    def __init__(
        self,
        body: dict[str, Any],
        *,
        known: Mapping[int, NumberedSource] | None = None,
        include: Collection[str] = (),
        completed_at: float | None = None,
    ) -> None:
        self.body = body
        self._completed_at = completed_at
        self.grounding: Grounding | None = None
        """What the answer rests on, once its sources are found."""
        self._sources = dict(known or {})
        self._include = include
        self._searches: list[dict[str, Any]] = []
        self._annotations: list[Annotation] = []
        self._suffix = body["id"].partition("_")[2]
        self._number = 0
        self._open: dict[str, Any] | None = None
        self._text: list[str] = []
        self._calls: dict[int, str] = {}

    def begin(self) -> list[Event]:
        return [
            self._event("response.created", response=dict(self.body)),
            self._event("response.in_progress", response=dict(self.body)),
        ]

    def feed(self, delta: dict[str, Any]) -> list[Event]:
        """Take one delta of a chat's answer."""
        events: list[Event] = []
        if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            events += self._switch("reasoning")
            events.append(self._write("response.reasoning_text.delta", reasoning, content_index=0))
        if content := delta.get("content"):
            events += self._switch("message")
            events.append(self._write("response.output_text.delta", content, content_index=0, logprobs=[]))
        for position, call in enumerate(delta.get("tool_calls") or ()):
            function: dict[str, Any] = call.get("function") or {}
            events += self._switch(
                "function_call", int(call.get("index", position)), call.get("id"), function.get("name")
            )
            if arguments := function.get("arguments"):
                events.append(self._write("response.function_call_arguments.delta", arguments))
        return events

    def begin_search(self, started: SearchStarted) -> list[Event]:
        """A search has begun, of every tool that searches."""
        if self._searches:
            return []  # begun again by whoever took the turn over
        events: list[Event] = self._close("completed")
        kinds = [tool["type"] for tool in self.body["tools"]]
        if FILE_SEARCH in kinds:
            item = self._search_item("fs", "file_search_call")
            self._searches.append(item | {"queries": [started.query], "results": None})
        if any(kind in WEB_SEARCH for kind in kinds):
            item = self._search_item("ws", "web_search_call")
            self._searches.append(item | {"action": {"type": "search", "query": started.query}})
        for index, item in enumerate(self._searches, len(self.body["output"])):
            events.append(self._event("response.output_item.added", output_index=index, item=dict(item)))
            events += [self._search_event(item, index, stage) for stage in ("in_progress", "searching")]
        return events

    def end_search(self, found: SourcesFound) -> list[Event]:
        """The search has ended; what it found is told where the caller asked for it."""
        self.grounding = begin_grounding(found)
        self._sources |= {source.number: source for source in found.sources}
        events: list[Event] = []
        for item in self._searches:
            index = len(self.body["output"])
            failed = "web" in found.missing if item["type"] == "web_search_call" else _cannot_search(found)
            item["status"] = "failed" if failed else "completed"
            if item["type"] == "web_search_call":
                item["action"]["query"] = found.query
                if "web_search_call.action.sources" in self._include:
                    urls = [source.uri for source in found.sources if is_on_web(source)]
                    item["action"]["sources"] = [{"type": "url", "url": url} for url in urls]
            else:
                item["queries"] = [found.query]
                if "file_search_call.results" in self._include:
                    item["results"] = _describe_results(found)
            if not failed:
                events.append(self._search_event(item, index, "completed"))
            events.append(self._event("response.output_item.done", output_index=index, item=dict(item)))
            self.body["output"].append(item)
        self._searches = []
        return events

    def check(self, checked: CitationsChecked) -> list[Event]:
        """The answer was checked: take its corrected text over, and annotate what is borne out."""
        events = self._switch("message")
        if checked.text is not None:
            self._text = [checked.text]
        if self.grounding is not None:
            self.grounding = finish_grounding(self.grounding, checked)
        self.body["metadata"] = {**self.body.get("metadata", {}), **describe_check(checked)}
        sentences = sorted([*checked.sentences, *checked.extract], key=lambda sentence: sentence.start)
        files = any(tool["type"] == FILE_SEARCH for tool in self.body["tools"])
        self._annotations = annotate("".join(self._text), sentences, self._sources, files=files)
        assert self._open is not None
        place = {"item_id": self._open["id"], "output_index": len(self.body["output"]), "content_index": 0}
        return events + [
            self._event(
                "response.output_text.annotation.added",
                **place,
                annotation_index=number,
                annotation=annotation,
            )
            for number, annotation in enumerate(self._annotations)
        ]

    def _search_item(self, prefix: str, kind: str) -> dict[str, Any]:
        number = len(self.body["output"]) + len(self._searches)
        return {"id": f"{prefix}_{self._suffix}{number:02d}", "type": kind, "status": "in_progress"}

    def _search_event(self, item: dict[str, Any], index: int, stage: str) -> Event:
        return self._event(f"response.{item['type']}.{stage}", output_index=index, item_id=item["id"])

    def finish(self, finish_reason: str | None, usage: dict[str, Any] | None) -> list[Event]:
        """End the response as the chat's answer ended."""
        incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(
            finish_reason or ""
        )
        # A text format always has a message to show, be it empty.
        shows = any(
            item["type"] not in ("file_search_call", "web_search_call") for item in self.body["output"]
        )
        events = [] if shows or self._open else self._switch("message")
        events += self._close("incomplete" if incomplete else "completed")
        self.body["usage"] = convert_usage(usage)
        if incomplete:
            self.body["incomplete_details"] = {"reason": incomplete}
        return [*events, self.end("incomplete" if incomplete else "completed")]

    def fail(self, code: str, message: str) -> list[Event]:
        """End the response with what went wrong; what was written so far stays in it."""
        events: list[Event] = []
        for item in self._searches:
            item["status"] = "failed"
            index = len(self.body["output"])
            events.append(self._event("response.output_item.done", output_index=index, item=dict(item)))
            self.body["output"].append(item)
        self._searches = []
        events += self._close("incomplete")
        self.body["error"] = {"code": code, "message": message}
        return [*events, self.end("failed")]

    def end(self, status: str) -> Event:
        self.body["status"] = status
        if status == "completed":
            self.body["completed_at"] = int(self._completed_at or time.time())
        kind = "response.failed" if status in ("failed", "cancelled") else f"response.{status}"
        return self._event(kind, response=dict(self.body))

    def _event(self, kind: str, **members: Any) -> Event:
        event = {"type": kind, "sequence_number": self._number, **members}
        self._number += 1
        return event

    def _write(self, kind: str, text: str, **members: Any) -> Event:
        assert self._open is not None
        self._text.append(text)
        place = {"item_id": self._open["id"], "output_index": len(self.body["output"])}
        return self._event(kind, **place, **members, delta=text)

    def _switch(
        self, kind: str, call: int = 0, call_id: str | None = None, name: str | None = None
    ) -> list[Event]:
        """Make sure that an item of that kind is open, and of that call."""
        held = self._open or {}
        if held.get("type") == kind and (kind != "function_call" or self._calls.get(call) == held["id"]):
            return []
        events = self._close("completed")
        index = len(self.body["output"])
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        item: dict[str, Any] = {
            "id": f"{prefix}_{self._suffix}{index:02d}",
            "type": kind,
            "status": "in_progress",
        }
        if kind == "message":
            item |= {"role": "assistant", "content": []}
        elif kind == "reasoning":
            item |= {"summary": [], "content": []}
        else:
            item |= {
                "call_id": call_id or f"call_{self._suffix}{index:02d}",
                "name": name or "",
                "arguments": "",
            }
            self._calls[call] = item["id"]
        self._open = item
        self._text = []
        events.append(self._event("response.output_item.added", output_index=index, item=dict(item)))
        if kind != "function_call":
            part = _part(kind, "")
            events.append(
                self._event(
                    "response.content_part.added",
                    item_id=item["id"],
                    output_index=index,
                    content_index=0,
                    part=part,
                )
            )
        return events

    def _close(self, status: str) -> list[Event]:
        item, self._open = self._open, None
        if item is None:
            return []
        text = "".join(self._text)
        place = {"item_id": item["id"], "output_index": len(self.body["output"])}
        events: list[Event] = []
        if item["type"] == "function_call":
            item["arguments"] = text
            events.append(
                self._event(
                    "response.function_call_arguments.done", **place, name=item["name"], arguments=text
                )
            )
        else:
            part = _part(item["type"], text)
            if item["type"] == "message":
                part["annotations"] = self._annotations
            item["content"] = [part]
            logged: dict[str, Any] = {"logprobs": []} if item["type"] == "message" else {}
            kind = "output_text" if item["type"] == "message" else "reasoning_text"
            events.append(self._event(f"response.{kind}.done", **place, content_index=0, text=text, **logged))
            events.append(self._event("response.content_part.done", **place, content_index=0, part=part))
        item["status"] = status
        events.append(
            self._event("response.output_item.done", output_index=place["output_index"], item=dict(item))
        )
        self.body["output"].append(item)
        return events


def describe_check(checked: CitationsChecked) -> dict[str, str]:
    """What the check of an answer says, as metadata: OpenAI's format has no other place that its clients keep."""
    unsupported = sum(sentence.support == "unsupported" for sentence in checked.sentences)
    return {
        name: value
        for name, value, is_said in (
            ("candide_extract", "true", bool(checked.extract)),
            ("candide_unsupported", str(unsupported), unsupported > 0),
            ("candide_abstained", "true", checked.abstained),
        )
        if is_said
    }


def _part(kind: str, text: str) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _cannot_search(found: SourcesFound) -> bool:
    """Whether no part of the search in libraries worked."""
    return {"words", "vectors"} <= set(found.missing)


def _describe_results(found: SourcesFound) -> list[dict[str, Any]]:
    return [
        {
            "file_id": source.id,
            "filename": file_name(source),
            "text": passage.text,
            "score": None,
            "attributes": describe_attributes(source),
        }
        for source in found.sources
        for passage in source.passages
    ]


def convert_usage(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """A chat's usage in the words of this API."""
    if not usage:
        return None
    read: dict[str, Any] = usage.get("prompt_tokens_details") or {}
    written: dict[str, Any] = usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": usage.get("prompt_tokens", 0),
        "input_tokens_details": {"cached_tokens": read.get("cached_tokens") or 0},
        "output_tokens": usage.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens", 0),
    }
