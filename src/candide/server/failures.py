"""The error table: every failure in OpenAI's shape, with its status.

    {"error": {"message", "type", "param", "code", "hint"?}}

A bug of our own is logged with its traceback under a number, and only the number is told.
"""

from __future__ import annotations

import logging
import math
import secrets
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from candide.errors import BadRequest, CandideError, EngineOverloaded, NotFound
from candide.server.disconnect import ClientGone
from candide.server.requests import explain_validation

log = logging.getLogger(__name__)

CLIENT_GONE_STATUS = 499  # as nginx writes it in its log

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
          409: "conflict_error", 413: "invalid_request_error", 429: "rate_limit_error"}  # fmt: skip


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


def error_body(error: CandideError, status: int | None = None) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    status = status or error.status
    param = error.param if isinstance(error, (BadRequest, NotFound)) else None
    return _body(error.message, status, param=param, code=error.code, hint=error.hint)


def error_response(error: CandideError) -> JSONResponse:
    headers: dict[str, str] = {}
    if isinstance(error, EngineOverloaded):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return JSONResponse(error_body(error), status_code=error.status, headers=headers)


def internal_error(context: str) -> dict[str, Any]:
    """Log the exception being handled under a number, and tell the number."""
    number = secrets.token_hex(4)
    log.exception("%s failed, error %s", context, number)
    return _body(
        f"Candide made a mistake (error {number})", 500, code="internal_error", hint="see the server's log"
    )


def install_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(CandideError)
    async def on_candide_error(request: Request, error: CandideError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        if error.status >= 500:
            log.warning("%s %s: %s", request.method, request.url.path, error.message)
        return error_response(error)

    @app.exception_handler(ClientGone)
    async def on_client_gone(request: Request, error: ClientGone) -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(status_code=CLIENT_GONE_STATUS)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return error_response(explain_validation(error.errors(), error.body))

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        said = {
            404: f"there is nothing at {request.url.path}",
            405: f"{request.method} is not for {request.url.path}",
        }
        message = said.get(error.status_code, str(error.detail))
        code = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code)
        return JSONResponse(
            _body(message, error.status_code, code=code), error.status_code, headers=error.headers
        )

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        return JSONResponse(internal_error(f"{request.method} {request.url.path}"), status_code=500)


def _body(
    message: str, status: int, *, param: str | None = None, code: str | None = None, hint: str | None = None
) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}
    if hint:
        error["hint"] = hint
    # What a caller wrote is repeated to it, and need not be Unicode.
    for name, said in error.items():
        if isinstance(said, str):
            error[name] = said.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return {"error": error}
