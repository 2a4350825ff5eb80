"""`candide libraries`: list, rename, delete and restore them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from candide.cli.invocation import invocation, run

if TYPE_CHECKING:
    from candide.domain.sources import Library
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
        print_json([_describe(one) for one in there])
    elif there:
        rows = [(one.name, f"{one.sources:,}", f"{one.size:,}", ago(one.created_at), one.id) for one in there]
        print_table(("name", "sources", "characters", "made", "id"), rows)
    else:
        print_note("no library yet; candide add TARGET --library NAME makes one")


@app.command()
def rename(
    ctx: typer.Context,
    library: Reference,
    name: Annotated[str, typer.Argument(help="Its new name.")],
    as_json: JsonFlag = False,
) -> None:
    """Rename a library."""
    run(_rename(invocation(ctx).settings(), library, name, as_json))


async def _rename(settings: Settings, library: str, name: str, as_json: bool) -> None:
    from candide.cli.connection import connect
    from candide.cli.output import print_json, print_note

    async with connect(settings) as client:
        before = await client.find_library(library)
        now = await client.rename_library(before.id, name)
    if as_json:
        print_json(_describe(now))
    else:
        print_note(f"'{before.name}' is now '{now.name}'")


@app.command()
def delete(ctx: typer.Context, library: Reference, as_json: JsonFlag = False) -> None:
    """Delete a library with all that it holds; restore brings it back."""
    run(delete_library(invocation(ctx).settings(), library, as_json=as_json))


async def delete_library(settings: Settings, library: str, *, as_json: bool = False) -> None:
    """Delete a library. Raises NotFound."""
    from candide.cli.connection import connect
    from candide.cli.output import print_json, print_note

    async with connect(settings) as client:
        found = await client.find_library(library)
        await client.delete_library(found.id)
    if as_json:
        print_json(_describe(found))
    print_note(f"deleted '{found.name}'; candide libraries restore {found.id} brings it back")


@app.command()
def restore(
    ctx: typer.Context,
    library: Annotated[str, typer.Argument(help="Its id, as its deletion told.")],
    as_json: JsonFlag = False,
) -> None:
    """Bring a deleted library back."""
    run(_restore(invocation(ctx).settings(), library, as_json))


async def _restore(settings: Settings, library_id: str, as_json: bool) -> None:
    from candide.cli.connection import connect
    from candide.cli.output import print_json, print_note

    async with connect(settings) as client:
        await client.restore_library(library_id)
        back = await client.find_library(library_id)
    if as_json:
        print_json(_describe(back))
    else:
        print_note(f"'{back.name}' is back, with {back.sources} source{'' if back.sources == 1 else 's'}")


def _describe(library: Library) -> dict[str, Any]:
    return {
        "id": library.id,
        "name": library.name,
        "sources": library.sources,
        "size": library.size,
        "created_at": library.created_at,
    }
