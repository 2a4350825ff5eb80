"""Fetches one file over HTTP, from the model hub or any other web server.

A download goes on where it stopped (`Range`, with `If-Range` so that bytes of two versions never
mix), is checked while it streams, and appears under its name only when it is whole and right;
`partial.py` keeps what has come. Cut connections and overloaded servers are tried again with growing
pauses, for as long as there is progress. The token of the hub goes to the hub alone and to none of
the servers that it redirects to. `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` are followed.

It is written on `urllib.request`: one blocking stream, called from a thread, is all it needs, and
the standard library brings proxies with their exceptions, TLS with the system's certificates and
per-read timeouts without a dependency. aiohttp would need an event loop in that thread;
`huggingface_hub` brings a cache of its own layout and several megabytes, and can neither fetch from
elsewhere nor be held to a hash.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import http.client
import os
import random
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from email.message import Message
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import msgspec

from candide.errors import WeightsError
from candide.models.partial import Part
from candide.models.progress import Meter, ProgressCallback, format_size

READ_BYTES = 1 << 18
CONNECT_S = 10.0
"""For a server's addresses to take a connection; a network that swallows packets shows here."""
LONGEST_PAUSE_S = 30.0
LONGEST_RETRY_AFTER_S = 120.0
MAX_REDIRECTS = 10

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch, and how patiently. Times are in seconds."""

    url: str
    label: str
    """How messages and progress name the source."""
    sha256: str | None = None
    size: int | None = None
    token: str | None = None
    """Shown to the server of `url` only."""
    magic: bytes = b""
    """What the file must begin with."""
    attempts: int = 6
    """Tries in a row without a single byte of progress."""
    pause: float = 0.5
    """Before the second try; doubled for each further one."""
    timeout: float = 30.0
    """Without a byte."""


class Downloaded(msgspec.Struct, frozen=True):
    sha256: str
    size: int
    revision: str | None
    """The hub's commit, where it is one."""


def download_file(
    download: Download,
    target: Path,
    *,
    progress: ProgressCallback | None = None,
    check: Callable[[Path], None] | None = None,
) -> Downloaded:
    """Fetch a file to `target`, going on with an earlier attempt's part if there is one.

    `check` sees the whole file before it gets its name and may raise. Raises WeightsError with the
    codes `unreachable`, `gated`, `not_found`, `refused`, `wrong_hash`, `wrong_size`, `not_a_file`,
    `no_space`, `read_only` or `disk`.
    """
    meter = Meter(progress, download.label)
    meter.total = download.size
    with Part(target, meter) as part:
        part.open(download.url, download.sha256)
        transfer = _Transfer(download, part, meter)
        transfer.run()
        size = part.size
        return Downloaded(part.finish(check), size, transfer.revision)


