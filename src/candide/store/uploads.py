"""Files that are sent to be kept: written beside where they belong as they come, and there at once when they are whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from candide.errors import BadRequest, StoreError

WRITE_BYTES = 4 * 2**20


async def receive_file(
    body: AsyncIterator[bytes], path: Path, partial: Path, *, length: int | None = None, durable: bool = False
) -> int:
    """Keep a body at `path`, through `partial` on the same disk; how many bytes it has.

    A `durable` one has reached the disk when this returns. Nothing is left of one that breaks off. Raises BadRequest
    when it is empty or not of the `length` that was announced, StoreError when it cannot be kept.
    """
    try:
        try:
            size = await _write(partial, body, durable)
        except OSError as error:
            raise _cannot_keep(error) from error
        if not size:
            raise BadRequest("the file is empty", param="body")
        if length is not None and size != length:
            raise BadRequest(f"the file breaks off after {size} of {length} bytes", param="body")
        # At once: it is there or not, also when whoever sends it goes at this moment.
        partial.replace(path)  # noqa: ASYNC240
    except BaseException:
        partial.unlink(missing_ok=True)  # noqa: ASYNC240
        raise
    return size


async def _write(path: Path, body: AsyncIterator[bytes], durable: bool) -> int:
    size = 0
    await asyncio.to_thread(path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
    with await asyncio.to_thread(path.open, "wb") as file:
        batch: list[bytes] = []
        waiting = 0
        async for piece in body:
            batch.append(piece)
            waiting += len(piece)
            if waiting >= WRITE_BYTES:
                await asyncio.to_thread(file.write, b"".join(batch))
                size += waiting
                batch, waiting = [], 0
        await asyncio.to_thread(file.write, b"".join(batch))
        size += waiting
        if durable:
            await asyncio.to_thread(file.flush)
            await asyncio.to_thread(os.fsync, file.fileno())
    return size


def _cannot_keep(error: OSError) -> StoreError:
    if error.errno in (28, 122):  # no space, no quota
        return StoreError(
            "there is no room on the disk for the file",
            hint="make room; nothing was kept of it",
            code="disk_full",
        )
    return StoreError(
        f"the file cannot be kept: {error.strerror}", hint="check the rights of the home's folder"
    )
