"""The catalogue: the weights that Candide knows by name, as data in `catalog.toml`.

Every entry can be fetched and checked: it has at least one source, in the order in which they are
tried. An entry without a SHA-256 is checked against the one that its hub announces.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from candide.errors import NotFound

Ability = Literal["chat", "tools", "thinking", "vision"]


class CatalogEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One set of weights. Sizes are in bytes."""

    name: str
    description: str
    family: str
    parameters_billions: float
    quantisation: str
    languages: tuple[str, ...]
    """The main ones, as ISO 639-1 codes."""
    context_tokens: int
    licence: str
    file: str
    sources: tuple[str, ...]
    """In order of preference, each as `candide.models.sources.parse_source` reads it."""
    abilities: tuple[Ability, ...]
    layers: int
    kv_bytes_per_token: int
    """Of the KV cache in f16, counting the layers whose cache grows with the context."""
    quality: int
    """Orders the models among each other; no unit."""
    size: int
    sha256: str | None = None
    active_billions: float | None = None
    """Parameters that one token passes through, where these are fewer than all."""
    thinks_first: bool = False
    """Writes its reasoning before the answer, unless told not to."""

    @property
    def has_mirror(self) -> bool:
        """Whether it can be had without the hub."""
        return any(not source.startswith("hf:") for source in self.sources)

    @property
    def bytes_read_per_token(self) -> int:
        """How much of the weights one token of an answer passes through."""
        if self.active_billions is None:
            return self.size
        return int(self.size * self.active_billions / self.parameters_billions)


class AdapterEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adapter that is shipped, and the one file of weights that it belongs to. Sizes are in bytes."""

    name: str
    description: str
    use: Literal["grounding"]
    """The requests that it is applied to: answers from numbered sources."""
    base: str
    """The base's name in the catalogue."""
    base_size: int
    base_sha256: str
    file: str
    """Beside the catalogue."""
    size: int
    sha256: str
    licence: str


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[CatalogEntry, ...]
    adapters: tuple[AdapterEntry, ...] = ()

    def __iter__(self) -> Iterator[CatalogEntry]:
        return iter(self.models)

    def get(self, name: str) -> CatalogEntry | None:
        return next((entry for entry in self.models if entry.name == name.lower()), None)

    def find(self, name: str) -> CatalogEntry:
        """The entry of this name; raises NotFound with the names that come close."""
        entry = self.get(name)
        if entry is None:
            raise NotFound(
                f"no model '{name}' in the catalogue", hint=self.suggest(name), code="model_not_found"
            )
        return entry

    def suggest(self, name: str) -> str:
        """One line for a hint: the names close to a mistyped one, or where to find all."""
        names = [entry.name for entry in self.models]
        close = [known for known in names if name and known.startswith(name.lower())]
        close += [
            known
            for known in difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
            if known not in close
        ]
        if close:
            return f"did you mean {' or '.join(close[:3])}? candide models list shows all"
        return "candide models list shows the names"


@functools.cache
def load_catalog() -> Catalog:
    """The catalogue that ships with this version."""
    text = Path(__file__).with_name("catalog.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Catalog)
