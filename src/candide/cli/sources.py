"""`candide sources` and `candide remove`: what libraries hold, and what is to leave them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from candide.cli.add import is_meant
from candide.cli.connection import connect
from candide.cli.output import Entry, ago, print_entries, print_json, print_note, print_warning
from candide.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from candide.cli.client import Client
    from candide.domain.sources import Library
    from candide.settings import Settings


async def list_sources(
    settings: Settings, library: str | None, query: str, limit: int | None, *, as_json: bool = False
) -> None:
    """Print the sources of a library, or of all, the latest first."""
    wishes = {"query": query} if query else {}
    async with connect(settings) as client:
        if library is not None:
            wishes["library"] = (await client.find_library(library)).id
        names = {one.id: one.name for one in await client.libraries()}
        found = [source async for source in client.list_sources(wishes, limit)]
    if as_json:
        print_json([msgspec.to_builtins(source) for source in found])
        return
    if not found:
        print_note("no source; candide add TARGET --library NAME adds some")
        return
    rows = [
        (one.title or one.uri, names.get(one.library_id, ""), one.language, _day(one.published), one.uri, one.id)
        for one in found
    ]  # fmt: skip
    entries = [
        Entry(title, address, source_id, (library_name, language, day))
        for title, library_name, language, day, address, source_id in rows
    ]
    print_entries(rows, entries)
    if len(found) == limit:
        print_note(f"the latest {limit}; --limit shows more, --query those whose title or address says so")


async def list_targets(settings: Settings, library: str | None, *, as_json: bool = False) -> None:
    """Print what was added to a library, or to all."""
    async with connect(settings) as client:
        libraries = await _choose(client, library)
        found = [(one, target) for one in libraries for target in await client.list_targets(one.id)]
    if as_json:
        described: list[dict[str, Any]] = [msgspec.to_builtins(target) for _, target in found]
        print_json(described)
        return
    rows = [
        (
            target.uri,
            target.kind,
            one.name,
            "watched" if target.watched else _interval(target.refresh_s),
            f"looked at {ago(target.checked_at)}"
            if target.checked_at and sys.stdout.isatty()
            else ago(target.checked_at)
            if target.checked_at
            else "not yet",
            target.id,
        )
        for one, target in found
    ]
    if not rows:
        print_note("nothing was added yet; candide add TARGET --library NAME adds something")
    entries = [
        Entry(address, address, target_id, (kind, name, refreshed, looked_at))
        for address, kind, name, refreshed, looked_at, target_id in rows
    ]
    print_entries(rows, entries)
    for _, target in found:
        if target.error:
            print_warning(f"{target.uri}: {target.error}")


async def remove(
    settings: Settings, references: Sequence[str], library: str | None, *, as_json: bool = False
) -> None:
    """Remove targets with all that came from them, or single sources. Raises NotFound, and then removes none."""
    async with connect(settings) as client:
        libraries = await _choose(client, library)
        targets = [target for one in libraries for target in await client.list_targets(one.id)]
        ids = {one.id for one in libraries}
        doomed_targets: dict[str, str] = {}
        doomed_sources: dict[str, str] = {}
        for reference in references:
            meant = [target for target in targets if is_meant(reference, target)]
            doomed_targets.update((target.id, target.uri) for target in meant)
            if not meant:
                source_id, uri = await _find_source(client, reference, ids)
                doomed_sources[source_id] = uri
        told: dict[str, list[dict[str, Any]]] = {"targets": [], "sources": []}
        for target_id, uri in doomed_targets.items():
            count = await client.remove_target(target_id)
            told["targets"].append({"id": target_id, "uri": uri, "sources": count})
            print_note(f"removed '{uri}' and {count} source{'' if count == 1 else 's'} of it")
        for source_id, uri in doomed_sources.items():
            await client.remove_source(source_id)
            told["sources"].append({"id": source_id, "uri": uri})
            print_note(f"removed '{uri}'")
            within = [
                one.uri
                for one in targets
                if one.kind in ("folder", "site") and uri.startswith(one.uri.rstrip("/") + "/")
            ]
            if within and all(one.uri != uri for one in targets):
                print_note(
                    f"it comes back when '{within[0]}' is refreshed: take it out of there, or remove that too"
                )
    if as_json:
        print_json(told)


async def _find_source(client: Client, reference: str, library_ids: set[str]) -> tuple[str, str]:
    """The id and address of the one source that is meant."""
    if reference.startswith("source_"):
        source = await client.get_source(reference)
        return source.id, source.uri
    found = [
        source
        async for source in client.list_sources({"query": reference}, 1000)
        if source.uri == reference and source.library_id in library_ids
    ]
    if not found:
        raise NotFound(
            f"there is no target and no source '{reference}'",
            hint="candide sources shows the sources, with --targets what was added",
        )
    if len(found) > 1:
        raise BadRequest(
            f"'{reference}' stands for {len(found)} sources", hint="give the id: candide sources shows it"
        )
    return found[0].id, found[0].uri


async def _choose(client: Client, library: str | None) -> list[Library]:
    return await client.libraries() if library is None else [await client.find_library(library)]


def _day(moment: float | None) -> str:
    if moment is None:
        return ""
    try:
        return datetime.fromtimestamp(moment, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):
        return ""


def _interval(seconds: float | None) -> str:
    if not seconds:
        return "on request"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"every {seconds / size:g}{unit}"
    return f"every {seconds:g}s"
