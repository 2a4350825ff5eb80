"""The weights that a server is fetching so that it has a model to answer with."""

from __future__ import annotations

from typing import Protocol

import msgspec

from candide.errors import CandideError


class Fetching(msgspec.Struct, frozen=True, kw_only=True):
    """How far it has come."""

    model: str
    """Empty until one was chosen."""
    file: str = ""
    received_bytes: int = 0
    total_bytes: int | None = None
    bytes_per_s: float = 0.0
    note: str = ""
    """Why it waits, for people."""
    error: CandideError | None = None
    """Why it ended without the weights."""


class WeightsFetcher(Protocol):
    """Fetches the weights that a server starts with, while the server runs."""

    @property
    def fetching(self) -> Fetching | None:
        """None once the model is there."""
        ...

    def start(self) -> None:
        """Begin, or begin again after an error, going on with what has come; does nothing while it runs."""
        ...

    async def wait(self) -> None:
        """Return once the model is there. Raises WeightsError when it could not be fetched."""
        ...
