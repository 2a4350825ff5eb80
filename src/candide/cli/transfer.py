"""`candide export` and `candide import`: conversations as documents in files and pipes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from candide.cli.connection import connect
from candide.cli.output import print_json, print_note
from candide.errors import BadRequest

if TYPE_CHECKING:
    from candide.cli.client import Client
    from candide.settings import Settings

REQUEST_BYTES = 8 * 2**20
"""Conversations are sent in requests of about this size: a large history exceeds what a server takes at once."""

Form = Literal["json", "markdown"]


class _Document(msgspec.Struct, kw_only=True):
    """An export document with its conversations left as they stand."""

    format: str
    version: int
    exported_at: float
    conversations: list[msgspec.Raw]


async def export_conversations(
    settings: Settings, reference: str | None, everything: bool, form: Form, output: Path | None
) -> None:
    """Write one conversation, or all, to a file or standard output. Raises CandideError."""
    if everything == (reference is not None):
        raise BadRequest(
            "say what to export: a conversation or --all",
            hint="candide export last; candide conversations list shows them",
        )
    async with connect(settings) as client:
        if reference is not None:
            conversation = await client.find_conversation(reference)
            document = await client.export_conversation(conversation.id, form)
        else:
            document = await _export_all(client, form)
    if output is None:
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
    else:
        _write_whole(output, document)
        print_note(f"written to {output}")


def _write_whole(path: Path, document: bytes) -> None:
    """Write a file so that it is the whole document or the one that was there before."""
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(document)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BadRequest(
            f"'{path}' cannot be written: {error.strerror}", param="output", hint="-o names another file"
        ) from error


async def _export_all(client: Client, form: Form) -> bytes:
    pages = [
        await client.export_conversation(conversation.id, form)
        async for conversation in client.all_conversations()
    ]
    if form == "markdown":
        return b"\n".join(pages)
    documents = [msgspec.json.decode(page, type=_Document) for page in pages]
    if not documents:
        raise BadRequest("there is no conversation to export")
    whole = documents[-1]
    whole.conversations = [c for document in documents for c in document.conversations]
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


async def import_conversations(settings: Settings, file: str, *, as_json: bool = False) -> None:
    """Add the conversations of a document that are not there yet. Raises CandideError."""
    document = _read_document(file)
    imported: list[str] = []
    skipped: list[str] = []
    async with connect(settings) as client:
        for part in _split(document):
            done = await client.import_document(part)
            imported += done["imported"]
            skipped += done["skipped"]
    if as_json:
        print_json({"imported": imported, "skipped": skipped})
        return
    already = f"; {len(skipped)} were here already" if skipped else ""
    print_note(f"{len(imported)} of {len(document.conversations)} conversations imported{already}")


def _read_document(file: str) -> _Document:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise BadRequest(f"'{file}' cannot be read: {error.strerror}", param="file") from error
    try:
        return msgspec.json.decode(data, type=_Document)
    except msgspec.DecodeError as error:
        raise BadRequest(
            f"'{file}' is not an export of Candide: {error}", hint="candide export writes one"
        ) from None


def _split(document: _Document) -> list[bytes]:
    parts: list[bytes] = []
    batch: list[msgspec.Raw] = []
    size = 0
    for conversation in document.conversations:
        length = len(memoryview(conversation))
        if batch and size + length > REQUEST_BYTES:
            parts.append(_encode(document, batch))
            batch, size = [], 0
        batch.append(conversation)
        size += length
    parts.append(_encode(document, batch))
    return parts


def _encode(document: _Document, conversations: list[msgspec.Raw]) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(document, conversations=conversations))
