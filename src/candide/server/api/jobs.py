"""Jobs that read what was added to libraries: how far each is, what it could not read, and a hold on it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from candide.domain.jobs import Job, JobState
from candide.server.routers import make_router
from candide.server.services import Services

Limit = Annotated[int, Query(ge=1, le=200)]


class ProgressView(BaseModel):
    found: int = Field(
        description="How many files, pages, entries or documents there are, as far as is known."
    )
    done: int
    added: int
    updated: int
    unchanged: int
    removed: int
    failed: int
    passages: int
    embedded: int = Field(description="Of the passages, those that can be found by their meaning too.")
    current: str = Field(description="What is being read now.")


class ProblemView(BaseModel):
    uri: str
    reason: str
    hint: str = Field(description="What to do about it; empty when there is nothing.")


class JobView(BaseModel):
    id: str
    library_id: str
    state: JobState
    target_ids: list[str]
    progress: ProgressView
    problems: list[ProblemView] = Field(description="What could not be read; at most 200.")
    error: str | None = Field(description="Why it failed as a whole.")
    created_at: float
    finished_at: float | None


class JobPage(BaseModel):
    data: list[JobView]


def build_router(services: Services) -> APIRouter:
    router = make_router("/api/jobs", "jobs")
    jobs, ingestion, libraries = services.jobs, services.ingestion, services.libraries

    @router.get("", summary="The jobs, the latest first")
    async def list_jobs(  # pyright: ignore[reportUnusedFunction]
        library: Annotated[str | None, Query(description="Of this one, by id or name.")] = None,
        running: Annotated[bool, Query(description="Only those that have not ended.")] = False,
        limit: Limit = 50,
    ) -> JobPage:
        library_id = None if library is None else (await libraries.find(library)).id
        return JobPage(data=[show_job(one) for one in await jobs.list(library_id, limit, unended=running)])

    @router.get("/{job_id}", summary="How far a job has come")
    async def get_job(job_id: str) -> JobView:  # pyright: ignore[reportUnusedFunction]
        return show_job(await jobs.get(job_id))

    @router.post("/{job_id}/pause", summary="Interrupt a job; it goes on when it is resumed")
    async def pause_job(job_id: str) -> JobView:  # pyright: ignore[reportUnusedFunction]
        return show_job(await ingestion.pause(job_id))

    @router.post("/{job_id}/resume", summary="Go on with a job")
    async def resume_job(job_id: str) -> JobView:  # pyright: ignore[reportUnusedFunction]
        return show_job(await ingestion.resume(job_id))

    @router.post("/{job_id}/cancel", summary="End a job; what it has read stays")
    async def cancel_job(job_id: str) -> JobView:  # pyright: ignore[reportUnusedFunction]
        return show_job(await ingestion.cancel(job_id))

    return router


def show_job(job: Job) -> JobView:
    """A job as its users see it: without how it finds its place again."""
    return JobView.model_validate(msgspec.to_builtins(job))
