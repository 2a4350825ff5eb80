"""How requests are read: strict JSON, and one clear complaint about what is wrong in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import msgspec
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from candide.errors import BadRequest


class StrictRoute(APIRoute):
    """A route that reads strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return handle_strictly


class StrictRequest(Request):
    """A request whose JSON has no NaN, no lone surrogates and no bottomless nesting (RFC 8259, RFC 7493)."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                self._json = msgspec.json.decode(body)
            except (ValueError, RecursionError) as error:
                raise json.JSONDecodeError(str(error), "", 0) from error
        return self._json


def explain_validation(errors: Sequence[Any], body: Any) -> BadRequest:
    """Make one error of what pydantic found: the one that lies deepest in the request.

    Of a union's members, the one that the caller meant is the one that got furthest.
    """
    if isinstance(body, bytes):
        return BadRequest(
            "the body is not said to be JSON", hint="send it with the header Content-Type: application/json"
        )
    found = [(_locate(error, body), error) for error in errors]
    path, error = max(found, key=lambda pair: (len(pair[0]), [p for p in pair[0] if isinstance(p, int)]))
    param = _spell(path) or None
    kind: str = error["type"]
    if kind == "json_invalid":
        reason = _context(error).get("error", "")
        return BadRequest(f"the body of the request is not valid JSON: {reason}", code="invalid_json")
    if kind == "missing":
        if not param:
            return BadRequest("the request has no body", hint="send JSON with Content-Type: application/json")
        return BadRequest(
            f"missing required parameter: '{param}'", param=param, code="missing_required_parameter"
        )
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    if isinstance(given, (str, int, float, bool)) or given is None:
        message += f", got {_shorten(given)}"
    return BadRequest(
        f"invalid '{param}': {message}" if param else message, param=param, code="invalid_value"
    )


def _locate(error: Any, body: Any) -> list[str | int]:
    """The error's place in the body, without the names that pydantic gives to members of unions."""
    where, *location = error["loc"]
    if where != "body":  # a parameter of the query, a header
        return location
    path: list[str | int] = []
    here = body
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(here, dict) and part in here:
            path.append(part)
            here = cast("dict[Any, Any]", here)[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(cast("list[Any]", here)):
            path.append(part)
            here = cast("list[Any]", here)[part]
        elif last and error["type"] == "missing":
            path.append(part)
    if error["type"].startswith("union_tag"):
        path.append(str(_context(error).get("discriminator", "type")).strip("'"))
    return path


def _context(error: Any) -> dict[str, Any]:
    return error.get("ctx") or {}


def _spell(path: Sequence[str | int]) -> str:
    """A path as OpenAI writes it: `messages[0].content`."""
    spelled = ""
    for part in path:
        spelled += f"[{part}]" if isinstance(part, int) else f".{part}" if spelled else part
    return spelled


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
