"""The process that reads files nobody vouches for: `python -m candide.ingestion.extraction.worker MEMORY_BYTES`.

It is given one file after the other on its standard input, and says of each on its standard output what it found or
why it could not. A message is its length in four bytes, then MessagePack: a Request, followed by as many bytes as it
says; a Reply. The end of its standard input ends it. A file that takes too much of anything ends it too: whoever
started it knows which file that was.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec
import psutil

from candide.domain.sources import Document
from candide.ingestion import language
from candide.ingestion.extraction.confinement import confine, give_seconds

MAX_BYTES = 512 * 2**20
"""Of a file."""


class Request(msgspec.Struct, kw_only=True, omit_defaults=True):
    name: str = ""
    media_type: str = ""
    url: str = ""
    path: str = ""
    """Where the file is; empty when its bytes come next."""
    size: int = 0
    """How many."""
    seconds: float = 60.0
    """How long it may be computed on."""


class Reply(msgspec.Struct, kw_only=True, omit_defaults=True):
    document: Document | None = None
    media_type: str = ""
    reason: str = ""
    """Why there is no document."""
    hint: str = ""
    is_full: bool = False
    """Whether the process has taken so much memory that another should read the next file."""


def main() -> None:
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a library prints must not stand among the replies.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    memory_bytes = int(sys.argv[1])
    # It unpacks itself into a file, which is not allowed afterwards.
    language.load()
    confine(memory_bytes)
    process = psutil.Process()
    while header := source.read(4):
        request = msgspec.msgpack.decode(source.read(int.from_bytes(header)), type=Request)
        data = source.read(request.size)
        give_seconds(request.seconds)
        reply = answer(request, data)
        del data
        reply.is_full = reply.is_full or process.memory_info().rss * 4 > memory_bytes
        _write(sink, msgspec.msgpack.encode(reply))


def answer(request: Request, data: bytes) -> Reply:
    """Read one file, whatever it is."""
    from candide.errors import UnreadableDocument
    from candide.ingestion.extraction.reader import read

    try:
        if request.path:
            data = _read_file(Path(request.path))
        document, media_type = read(data, name=request.name, media_type=request.media_type, url=request.url)
    except UnreadableDocument as error:
        return Reply(reason=error.message, hint=error.hint or "")
    except MemoryError:
        # What memory is left after this is not known: another process reads the next file.
        return Reply(reason="reading it takes more memory than a file is given", is_full=True)
    except RecursionError:
        return Reply(reason="it is nested too deeply to be a document")
    except Exception as error:  # noqa: BLE001 - any parser may raise anything; it costs this file
        return Reply(reason=f"it is broken: {type(error).__name__}: {str(error)[:200]}".rstrip(": "))
    return Reply(document=document, media_type=media_type)


def _read_file(path: Path) -> bytes:
    from candide.errors import UnreadableDocument

    try:
        if not path.is_file():
            raise UnreadableDocument("there is no such file", hint="check the path")
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableDocument(f"it is larger than {MAX_BYTES // 2**20} MB", hint="split it")
        return path.read_bytes()
    except PermissionError as error:
        raise UnreadableDocument(
            "it may not be read by the user that runs Candide", hint="check the file's permissions"
        ) from error
    except OSError as error:
        raise UnreadableDocument(f"the file cannot be read: {error.strerror or error}") from error


def _write(sink: BinaryIO, message: bytes) -> None:
    sink.write(len(message).to_bytes(4) + message)
    sink.flush()


if __name__ == "__main__":
    main()
