"""What is known of a model's file: the catalogue's words, and what the file says of itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

from candide.models.gguf import read_header
from candide.models.weights import WeightsFolder


class FileFacts(msgspec.Struct, frozen=True):
    description: str
    size_bytes: int
    context_tokens: int | None
    """What the model was trained for."""


def describe_file(path: Path) -> FileFacts:
    """Blocks while it reads the head of the file. Raises WeightsError or OSError where that cannot be read."""
    header = read_header(path)
    weights = WeightsFolder(path.parent).describe(path)
    entry = weights.entry if weights else None
    return FileFacts(
        description=entry.description if entry else "",
        size_bytes=path.stat().st_size,
        context_tokens=header.context_tokens or None,
    )
