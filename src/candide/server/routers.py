"""Routers that stand beside each other in the application, not within each other.

FastAPI looks a request up anew at each level of routers that include others; in one level it is looked up once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from candide.server.failures import ErrorReply

REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorReply} for status in ("4XX", "5XX")}
"""What every route may answer with instead, as the document of the API describes it."""


def make_router(prefix: str, tag: str, *, route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """A router whose routes have this whole prefix, and refuse requests as all do."""
    return APIRouter(prefix=prefix, tags=[tag], responses=REFUSALS, route_class=route_class)


def add_routes(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Add the routes of all the routers; of two for one path the first is taken."""
    for router in routers:
        app.router.routes.extend(router.routes)
