"""Targets: what a user types after `candide add`, understood.

Only the shape of the text and what lies on the disk decide; nothing is fetched. That a page is a feed shows when it is
read, and a whole site is only gone through when asked for.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import get_args
from urllib.parse import unquote, urlsplit

from candide.domain.sources import Target, TargetKind
from candide.errors import BadRequest, FetchError
from candide.ingestion.addresses import Policy, normalize
from candide.ingestion.folders import is_text

JSONL_SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
FEED_REFRESH_S = 3600.0
"""How often a feed is looked at when nobody says so."""

WEB_KINDS: tuple[TargetKind, ...] = ("page", "site", "feed")

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_DOMAIN = re.compile(r"(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?(?:[/?#]\S*)?", re.IGNORECASE)


def parse(text: str, *, kind: str | None = None) -> Target:
    """The target that `text` names: a URL, or the path of a file or a folder (`~` and relative paths are completed).

    `kind` says what it is where the text alone does not: a site or feed for a URL, jsonl for a file. Raises BadRequest
    with what would be right.
    """
    text = text.strip()
    wanted = _check_kind(kind)
    if not text or "\x00" in text or not is_text(text):
        raise BadRequest("a target is a file, a folder or a URL, in UTF-8", param="uri")
    scheme = _SCHEME.match(text)
    if scheme and scheme[1].lower() in ("http", "https"):
        return _parse_url(text, wanted)
    if scheme and scheme[1].lower() in ("feed", "rss"):
        rest = text[scheme.end() :]
        url = rest if _SCHEME.match(rest) else f"https://{rest.lstrip('/')}"
        return _parse_url(url, wanted or "feed")
    if scheme and scheme[1].lower() == "file":
        text = _path_of(text)
    elif scheme and text[scheme.end() :].startswith("//"):
        raise BadRequest(
            f"'{text}' cannot be read: only http, https and files are",
            param="uri",
            hint="give a URL that begins with https://, or a path",
        )
    return _parse_path(text, wanted)


def _check_kind(kind: str | None) -> TargetKind | None:
    kinds: tuple[TargetKind, ...] = get_args(TargetKind)
    if not kind:
        return None
    for known in kinds:
        if kind == known:
            return known
    near = difflib.get_close_matches(kind, kinds, n=1)
    raise BadRequest(
        f"there is no kind of target '{kind}'",
        param="kind",
        hint=f"did you mean {near[0]}?" if near else f"it is one of {', '.join(kinds)}",
    )


def _parse_url(url: str, kind: TargetKind | None) -> Target:
    if kind is not None and kind not in WEB_KINDS:
        raise BadRequest(
            f"'{url}' is on the web, not a {kind}", param="kind", hint="kinds of the web are page, site, feed"
        )
    try:
        # What the settings allow is not known here: an address that must not be fetched is refused when it is.
        Policy(["0.0.0.0/0", "::/0"]).check_url(url)
    except FetchError as error:
        raise BadRequest(error.message, param="uri", hint=error.hint) from error
    normal = normalize(url)
    if normal is None:
        raise BadRequest(f"'{url}' is not an address", param="uri")
    return Target(kind=kind or "page", uri=normal)


def _parse_path(text: str, kind: TargetKind | None) -> Target:
    # Not resolve(): a link stays one, and what it leads to may change.
    path = Path(os.path.abspath(os.path.expanduser(text)))
    if kind in WEB_KINDS:
        raise BadRequest(f"'{text}' is no URL, and a {kind} needs one", param="uri", hint=_url_hint(text))
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise BadRequest(f"'{text}' cannot be read: {error.strerror}", param="uri") from error
    if is_folder:
        if kind not in (None, "folder"):
            raise BadRequest(f"'{path}' is a folder, not a {kind}", param="kind")
        return Target(kind="folder", uri=str(path))
    if is_file:
        if kind == "folder":
            raise BadRequest(f"'{path}' is a file, not a folder", param="kind")
        if kind is None and path.name.lower().endswith(JSONL_SUFFIXES):
            kind = "jsonl"
        return Target(kind=kind or "file", uri=str(path))
    if os.path.lexists(path):
        raise BadRequest(f"'{path}' is neither a file nor a folder, or a link to what is gone", param="uri")
    raise BadRequest(
        f"there is no file or folder '{path}'",
        param="uri",
        hint=_near_name(path) or _url_hint(text) or _no_folder(path),
    )


def _url_hint(text: str) -> str | None:
    return f"did you mean https://{text}?" if _DOMAIN.fullmatch(text) else None


def _near_name(path: Path) -> str | None:
    try:
        names = os.listdir(path.parent)
    except OSError:
        return None
    near = difflib.get_close_matches(path.name, names[:10_000], n=1, cutoff=0.75)
    return f"did you mean {path.parent / near[0]}?" if near else None


def _no_folder(path: Path) -> str | None:
    return None if path.parent.is_dir() else f"there is no folder '{path.parent}' either"


def _path_of(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise BadRequest(
            f"'{uri}' is a file of another machine", param="uri", hint="copy it here, or mount it"
        )
    return unquote(parts.path)
