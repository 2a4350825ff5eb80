"""Adapters: small weights (LoRA) that change a model for one kind of request, beside the model that they belong to.

Candide ships one for answers from numbered sources, tied to its base by SHA-256: it is used with that very file and no
other. Whoever has one of their own attaches it to a model of theirs; it lies in `adapters/` under the folder of
weights, under the model's name, and comes before the one that is shipped.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from candide.errors import BadRequest, WeightsError
from candide.models.catalog import AdapterEntry, Catalog, load_catalog
from candide.models.gguf import read_header
from candide.models.weights import Weights, WeightsFolder


class Adapters:
    """The adapters of the models in a folder. Methods block."""

    def __init__(self, folder: WeightsFolder, catalog: Catalog | None = None) -> None:
        self._folder = folder
        self._catalog = catalog if catalog is not None else load_catalog()

    def find(self, model: Path) -> Path | None:
        """The adapter for a model's file, if there is one: the user's own, or the one that is shipped."""
        weights = self._folder.describe(model)
        if weights is None:
            return None
        own = self._own(weights)
        if own.is_file():
            return own
        entry = self._shipped(weights)
        if entry is None:
            return None
        path = Path(__file__).with_name(entry.file)
        return path if path.is_file() else None

    def attach(self, file: Path, model: str) -> Path:
        """Keep a copy of an adapter for a model; where it lies. Raises BadRequest when the two do not fit."""
        weights = self._folder.find(model)
        header, base = read_header(file), read_header(weights.path)
        if header.adapter != "lora":
            raise BadRequest(
                f"'{file}' is no adapter",
                param="file",
                hint="it must be a LoRA in a GGUF file, as llama.cpp's convert_lora_to_gguf.py writes it",
            )
        if header.architecture != base.architecture:
            raise BadRequest(
                f"'{file}' is for {header.architecture} models, and '{weights.name}' is {base.architecture}",
                param="model",
                hint="choose the model that it was trained on",
            )
        own = self._own(weights)
        partial = own.with_suffix(".part")
        try:
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, partial)
            partial.replace(own)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise WeightsError(f"'{own}' cannot be written: {error.strerror}", code="read_only") from error
        return own

    def detach(self, model: str) -> bool:
        """Forget the adapter that a user attached to a model; whether there was one."""
        own = self._own(self._folder.find(model))
        there = own.is_file()
        own.unlink(missing_ok=True)
        return there

    def _own(self, weights: Weights) -> Path:
        return self._folder.folder / "adapters" / f"{weights.name}.gguf"

    def _shipped(self, weights: Weights) -> AdapterEntry | None:
        for entry in self._catalog.adapters:
            if entry.base_size == weights.size and entry.base_sha256 == _hash(weights):
                return entry
        return None


def _hash(weights: Weights) -> str:
    """The SHA-256 of a model's file: as it was checked when it came, or read now, which takes a second a gigabyte."""
    if weights.record is not None:
        return weights.record.sha256
    from candide.models.partial import hash_file
    from candide.models.progress import Meter

    try:
        return hash_file(weights.path, Meter(None, weights.name))
    except OSError:
        return ""