class _AgainError(Exception):
    """This try failed, the next may do better; the reason, and when to come back."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class _Transfer:
    """Tries until the part is whole."""

    def __init__(self, download: Download, part: Part, meter: Meter) -> None:
        self._download = download
        self._part = part
        self._meter = meter
        self._opener = _build_opener()
        self._restarts = 0
        self._connected = False
        self.revision: str | None = None

    def run(self) -> None:
        failures = 0
        while True:
            before = self._part.size
            try:
                self._try_once()
            except _AgainError as again:
                failures = 0 if self._part.size > before else failures + 1
                # A server that never answered will hardly do so soon, and there may be another source.
                patience = self._download.attempts if self._connected else min(2, self._download.attempts)
                if failures >= patience:
                    raise self._unreachable(str(again)) from again
                self._meter.wait(self._pause(failures, again.after), f"{again}; trying again")
            else:
                return

    def _pause(self, failures: int, after: float | None) -> float:
        if after is not None:
            return min(after, LONGEST_RETRY_AFTER_S)
        pause = min(self._download.pause * 2 ** max(0, failures - 1), LONGEST_PAUSE_S)
        return pause * random.uniform(0.75, 1.25)  # noqa: S311

    def _try_once(self) -> None:
        part = self._part
        resumable = part.state.etag is not None or part.state.sha256 is not None
        if part.size and not resumable:
            part.restart()  # nothing would tell bytes of two versions apart
        if part.size and part.size == part.state.size:
            return
        self._meter.enter("connecting")
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        if part.size and part.state.etag:
            headers["If-Range"] = part.state.etag
        with _network_errors(self._download.label):
            if not self._connected:
                _knock(self._download.url)
            response, linked = self._follow(headers)
        with response:
            self._connected = True
            start, total = self._judge(response, linked)
            if start is None:
                return
            self._receive(response, total)

    # The answer's head

    def _follow(self, headers: Mapping[str, str]) -> tuple[http.client.HTTPResponse, Message]:
        """Ask, going where the server sends us; the last answer, and the hub's own headers on the way."""
        url = self._download.url
        home = _origin(url)
        linked = Message()
        for _ in range(MAX_REDIRECTS):
            request = urllib.request.Request(url, headers={**_HEADERS, **headers})  # noqa: S310
            if self._download.token and _origin(url) == home:
                request.add_unredirected_header("Authorization", f"Bearer {self._download.token}")
            response: http.client.HTTPResponse = self._opener.open(request, timeout=self._download.timeout)
            for name in ("X-Linked-ETag", "X-Linked-Size", "X-Repo-Commit"):
                if name not in linked and name in response.headers:
                    linked[name] = response.headers[name]
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response, linked
            response.close()
            try:
                following = urljoin(url, location)
                _origin(following)
            except ValueError:
                raise self._error(
                    f"is redirected to '{location}', which is no web address", code="refused"
                ) from None
            if urlsplit(following).scheme != "https" and urlsplit(url).scheme == "https":
                raise self._error(f"is redirected to '{following}', which is not encrypted", code="refused")
            if urlsplit(following).scheme not in ("http", "https"):
                raise self._error(f"is redirected to '{following}', which is no web address", code="refused")
            url = following
        raise self._error(f"is redirected more than {MAX_REDIRECTS} times", code="refused")

    def _judge(self, response: http.client.HTTPResponse, linked: Message) -> tuple[int | None, int | None]:
        """Where the body goes on, and the size of the whole; (None, ...) when nothing is missing."""
        part, status = self._part, response.status
        if status == 416:
            return self._judge_range_refused(response)
        if status not in (200, 206):
            raise self._refusal(response)
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise self._error(
                "sent a web page instead of a file",
                hint="give the address of the file itself; behind a sign-in page of a network, sign in first",
                code="not_a_file",
            )
        self.revision = linked.get("X-Repo-Commit") or self.revision
        self._check_hash(linked)
        etag, total = self._read_identity(response, linked)
        start = 0
        if status == 206:
            start = _range_start(response.headers.get("Content-Range", ""))
            if start is None or start > part.size:
                raise self._error("answers with another range than was asked for", code="refused")
        if start == 0 or (part.state.etag is not None and etag is not None and part.state.etag != etag):
            part.restart()
            if status == 206 and start > 0:
                raise _AgainError("the file has changed at the source", after=0)
        part.truncate(start)
        part.note(etag=etag, size=total)
        if total is not None:
            part.require_space(total)
        return start, total

    def _judge_range_refused(self, response: http.client.HTTPResponse) -> tuple[int | None, int | None]:
        """The server has no bytes where the part ends: the part is whole, or it is of another file."""
        part = self._part
        total = _range_total(response.headers.get("Content-Range", ""))
        agreed = part.state.sha256 is not None or part.state.size in (None, total)
        if part.size and total == part.size and agreed:
            return None, total
        self._restarts += 1
        if self._restarts > 1:
            raise self._error("refuses the range that was asked for (416)", code="refused")
        part.restart()
        raise _AgainError("the file at the source is shorter than the part", after=0)

    def _check_hash(self, linked: Message) -> None:
        """Hold the hash that the hub announces against ours, before a byte is taken; or take it for ours."""
        expected, part = self._download.sha256, self._part
        announced = linked.get("X-Linked-ETag", "").strip('"').lower()
        if not _SHA256.fullmatch(announced):
            return
        if expected is not None and announced != expected:
            raise self._error(
                f"has another file than the one that is known (SHA-256 {announced}, not {expected})",
                hint="pull it with hf:OWNER/REPO/FILE.gguf if you trust the new one",
                code="wrong_hash",
            )
        if part.state.sha256 is None and not part.size:
            part.state.sha256 = announced
        elif part.state.sha256 != announced:
            part.restart(announced)
            raise _AgainError("the file has changed at the source", after=0)

    def _read_identity(
        self, response: http.client.HTTPResponse, linked: Message
    ) -> tuple[str | None, int | None]:
        """The file's ETag and size; refuses an answer that contradicts itself or what is known."""
        expected, headers = self._download, response.headers
        sizes = [_range_total(headers.get("Content-Range", "")), _number(linked.get("X-Linked-Size"))]
        if response.status == 200:
            sizes.append(_number(headers.get("Content-Length")))
        known = [size for size in (expected.size, *sizes) if size is not None]
        if len(set(known)) > 1:
            raise self._error(
                f"announces {max(known)} bytes here and {min(known)} there",
                hint="the file at the source is not the one that was asked for, or a proxy is in the way",
                code="wrong_size",
            )
        etag = headers.get("ETag")
        weak = etag is None or etag.startswith("W/")
        return None if weak else etag, known[0] if known else None

    def _refusal(self, response: http.client.HTTPResponse) -> Exception:
        status = response.status
        reason = response.headers.get("X-Error-Message") or response.reason or ""
        if status in (408, 425, 429) or status >= 500:
            return _AgainError(
                f"{self._download.label} answers {status} {reason}".strip(), _retry_after(response)
            )
        if status in (401, 403):
            if self._download.token:
                hint = "the key in HF_TOKEN may not read it: ask for access on the model's page of the hub"
            else:
                hint = (
                    "accept its terms on the model's page of the hub, make a key there and set HF_TOKEN to it"
                )
            return self._error(
                f"may not be read ({status} {reason})".replace(" )", ")"), hint=hint, code="gated"
            )
        if status in (404, 410):
            return self._error(f"does not exist ({status})", hint="check its spelling", code="not_found")
        return self._error(f"answers {status} {reason}".strip(), code="refused")

    # The answer's body

    def _receive(self, response: http.client.HTTPResponse, total: int | None) -> None:
        part = self._part
        self._meter.enter("downloading")
        while True:
            with _network_errors(self._download.label):
                data = response.read1(READ_BYTES)
            if not data:
                break
            if part.size < len(self._download.magic):
                head = data[: len(self._download.magic) - part.size]
                if not self._download.magic.startswith(head, part.size):
                    part.drop()
                    raise self._error(
                        "is not a GGUF file",
                        hint="the embedded engine reads GGUF files only",
                        code="not_a_file",
                    )
            if total is not None and part.size + len(data) > total:
                part.drop()
                raise self._error(f"sends more than the {total} bytes that it announced", code="wrong_size")
            part.append(data)
        if total is not None and part.size < total:
            raise _AgainError(f"the connection to {self._download.label} was cut")

    def _error(self, what: str, *, code: str, hint: str | None = None) -> WeightsError:
        return WeightsError(f"{self._download.label} {what}", hint=hint, code=code)

    def _unreachable(self, reason: str) -> WeightsError:
        kept = f"; {format_size(self._part.size)} of it are kept" if self._part.size else ""
        return WeightsError(
            f"{self._download.label} cannot be fetched: {reason}{kept}",
            hint="check the network (HTTPS_PROXY, HF_ENDPOINT) and pull again, or pull the path of a file",
            code="unreachable",
        )


