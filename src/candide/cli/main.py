"""The `candide` command: what it is asked, and how its errors end.

Only names and help live here; what a command needs is imported when it is called, so that
`candide --help` costs little. Exit codes: 0 done, 1 an engine or the setup failed, 2 the caller
made a mistake, 130 Ctrl-C. A reader of standard output that goes away is none of these: 0.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from candide.cli import conversations, engine, jobs, libraries, models
from candide.cli.flags import WordsCommand, check_library, complete_model, with_settings_flags
from candide.cli.invocation import Invocation, debugging, invocation, run

if TYPE_CHECKING:
    from candide.settings import Settings

app = typer.Typer(
    name="candide",
    # Without markup the help is plain text, and the library that would draw it is not loaded.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(conversations.app, name="conversations")
app.add_typer(libraries.app, name="libraries")
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.add_typer(engine.app, name="engine")

ModelFlag = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Model to answer with; candide models list shows them.",
        autocompletion=complete_model,
    ),
]
EngineFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-url",
        metavar="<url>",
        help="Answer through this OpenAI-compatible server, and through no Candide that is running.",
    ),
]
LibraryFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--library",
        "-l",
        callback=check_library,
        help="Answer from this library, by name or id; several if repeated.",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback(invoke_without_command=True)
def candide(
    ctx: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(help="Folder under which everything that Candide keeps lies; also CANDIDE_HOME."),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show errors with their traceback; also CANDIDE_DEBUG=1.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """A ChatGPT that its users own. Without a command: chat."""
    ctx.obj = Invocation(home)
    if debug:
        os.environ["CANDIDE_DEBUG"] = "1"
    if version:
        from candide import __version__

        typer.echo(f"candide {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        chat(ctx)


@app.command()
def chat(
    ctx: typer.Context,
    conversation: Annotated[
        str | None, typer.Argument(help="Conversation to go on with, by id or title; the last one if none.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", "-n", help="Begin a new conversation.")] = False,
    model: ModelFlag = None,
    engine_url: EngineFlag = None,
) -> None:
    """Talk in the terminal; goes on with the last conversation."""
    from candide import __version__
    from candide.cli.keyboard import typed_ahead
    from candide.cli.output import print_note
    from candide.errors import BadRequest

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadRequest(
            "a chat needs a terminal", hint="candide ask takes a question as argument or on standard input"
        )
    # From the first moment on: loading takes long enough to begin typing.
    with typed_ahead():
        print_note(f"candide {__version__} · /help for commands")
        from candide.cli.chat import chat as hold_chat

        settings = _serving(invocation(ctx).settings(engine_urls=engine_url or None), model)
        run(hold_chat(settings, new=new, reference=conversation, model=model, alone=bool(engine_url)))


@app.command()
def ask(
    ctx: typer.Context,
    question: Annotated[
        list[str] | None, typer.Argument(help="The question; text on standard input is put under it.")
    ] = None,
    library: LibraryFlag = None,
    web: Annotated[bool, typer.Option("--web", help="Answer from what a search of the web finds.")] = False,
    no_search: Annotated[
        bool, typer.Option("--no-search", help="Search nothing, whatever the conversation wishes.")
    ] = False,
    model: ModelFlag = None,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", "-c", help="Ask in this conversation: an id, a title, or 'last'."),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="System prompt.")] = None,
    as_json: JsonFlag = False,
    questions: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="<file.jsonl>",
            help='Answer the question of each line, {"id", "question"}, with a line of JSON; - is standard input.',
        ),
    ] = None,
    engine_url: EngineFlag = None,
) -> None:
    """Ask one question and print the answer; from libraries or the web, with its sources."""
    from candide.cli.ask import Wanted, ask_all, read_question, read_wishes
    from candide.cli.ask import ask as ask_question
    from candide.cli.keyboard import typed_ahead
    from candide.errors import BadRequest

    settings = _serving(invocation(ctx).settings(engine_urls=engine_url or None), model)
    search = read_wishes(library or [], web=web, no_search=no_search)
    wanted = Wanted(model=model, reference=conversation, system=system, search=search)
    alone = bool(engine_url)
    if questions is not None:
        if question:
            raise BadRequest("--input goes without a question", hint="its lines are the questions")
        raise typer.Exit(run(ask_all(settings, questions, wanted, alone=alone)))
    whole = read_question(question or [])
    with typed_ahead():
        code = run(ask_question(settings, whole, wanted, as_json=as_json, alone=alone))
    raise typer.Exit(code)


@app.command()
def mcp(ctx: typer.Context) -> None:
    """Let another assistant search and read the libraries, over standard input and output (MCP)."""
    from candide.cli.mcp import serve_tools

    run(serve_tools(invocation(ctx).settings()))


@app.command()
def add(
    ctx: typer.Context,
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET...", help="Files, folders, JSON Lines, pages, sites and feeds."),
    ],
    library: Annotated[
        str,
        typer.Option(
            "--library",
            "-l",
            callback=check_library,
            help="Library to read them into; made where there is none.",
        ),
    ],
    kind: Annotated[
        Literal["file", "folder", "jsonl", "page", "site", "feed"] | None,
        typer.Option(help="What they are, where that cannot be told: site goes through a whole site."),
    ] = None,
    depth: Annotated[int | None, typer.Option(min=0, help="Of a site: links from its first page.")] = None,
    scope: Annotated[str | None, typer.Option(help="Of a site: what its addresses begin with.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Sources at most, of each target.")] = None,
    pattern: Annotated[
        list[str] | None, typer.Option(help="Of a folder: files that are wanted, like '*.pdf'; repeatable.")
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="<interval>", help="Look again: 30m, 1h, 2d, never; a feed is every hour."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Of a folder: take changes over as they come.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until they are read.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Read sources into a library; what is there already is updated."""
    from candide.cli.add import add as add_targets
    from candide.cli.add import read_interval

    options = {"depth": depth, "scope": scope, "limit": limit, "patterns": pattern or None}
    wishes: dict[str, Any] = {
        "options": {name: value for name, value in options.items() if value is not None},
        "refresh_s": read_interval(every),
        "watched": watch,
    }
    settings = invocation(ctx).settings()
    code = run(add_targets(settings, targets, library, wishes, kind=kind, wait=wait, as_json=as_json))
    raise typer.Exit(code)


