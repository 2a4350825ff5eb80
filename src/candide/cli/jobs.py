"""`candide jobs`: what is being read, and a hold on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from candide.cli.flags import check_library
from candide.cli.invocation import invocation, run

if TYPE_CHECKING:
    from candide.settings import Settings

app = typer.Typer(help="List, pause, resume and cancel what reads sources.")

Reference = Annotated[str, typer.Argument(help="Job, by its id or the end of it; 'last' is the latest.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback(invoke_without_command=True)
def jobs(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List, pause, resume and cancel what reads sources. Without a command: list."""
    if ctx.invoked_subcommand is None:
        run(_list(invocation(ctx).settings(), None, 20, as_json))


@app.command("list")
def list_(
    ctx: typer.Context,
    library: Annotated[
        str | None,
        typer.Option("--library", "-l", callback=check_library, help="Of this one, by name or id."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, the latest first.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List the latest jobs."""
    run(_list(invocation(ctx).settings(), library, limit, as_json))


async def _list(settings: Settings, library: str | None, limit: int, as_json: bool) -> None:
    from candide.cli.add import describe, say_count
    from candide.cli.connection import connect
    from candide.cli.output import ago, print_json, print_note, print_table

    async with connect(settings) as client:
        query = {"limit": str(limit)}
        if library is not None:
            query["library"] = (await client.find_library(library)).id
        found = await client.list_jobs(query)
        names = {one.id: one.name for one in await client.libraries()}
    if as_json:
        print_json([describe(job) for job in found])
    elif found:
        rows = [
            (
                job.id,
                names.get(job.library_id, ""),
                job.state,
                say_count(job),
                str(job.progress.failed or ""),
                ago(job.created_at),
            )
            for job in found
        ]
        print_table(("id", "library", "state", "read", "failed", "begun"), rows)
    else:
        print_note("no job yet; candide add TARGET --library NAME begins one")


@app.command()
def pause(ctx: typer.Context, job: Reference = "last") -> None:
    """Interrupt a job; it keeps what it has read."""
    raise typer.Exit(run(_hold(invocation(ctx).settings(), job, "pause")))


@app.command()
def resume(
    ctx: typer.Context,
    job: Reference = "last",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for its end.")] = True,
) -> None:
    """Go on with a job that was paused."""
    raise typer.Exit(run(_hold(invocation(ctx).settings(), job, "resume", wait=wait)))


@app.command()
def cancel(ctx: typer.Context, job: Reference = "last") -> None:
    """End a job; what it has read stays."""
    raise typer.Exit(run(_hold(invocation(ctx).settings(), job, "cancel")))


async def _hold(settings: Settings, reference: str, how: str, *, wait: bool = False) -> int:
    from candide.cli.add import follow_jobs
    from candide.cli.connection import connect
    from candide.cli.output import print_note
    from candide.errors import BadRequest, NotFound

    async with connect(settings) as client:
        there = await client.list_jobs({"limit": "200"})
        found = there[:1] if reference == "last" else [job for job in there if job.id.endswith(reference)]
        if not found:
            raise NotFound(f"there is no job '{reference}'", hint="candide jobs shows them")
        if len(found) > 1:
            raise BadRequest(f"'{reference}' fits {len(found)} jobs", hint="give the whole id")
        job = await client.hold_job(found[0].id, how)
        if how != "resume":
            print_note(f"{job.id} is {job.state}")
            return 0
        library = next(one for one in await client.libraries() if one.id == job.library_id)
        return await follow_jobs(client, [(library, job)], wait=wait)