_HEADERS = {"User-Agent": "candide", "Accept-Encoding": "identity", "Accept": "*/*"}


class _KeepAnswers(urllib.request.HTTPErrorProcessor):
    """Hands every answer back as it is: redirects and errors are judged here."""

    def http_response(self, request: urllib.request.Request, response: http.client.HTTPResponse):
        return response

    https_response = http_response


def _knock(url: str) -> None:
    """Raise an OSError unless the server takes a connection soon.

    urllib tries a server's addresses one after the other, each for as long as a read may take; where
    a firewall swallows packets that is minutes.
    """
    scheme, host, port = _origin(url)
    if host is None or (scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)):
        return

    async def connect() -> None:
        _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=0.25)
        writer.close()

    asyncio.run(asyncio.wait_for(connect(), CONNECT_S))


def _build_opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.build_opener(_KeepAnswers())
    opener.addheaders = []
    return opener


@contextlib.contextmanager
def _network_errors(label: str) -> Generator[None]:
    """Turns what the network does to us into a reason to try again."""
    try:
        yield
    except http.client.InvalidURL as error:
        raise WeightsError(f"{label} is no web address: {error}", code="not_found") from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise WeightsError(
                f"the certificate of {label} is not trusted: {reason.verify_message}",
                hint="install the ca-certificates package, or set SSL_CERT_FILE to your network's certificates",
                code="unreachable",
            ) from error
        raise _AgainError(_describe(reason)) from error


def _describe(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.errno and reason.errno > 0:
        return os.strerror(reason.errno).lower()
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return str(reason) or type(reason).__name__


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 20 else None


def _range_start(text: str) -> int | None:
    found = re.fullmatch(r"bytes (\d{1,19})-\d+/(?:\d+|\*)", text.strip())
    return int(found[1]) if found else None


def _range_total(text: str) -> int | None:
    found = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d{1,19})", text.strip())
    return int(found[1]) if found else None


def _retry_after(response: http.client.HTTPResponse) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text[:6])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
