"""A response as it is written: chat deltas in, the numbered events of `/v1/responses` out.

The same writer makes the whole response of one that is not streamed, so both always agree. Ids are
made from the response's own, so that a replay of the same deltas gives the same events.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

Event = dict[str, Any]


def encode_event(event: Event) -> bytes:
    """One server-sent event."""
    return b"event: " + event["type"].encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"


class ResponseWriter:
    """Writes one response; `body` is the response object, up to date at any time."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
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

    def finish(self, finish_reason: str | None, usage: dict[str, Any] | None) -> list[Event]:
        """End the response as the chat's answer ended."""
        incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(
            finish_reason or ""
        )
        # A text format always has a message to show, be it empty.
        events = [] if self.body["output"] or self._open else self._switch("message")
        events += self._close("incomplete" if incomplete else "completed")
        self.body["usage"] = convert_usage(usage)
        if incomplete:
            self.body["incomplete_details"] = {"reason": incomplete}
        return [*events, self.end("incomplete" if incomplete else "completed")]

    def fail(self, code: str, message: str) -> list[Event]:
        """End the response with what went wrong; what was written so far stays in it."""
        events = self._close("incomplete")
        self.body["error"] = {"code": code, "message": message}
        return [*events, self.end("failed")]

    def end(self, status: str) -> Event:
        self.body["status"] = status
        if status == "completed":
            self.body["completed_at"] = int(time.time())
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


def _part(kind: str, text: str) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


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
