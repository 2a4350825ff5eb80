"""`candide libraries`: list, rename, delete and restore them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from candide.cli.invocation import invocation, run

if TYPE_CHECKING:
    from candide.settings import Settings

app = typer.Typer(help="List, rename, delete and restore libraries of sources.")

Reference = Annotated[str, typer.Argument(help="Library, by name or id.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback(invoke_without_command=True)
def libraries(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List, rename, delete and restore libraries of sources. Without a command: list."""
    if ctx.invoked_subcommand is None:
        run(_list(invocation(ctx).settings(), as_json))


@app.command("list")
def list_(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List the libraries."""
    run(_list(invocation(ctx).settings(), as_json))


async def _list(settings: Settings, as_json: bool) -> None:
    from candide.cli.connection import connect
    from candide.cli.output import ago, print_json, print_note, print_table

    async with connect(settings) as client:
        there = await client.libraries()
    if as_json:
        print_json(
            [
                {"id": one.id, "name": one.name, "sources": one.sources, "size": one.size, "created_at": one.created_at}
                for one in there
            ]
        )  # fmt: skip
    elif there:
        rows = [(one.name, f"{one.sources:,}", f"{one.size:,}", ago(one.created_at), one.id) for one in there]
        print_table(("name", "sources", "characters", "made", "id"), rows)
    else:
        print_note("no library yet; candide add TARGET --library NAME makes one")


@app.command()
def rename(
    ctx: typer.Context, library: Reference, name: Annotated[str, typer.Argument(help="Its new name.")]
) -> None:
    """Rename a library."""
    run(_rename(invocation(ctx).settings(), library, name))


async def _rename(settings: Settings, library: str, name: str) -> None:
    from candide.cli.connection import connect

    async with connect(settings) as client:
        await client.rename_library((await client.find_library(library)).id, name)


@app.command()
def delete(ctx: typer.Context, library: Reference) -> None:
    """Delete a library with all that it holds; restore brings it back."""
    run(delete_library(invocation(ctx).settings(), library))


async def delete_library(settings: Settings, library: str) -> None:
    """Delete a library. Raises NotFound."""
    from candide.cli.connection import connect
    from candide.cli.output import print_note

    async with connect(settings) as client:
        found = await client.find_library(library)
        await client.delete_library(found.id)
    print_note(f"deleted '{found.name}'; candide libraries restore {found.id} brings it back")


@app.command()
def restore(
    ctx: typer.Context, library: Annotated[str, typer.Argument(help="Its id, as its deletion told.")]
) -> None:
    """Bring a deleted library back."""
    run(_restore(invocation(ctx).settings(), library))


async def _restore(settings: Settings, library_id: str) -> None:
    from candide.cli.connection import connect

    async with connect(settings) as client:
        await client.restore_library(library_id)