@app.command()
def refresh(
    ctx: typer.Context,
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="[TARGET...]", help="What was added, by address or id.")
    ] = None,
    library: Annotated[
        str | None,
        typer.Option("--library", "-l", callback=check_library, help="Of this library, by name or id."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Look again at what was added, and take over what has changed."""
    from candide.cli.add import refresh as refresh_targets

    settings = invocation(ctx).settings()
    raise typer.Exit(run(refresh_targets(settings, targets or [], library, wait=wait, as_json=as_json)))


@app.command()
def sources(
    ctx: typer.Context,
    library: Annotated[
        str | None,
        typer.Option("--library", "-l", callback=check_library, help="Of this library, by name or id."),
    ] = None,
    query: Annotated[str, typer.Option("--query", "-q", help="Whose title or address says so.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many, the latest first.")] = 50,
    targets: Annotated[
        bool, typer.Option("--targets", help="What was added, instead of what came from it.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List what libraries hold."""
    from candide.cli.sources import list_sources, list_targets

    settings = invocation(ctx).settings()
    if targets:
        run(list_targets(settings, library, as_json=as_json))
    else:
        run(list_sources(settings, library, query, limit, as_json=as_json))


@app.command()
def remove(
    ctx: typer.Context,
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET|SOURCE...]", help="What was added, or a source, by address or id."),
    ] = None,
    library: Annotated[
        str | None,
        typer.Option(
            "--library", "-l", callback=check_library, help="From this library; alone, the library itself."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Remove what was added with all that came from it, a source, or a library."""
    from candide.cli.libraries import delete_library
    from candide.cli.sources import remove as remove_references
    from candide.errors import BadRequest

    settings = invocation(ctx).settings()
    if references:
        run(remove_references(settings, references, library, as_json=as_json))
    elif library is not None:
        run(delete_library(settings, library, as_json=as_json))
    else:
        raise BadRequest(
            "say what to remove", hint="candide sources shows the sources, with --targets what was added"
        )


@app.command(cls=WordsCommand)
def search(
    ctx: typer.Context,
    query: Annotated[
        list[str] | None,
        typer.Argument(
            help="Words; quote a query with operators: '\"a phrase\" -without site: before: after: lang: library: type:'."
        ),
    ] = None,
    library: Annotated[
        list[str] | None,
        typer.Option(
            "--library", callback=check_library, help="Library to search, by name or id; all if none."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=100, help="How many passages.")] = 10,
    per_source: Annotated[
        int,
        typer.Option("--per-source", min=1, max=100, help="How many of one source, while others have any."),
    ] = 2,
    site: Annotated[list[str] | None, typer.Option("--site", help="Host, with those below it.")] = None,
    language: Annotated[
        list[str] | None, typer.Option("--language", help="Language of the sources, like fr.")
    ] = None,
    after: Annotated[str, typer.Option("--after", help="Published from then on: 2024, 2024-05, hier.")] = "",
    before: Annotated[str, typer.Option("--before", help="Published before then.")] = "",
    media_type: Annotated[
        list[str] | None, typer.Option("--type", help="pdf, html, docx, markdown, or a media type.")
    ] = None,
    as_json: JsonFlag = False,
    file: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="FILE.jsonl",
            help="Search for each line's `question`, and print a line of JSON with its `id` for each; - is standard input.",
        ),
    ] = None,
) -> None:
    """Search your own sources, by words and by meaning."""
    from candide.cli.search import search as search_for
    from candide.cli.search import search_all
    from candide.errors import BadRequest

    words = " ".join(query or []).strip()
    if bool(words) == bool(file):
        raise BadRequest(
            "give a query, or a file of them with --input"
            if not words
            else "give a query or a file of them, not both",
            hint='candide search "loi de finances" --library presse',
        )
    wishes = {
        "library": library or [],
        "site": site or [],
        "language": language or [],
        "type": media_type or [],
        "after": after,
        "before": before,
        "limit": str(limit),
        "per_source": str(per_source),
    }
    settings = invocation(ctx).settings()
    if file:
        raise typer.Exit(run(search_all(settings, file, wishes)))
    run(search_for(settings, words, wishes, as_json=as_json))


@app.command()
@with_settings_flags
def serve(ctx: typer.Context, flags: dict[str, Any]) -> None:
    """Serve the page, Candide's API under /api and OpenAI's under /v1."""
    from candide.cli.browser import open_if_wanted
    from candide.cli.weights import PullProgress
    from candide.compose import check_model, check_settings, prepare_home
    from candide.server.run import serve as serve_forever

    settings = invocation(ctx).settings(**flags)
    # What is wrong is said at once, before anything is begun.
    check_settings(settings)
    check_model(settings)
    prepare_home(settings)
    serve_forever(
        settings, watch=PullProgress, when_open=lambda url: open_if_wanted(settings.open_browser, url)
    )


@app.command()
def settings(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Show every setting, its value and where it comes from."""
    from candide.cli.settings import show_settings

    show_settings(invocation(ctx).settings(), as_json=as_json)


@app.command()
def doctor(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Check machine and installation, and say what to do."""
    from candide.cli.doctor import examine

    raise typer.Exit(run(examine(invocation(ctx).settings(), as_json=as_json)))


@app.command()
def export(
    ctx: typer.Context,
    conversation: Annotated[
        str | None, typer.Argument(help="Conversation, by id or title, or 'last'.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Export every conversation.")] = False,
    form: Annotated[
        Literal["json", "markdown", "chatgpt"],
        typer.Option(
            "--format",
            "-f",
            help="json and chatgpt, the format of ChatGPT's export, can be imported; markdown is to be read.",
        ),
    ] = "json",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write, with --all FILE.zip or a folder; standard output if none, or -.",
        ),
    ] = None,
) -> None:
    """Write conversations out in an open format; --all is a ZIP with their files."""
    from candide.cli.transfer import export_conversations

    run(export_conversations(invocation(ctx).settings(), conversation, everything, form, output))


@app.command("import")
def import_(
    ctx: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            help="ChatGPT's or Open WebUI's export, or Candide's own, ZIP or JSON; - is standard input."
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Take conversations over; what is here already stays, and gets what is new."""
    from candide.cli.transfer import import_files

    raise typer.Exit(run(import_files(invocation(ctx).settings(), files, as_json=as_json)))


@app.command()
def bench(
    ctx: typer.Context,
    model: ModelFlag = None,
    prompt_tokens: Annotated[int, typer.Option(min=16, help="Length of the prompt, roughly.")] = 512,
    answer_tokens: Annotated[int, typer.Option(min=8, help="Length of the answer.")] = 128,
    runs: Annotated[int, typer.Option(min=1, help="How often each is measured; the median counts.")] = 3,
    as_json: JsonFlag = False,
    engine_url: EngineFlag = None,
) -> None:
    """Measure the engine, asked directly and through Candide."""
    from candide.cli.bench import measure
    from candide.cli.client import model_name

    settings = _serving(invocation(ctx).settings(engine_urls=engine_url or None), model)
    run(
        measure(
            settings,
            model=None if model is None else model_name(model),
            prompt_tokens=prompt_tokens,
            answer_tokens=answer_tokens,
            runs=runs,
            as_json=as_json,
        )
    )


def _serving(settings: Settings, model: str | None) -> Settings:
    """Settings under which a server of one's own serves the model asked for. Raises NotFound."""
    if model is None:
        return settings
    # A bare name may be that of a model that is installed, or served, under it; `hf:` and URLs are fetched.
    if (
        ":" not in model
        and model.endswith(".gguf")
        and Path(model).name != model
        and not Path(model).expanduser().is_file()
    ):
        from candide.cli.client import missing_file

        raise missing_file(model)
    if settings.engine_urls:
        return settings
    import dataclasses

    return dataclasses.replace(settings, model=model)


def main() -> None:
    """Run the command; every error ends here, as a message and an exit code."""
    from candide.cli.output import (
        OutputError,
        ReaderGone,
        abandon_output,
        prepare_standard_streams,
        print_error,
    )
    from candide.errors import CallerError, CandideError, SettingsError

    prepare_standard_streams()
    try:
        try:
            app(prog_name="candide")
        finally:
            sys.stdout.flush()
    except ReaderGone:
        # Whoever closed the pipe has read enough, and got it: `candide models list | head -1` is no
        # failure, under `pipefail` neither. Other tools die of SIGPIPE here, which that would count as one.
        abandon_output()
        sys.exit(0)
    except CandideError as error:
        if isinstance(error, OutputError):
            abandon_output()
        if debugging():
            raise
        print_error(error)
        # A wrong setting is the mistake of who typed the command, and no server's to answer for.
        sys.exit(2 if isinstance(error, CallerError | SettingsError) else 1)
    except Exception as error:
        if debugging():
            raise
        print_error(
            CandideError(
                f"{type(error).__name__}: {error}", hint="candide --debug … shows where; please report it"
            )
        )
        sys.exit(1)
