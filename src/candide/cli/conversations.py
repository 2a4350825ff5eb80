"""`candide conversations`: list, show, search, rename and delete them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from candide.cli.invocation import invocation, run

if TYPE_CHECKING:
    from candide.settings import Settings

app = typer.Typer(help="List, show, search, rename and delete conversations.", no_args_is_help=True)

Reference = Annotated[str, typer.Argument(help="Conversation, by id or title, or 'last'.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="How many, the latest first.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List the latest conversations."""
    run(_list(invocation(ctx).settings(), limit, as_json))


async def _list(settings: Settings, limit: int, as_json: bool) -> None:
    from candide.cli.client import ConversationView
    from candide.cli.connection import connect
    from candide.cli.output import ago, print_json, print_note, print_table

    found: list[ConversationView] = []
    async with connect(settings) as client:
        async for conversation in client.all_conversations():
            found.append(conversation)
            if len(found) == limit:
                break
    if as_json:
        print_json(
            [{"id": c.id, "title": c.title, "model": c.model, "created_at": c.created_at, "updated_at": c.updated_at} for c in found]
        )  # fmt: skip
    elif found:
        rows = [(c.id, c.title or "untitled", ago(c.updated_at)) for c in found]
        print_table(("id", "title", "last used"), rows)
    else:
        print_note("no conversation yet; candide ask 'a question' begins one")


@app.command()
def show(ctx: typer.Context, conversation: Reference = "last", as_json: JsonFlag = False) -> None:
    """Print a conversation: its current branch, or with --json the whole tree."""
    run(_show(invocation(ctx).settings(), conversation, as_json))


async def _show(settings: Settings, reference: str, as_json: bool) -> None:
    from candide.cli.connection import connect
    from candide.cli.output import print_json

    async with connect(settings) as client:
        conversation = await client.find_conversation(reference)
        if as_json:
            print_json(conversation)
            return
        document = await client.export_conversation(conversation.id, "markdown")
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
        return
    from rich.console import Console

    from candide.cli.markdown import AnswerMarkdown
    from candide.cli.output import plain_text

    Console(highlight=False).print(AnswerMarkdown(plain_text(document.decode())))


@app.command()
def search(
    ctx: typer.Context,
    query: Annotated[list[str], typer.Argument(help="Words to look for, in any language.")],
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="How many places.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Search every message of every conversation."""
    run(_search(invocation(ctx).settings(), " ".join(query), limit, as_json))


async def _search(settings: Settings, query: str, limit: int, as_json: bool) -> None:
    from candide.cli.connection import connect
    from candide.cli.output import print_json, print_note

    async with connect(settings) as client:
        hits = await client.search(query, limit)
    if as_json:
        print_json(hits)
    elif not hits:
        print_note(f"nothing about '{query}'")
    elif not sys.stdout.isatty():
        for hit in hits:
            sys.stdout.write(
                f"{hit.conversation_id}\t{hit.conversation_title}\t{' '.join(hit.snippet.split())}\n"
            )
    else:
        from rich.console import Console
        from rich.text import Text

        from candide.cli.output import ago, plain_text

        console = Console(highlight=False)
        for hit in hits:
            title = plain_text(hit.conversation_title) or "untitled"
            console.print(
                Text.assemble((title, "bold"), (f"  {hit.conversation_id} · {ago(hit.created_at)}", "dim"))
            )
            snippet = Text(hit.snippet)
            for start, end in hit.highlights:
                snippet.stylize("bold yellow", start, end)
            console.print(*snippet.split("\n"))


@app.command()
def rename(
    ctx: typer.Context,
    conversation: Reference,
    title: Annotated[str, typer.Argument(help="The new title.")],
) -> None:
    """Give a conversation another title."""
    from candide.errors import BadRequest

    title = title.strip()
    if not title:
        raise BadRequest("the new title is empty")
    run(_rename(invocation(ctx).settings(), conversation, title))


async def _rename(settings: Settings, reference: str, title: str) -> None:
    from candide.cli.connection import connect

    async with connect(settings) as client:
        conversation = await client.find_conversation(reference)
        await client.change_conversation(conversation.id, title=title)


@app.command()
def delete(
    ctx: typer.Context,
    conversation: Reference,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a conversation; `restore` takes it back."""
    run(_delete(invocation(ctx).settings(), conversation, yes))


async def _delete(settings: Settings, reference: str, yes: bool) -> None:
    from candide.cli.connection import connect
    from candide.cli.output import print_note
    from candide.errors import BadRequest

    async with connect(settings) as client:
        conversation = await client.find_conversation(reference)
        name = conversation.title or conversation.id
        if not yes:
            if not sys.stdin.isatty():
                raise BadRequest(f"deleting “{name}” needs a yes", hint="--yes says so")
            if not typer.confirm(f"Delete “{name}” ({len(conversation.messages)} messages)?", err=True):
                return
        await client.delete_conversation(conversation.id)
        print_note(f"deleted; candide conversations restore {conversation.id} takes it back")


@app.command()
def restore(
    ctx: typer.Context,
    conversation: Annotated[str, typer.Argument(help="The id of the deleted conversation.")],
) -> None:
    """Take a deleted conversation back."""
    run(_restore(invocation(ctx).settings(), conversation))


async def _restore(settings: Settings, conversation_id: str) -> None:
    from candide.cli.connection import connect

    async with connect(settings) as client:
        await client.restore_conversation(conversation_id)
