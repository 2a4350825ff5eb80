"""`candide engine`: engines that run by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from candide.cli.invocation import run

app = typer.Typer(help="Run an engine by itself.", no_args_is_help=True)


@app.callback()
def engine() -> None:
    """Keeps `scripted` a command of its own while it is the only one."""


@app.command()
def scripted(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    script: Annotated[
        Path | None, typer.Option(help="JSON file that says what it answers; it echoes without one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the scripted engine: an OpenAI-compatible server that answers from a file, with chosen faults."""
    run(_serve_script(script, host, port))


async def _serve_script(path: Path | None, host: str, port: int) -> None:
    import asyncio

    from candide.cli.output import print_note
    from candide.engine.scripted import Script, ScriptedEngine, read_script
    from candide.errors import SetupError

    engine = ScriptedEngine(read_script(path) if path is not None else Script())
    try:
        await engine.start(host, port)
    except OSError as error:
        raise SetupError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="--port 0 takes a free port"
        ) from error
    try:
        print_note(f"scripted engine on {engine.url}")
        await asyncio.Event().wait()
    finally:
        await engine.stop()
