"""The ASGI application: the page, `/api`, `/v1`, `/health` and `/ready` behind the guard."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline

from candide import __version__
from candide.server.api import build_routers as build_api
from candide.server.failures import install_error_handlers
from candide.server.guard import Guard
from candide.server.mcp import build_router as build_mcp
from candide.server.openai import build_routers as build_openai
from candide.server.page import build_router as build_page
from candide.server.routers import REFUSALS, add_routes
from candide.server.services import Services
from candide.server.session import build_router as build_session
from candide.server.status import build_router as build_status
from candide.server.transfer import build_router as build_transfer


def create_app(services: Services) -> FastAPI:
    """The application over the given services; it neither starts nor closes them."""
    # Not FastAPI's own page, which has browsers fetch its scripts from others' servers.
    app = FastAPIOffline(
        title="Candide",
        version=__version__,
        description="Conversations and durable turns under /api; the OpenAI API under /v1.",
        docs_url="/docs",
        responses=REFUSALS,
        redoc_url=None,
    )
    install_error_handlers(app)
    add_routes(app, build_openai(services))
    add_routes(app, build_api(services))
    add_routes(app, [build_transfer(services), build_status(services), build_session(services.access)])
    add_routes(app, [build_mcp(services)])
    add_routes(app, [build_page()])

    @app.head("/health", include_in_schema=False)
    @app.get("/health", tags=["state"], summary="200 once requests are accepted")
    async def health() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        return {"status": "ok", "version": __version__}

    @app.head("/ready", include_in_schema=False)
    @app.get("/ready", tags=["state"], summary="200 once a model can answer", responses={503: {}})
    async def ready() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        is_ready = await services.routes.ready()
        status = {"status": "ready" if is_ready else "loading"}
        return JSONResponse(
            {**status, "unreachable": services.routes.unreachable}, status_code=200 if is_ready else 503
        )

    app.add_middleware(Guard, access=services.access)
    return app
