"""`candide models`: the weights on this machine and in the catalogue."""

from __future__ import annotations

import typer

app = typer.Typer(help="List, fetch, remove and choose models.", no_args_is_help=True)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List."""


@app.command("show")
def show(ctx: typer.Context) -> None:
    """Show."""
