"""Errors in OpenAI's shape, as the document of the API describes them; `server/failures.py` writes them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None
    hint: str | None = None


class ErrorReply(BaseModel):
    """What every refused request is answered with."""

    error: ErrorDetail


ERROR_REPLIES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorReply, "description": "A parameter is wrong; `param` names it."},
    404: {"model": ErrorReply, "description": "There is no such model or object."},
    429: {"model": ErrorReply, "description": "The engine is overloaded; `Retry-After` says for how long."},
    503: {"model": ErrorReply, "description": "No engine can answer now."},
}
