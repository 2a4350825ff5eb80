"""Reading: how each kind of target gives its sources to a job.

What is unchanged since the last time is not read again: files by size and time of change, pages by what their server
says, documents and entries by their content. What is gone leaves the library: files that were deleted, pages that
their server says are gone, documents that their file has no more; entries of feeds stay when their feed drops them.
What cannot be read costs itself, with a reason; what was read of it before stays. An address that must not be fetched,
and of which nothing was ever read, is not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from candide.domain.addresses import find_site
from candide.domain.jobs import Item, Problem
from candide.domain.sources import Document, Known, NewSource, Target, TargetKind
from candide.errors import FetchError, NotFound, SourceError, UnreadableDocument
from candide.ingestion import feeds, folders, jsonl, language
from candide.ingestion.addresses import RefusedAddress
from candide.ingestion.crawl import Crawler, Page
from candide.ingestion.extraction import Extractor
from candide.ingestion.fetching import Fetched, Fetcher, NotModified
from candide.ingestion.keeping import Keeper, hash_document
from candide.ingestion.robots import Robots
from candide.ingestion.sitemap import read_sitemaps
from candide.ingestion.targets import FEED_REFRESH_S, WEB_KINDS
from candide.store.jobs import JobStore
from candide.store.libraries import LibraryStore
from candide.store.sources import SourceStore

CHUNK = 64
ARTICLE_PAUSE_S = 0.2
"""Before each page behind an entry, where its host does not ask for more."""
PAUSES_S = (1.0, 5.0)
"""Before what failed and may go better is tried again."""
LONGEST_PAUSE_S = 30.0
STALE = 200

GONE = (404, 410)
HTML = ("text/html", "application/xhtml+xml")

T = TypeVar("T")


class Checked(msgspec.Struct, frozen=True):
    """What a look at a target has found about the target itself."""

    etag: str | None = None
    last_modified: str | None = None
    kind: TargetKind | None = None


class Reader:
    """Reads the targets of one job, and gives what they hold to its `keeper`."""

    def __init__(
        self,
        keeper: Keeper,
        libraries: LibraryStore,
        sources: SourceStore,
        jobs: JobStore,
        extractor: Extractor,
        fetcher: Fetcher,
        robots: Robots,
        home: Path,
    ) -> None:
        self._keeper = keeper
        self._job = keeper.job
        self._libraries = libraries
        self._sources = sources
        self._jobs = jobs
        self._extractor = extractor
        self._fetcher = fetcher
        self._robots = robots
        self._home = home

    async def read_all(self) -> None:
        """Read every target of the job that is not done with; one that was removed meanwhile is left out."""
        for target_id in self._job.target_ids:
            if self._position(f"{target_id}.done"):
                continue
            try:
                target = await self._libraries.get_target(target_id)
            except NotFound:
                continue
            await self._read(target)
            self._keeper.reach(f"{target_id}.done", 1)
            await self._keeper.flush()

    async def _read(self, target: Target) -> None:
        await self._keeper.begin(target.uri)
        # Whatever becomes of the process, it is known what it was at.
        await self._keeper.flush()
        read = {
            "file": self._read_file_target,
            "folder": self._read_folder,
            "jsonl": self._read_jsonl,
            "page": self._read_page_target,
            "feed": self._read_feed_target,
            "site": self._read_site,
        }[target.kind]
        try:
            if target.kind in WEB_KINDS:
                self._fetcher.policy.check_url(target.uri)
            checked = await read(target)
        except SourceError as error:
            await self._keeper.fail(target.uri, error)
            await self._keeper.flush()
            if isinstance(error, RefusedAddress) and not await self._has_been_read(target):
                # It would be refused for ever, and every answer would name it as missing.
                with contextlib.suppress(NotFound):
                    await self._libraries.remove_target(target.id)
                return
            await self._libraries.note_check(target.id, error=error.message)
            return
        await self._keeper.flush()
        await self._libraries.note_check(
            target.id,
            etag=checked.etag,
            last_modified=checked.last_modified,
            kind=checked.kind,
            refresh_s=FEED_REFRESH_S if checked.kind == "feed" and target.refresh_s is None else None,
        )

    async def _has_been_read(self, target: Target) -> bool:
        """Whether a target has ever given something, as far as that can be told."""
        if target.checked_at is not None and target.error is None:
            return True
        return bool(await self._sources.find_of_target(target.id))

    def _position(self, name: str) -> int:
        return self._job.progress.positions.get(name, 0)

    # Files

    async def _read_file_target(self, target: Target) -> Checked:
        self._job.progress.found += 1
        known = (await self._keeper.find_known([target.uri])).get(target.uri)
        file = await asyncio.to_thread(folders.look_at, target.uri)
        if file is not None:
            await self._read_file(target, file, known)
        elif known is not None and await asyncio.to_thread(Path(target.uri).parent.is_dir):
            await self._keeper.remove([known.source_id])
        else:
            # A drive that is not mounted is no reason to forget what was on it.
            raise UnreadableDocument(
                "there is no such file any more", hint="put it back, or remove it here too"
            )
        return Checked()

    async def _read_folder(self, target: Target) -> Checked:
        try:
            found = await asyncio.to_thread(list, folders.walk(target.uri, target.options.patterns))
        except OSError as error:
            raise _unreadable(error, "the folder") from error
        found = found[: target.options.limit]
        self._job.progress.found += len(found)
        unseen = await self._sources.find_of_target(target.id)
        blind: list[str] = []
        for some in _chunks(found):
            known = await self._keeper.find_known([one.path for one in some if isinstance(one, folders.File)])
            for one in some:
                if isinstance(one, Problem):
                    blind.append(one.uri)
                    await self._keeper.fail(one.uri, UnreadableDocument(one.reason, hint=one.hint or None))
                else:
                    unseen.pop(one.path, None)
                    await self._read_file(target, one, known.get(one.path))
        gone = [
            known.source_id
            for path, known in unseen.items()
            if not any(Path(path).is_relative_to(folder) for folder in blind)
        ]
        await self._keeper.remove(gone)
        return Checked()

    async def _read_file(self, target: Target, file: folders.File, known: Known | None) -> None:
        if known is not None and known.etag == file.stamp:
            await self._keeper.skip()
            return
        await self._keeper.begin(file.path)
        path = Path(file.path)
        try:
            content_hash = await asyncio.to_thread(_hash_file, path)
            if known is not None and known.content_hash == content_hash:
                document, media_type = Document(text=""), ""
            else:
                document, media_type = await self._extractor.extract(path)
        except SourceError as error:
            await self._keeper.fail(file.path, error)
            return
        except OSError as error:
            await self._keeper.fail(file.path, _unreadable(error, "the file"))
            return
        document.title = document.title or path.stem
        kept = self._home / "uploads"
        new = NewSource(
            key=file.path,
            uri=file.path,
            kind="file",
            media_type=media_type,
            document=document,
            cuts=[],
            content_hash=content_hash,
            target_id=target.id,
            etag=file.stamp,
            original=str(path.relative_to(self._home)) if path.is_relative_to(kept) else None,
        )
        if known is not None and known.content_hash == content_hash:
            await self._keeper.renew(new)
        else:
            await self._keeper.add(new)

    # JSON Lines

    async def _read_jsonl(self, target: Target) -> Checked:
        path = Path(target.uri)
        file = await asyncio.to_thread(folders.look_at, path)
        if file is None:
            raise UnreadableDocument(
                "there is no such file any more", hint="put it back, or remove it here too"
            )
        if target.etag == file.stamp:
            return Checked(etag=file.stamp)
        began, position = self._begin_lines(target, file)
        lines = jsonl.read(path, position)
        is_enough = False
        while not is_enough:
            try:
                some = await asyncio.to_thread(_read_lines, lines)
            except OSError as error:
                raise _unreadable(error, "the file") from error
            if not some:
                break
            documents = [_document_of(target, one) for one in some if isinstance(one, jsonl.JsonDocument)]
            known = await self._keeper.find_known(list({new.key for new in documents}))
            waiting = iter(documents)
            for one in some:
                reached = target.id, one.position
                if isinstance(one, jsonl.BadLine):
                    problem = UnreadableDocument(one.reason)
                    await self._keeper.fail(f"{target.uri}:{one.line}", problem, reached=reached)
                else:
                    new = next(waiting)
                    before = known.get(new.key)
                    if before is not None and before.content_hash == new.content_hash:
                        await self._keeper.renew(new, reached=reached)
                    else:
                        await self._keeper.add(new, reached=reached)
                is_enough = one.line == target.options.limit
                if is_enough:
                    break
            progress = self._job.progress
            progress.current = f"{target.uri}:{some[-1].line}"
            progress.found = max(progress.done, progress.done * file.size // max(1, some[-1].position))
        await self._keeper.flush()
        self._job.progress.found = self._job.progress.done
        while stale := await self._sources.find_stale(target.id, began, STALE):
            await self._keeper.remove(stale)
        return Checked(etag=file.stamp)

    def _begin_lines(self, target: Target, file: folders.File) -> tuple[float, int]:
        """When this reading began, and where it stands; it begins anew when the file has changed since."""
        names = began, modified = f"{target.id}.began", f"{target.id}.modified"
        if self._position(modified) != file.modified_ns:
            for name, value in zip(names, (time.time_ns() // 1000, file.modified_ns), strict=True):
                self._job.progress.positions[name] = value
            self._job.progress.positions[target.id] = 0
        return self._position(began) / 1e6, self._position(target.id)

    # The web

    async def _read_page_target(self, target: Target) -> Checked:
        self._job.progress.found += 1
        known = (await self._keeper.find_known([target.uri])).get(target.uri)
        try:
            fetched = await self._patiently(
                lambda: self._fetcher.fetch(
                    target.uri,
                    etag=known.etag if known else None,
                    last_modified=known.last_modified if known else None,
                )
            )
        except FetchError as error:
            if error.answered in GONE and known is not None:
                await self._keeper.remove([known.source_id])
            raise
        if isinstance(fetched, NotModified):
            await self._keeper.skip()
            return Checked()
        if feeds.is_feed(fetched.content, fetched.media_type):
            self._job.progress.found -= 1
            return await self._read_feed(target, fetched)
        # It is known by the address that its user gave, wherever that leads to.
        await self._keep_page(target, target.uri, fetched, known)
        return Checked()

    async def _read_feed_target(self, target: Target) -> Checked:
        fetched = await self._patiently(
            lambda: self._fetcher.fetch(target.uri, etag=target.etag, last_modified=target.last_modified)
        )
        if isinstance(fetched, NotModified):
            return Checked(etag=target.etag, last_modified=target.last_modified)
        return await self._read_feed(target, fetched)

    async def _read_feed(self, target: Target, fetched: Fetched) -> Checked:
        feed = await asyncio.to_thread(
            feeds.parse,
            fetched.content,
            fetched.url,
            media_type=fetched.media_type,
            charset=fetched.charset,
        )
        entries = feed.entries[: target.options.limit]
        self._job.progress.found += len(entries)
        for some in _chunks(entries):
            keys = [_key_of(target, entry) for entry in some]
            known = await self._keeper.find_known(keys)
            for key, entry in zip(keys, some, strict=True):
                content_hash = _hash(entry.title, entry.content, entry.url or "")
                if key in known and known[key].content_hash == content_hash:
                    await self._keeper.skip()
                    continue
                await self._keeper.begin(entry.url or entry.title)
                try:
                    document = await self._read_entry(target, entry)
                except SourceError as error:
                    await self._keeper.fail(entry.url or entry.title, error)
                    continue
                document.title = entry.title or document.title
                document.author = entry.author or document.author
                document.published = entry.published or document.published
                document.site = document.site or feed.title
                new = NewSource(
                    key=key,
                    uri=entry.url or target.uri,
                    kind="feed_entry",
                    media_type="text/html",
                    document=document,
                    cuts=[],
                    content_hash=content_hash,
                    target_id=target.id,
                    external_id=entry.id,
                )
                await self._keeper.add(new)
        return Checked(fetched.etag, fetched.last_modified, "feed" if target.kind != "feed" else None)

    async def _read_entry(self, target: Target, entry: feeds.Entry) -> Document:
        """The article of an entry: the feed's own, or the page behind it where that has only the beginning."""
        if entry.is_summary and entry.url is not None:
            url = entry.url
            try:
                rules = await self._robots.rules_of(url)
                await asyncio.sleep(ARTICLE_PAUSE_S if rules.delay_s is None else rules.delay_s)
                crawler = Crawler(self._fetcher, self._robots, url)
                page = await self._patiently(lambda: crawler.read_page(url))
                if isinstance(page, Page):
                    return (await self._extract(page.fetched))[0]
            except SourceError as error:
                if not entry.content:
                    raise
                self._job.note_problem(url, f"only its summary was read: {error.message}", error.hint or "")
        if not entry.content:
            raise UnreadableDocument("the feed brings no text of it, and the site asks not to read its page")
        page_of_entry = f"<!doctype html><html><body><article>{entry.content}</article></body></html>"
        document, _ = await self._extractor.extract(
            page_of_entry.encode("utf-8", "replace"),
            media_type="text/html; charset=utf-8",
            url=entry.url or target.uri,
        )
        return document

    async def _read_site(self, target: Target) -> Checked:
        crawler = Crawler(self._fetcher, self._robots, target.uri, target.options)
        known = await self._sources.find_of_target(target.id)
        started = f"{target.id}.started"
        if not self._position(started):
            await self._seed_site(target, crawler, list(known))
            self._keeper.reach(started, 1)
            await self._keeper.flush()
        counted = f"{target.id}.pages"
        pages = self._position(counted)
        seen: set[str] = set()
        while pages < crawler.limit:
            await self._keeper.flush()
            items = await self._jobs.next_items(self._job.id, CHUNK, target.id)
            if not items:
                break
            for item in items[: crawler.limit - pages]:
                pages += await self._read_site_page(crawler, target, item, known, seen)
                self._keeper.reach(counted, pages)
        self._job.progress.found = self._job.progress.done
        return Checked()

    async def _seed_site(self, target: Target, crawler: Crawler, known: Sequence[str]) -> None:
        """Give the job what is known of a site before any page is read: its beginning, its sitemap, its pages."""
        first = [Item(crawler.start, target.id)]
        listed: list[Item] = [Item(url, target.id, 1) for url in known]
        if crawler.depth > 0:
            try:
                pages = read_sitemaps(self._fetcher, self._robots, crawler.start, limit=crawler.limit)
                listed += [Item(one.url, target.id, 1) async for one in pages if crawler.covers(one.url)]
            except FetchError as error:
                # Its links may do without.
                self._job.note_problem(f"{crawler.start} (sitemap)", error.message, error.hint or "")
        for some in _chunks([*first, *listed]):
            self._job.progress.found += await self._jobs.add_items(self._job.id, some)

    async def _read_site_page(
        self, crawler: Crawler, target: Target, item: Item, known: dict[str, Known], seen: set[str]
    ) -> int:
        """Read one address of a site; 1 when it was a page, else 0."""
        await self._keeper.begin(item.key)
        before = known.get(item.key)
        try:
            page = await self._patiently(
                lambda: crawler.read_page(
                    item.key,
                    etag=before.etag if before else None,
                    last_modified=before.last_modified if before else None,
                )
            )
        except FetchError as error:
            if error.answered in GONE and before is not None:
                await self._keeper.remove([before.source_id], item=item.key)
            elif error.answered in GONE and item.depth > 0:
                # A link that leads nowhere is the site's affair.
                await self._keeper.pass_by(item=item.key)
            else:
                await self._keeper.fail(item.key, error, item=item.key)
            return 0
        if isinstance(page, NotModified):
            await self._keeper.skip(item=item.key)
            return 1
        if not isinstance(page, Page):
            if item.depth == 0:
                await self._keeper.fail(item.key, FetchError(page.reason), item=item.key)
            else:
                await self._keeper.pass_by(item=item.key)
            return 0
        room = max(0, crawler.limit * 4 - self._job.progress.found)
        self._job.progress.found += await self._jobs.add_items(
            self._job.id, crawler.items_of(page, item)[:room]
        )
        if not page.is_wanted or page.url in seen:
            await self._keeper.pass_by(item=item.key)
            return 0
        seen.add(page.url)
        before = (await self._keeper.find_known([page.url])).get(page.url)
        await self._keep_page(target, page.url, page.fetched, before, item=item.key)
        return 1

    async def _keep_page(
        self, target: Target, key: str, fetched: Fetched, known: Known | None, *, item: str | None = None
    ) -> None:
        try:
            document, media_type = await self._extract(fetched)
        except SourceError as error:
            await self._keeper.fail(key, error, item=item)
            return
        is_html = media_type in HTML
        content_hash = hash_document(document) if is_html else hashlib.sha256(fetched.content).hexdigest()
        original = None
        if media_type == "application/pdf":
            original = await asyncio.to_thread(self._keep_original, fetched.content, content_hash)
        document.title = document.title or key
        new = NewSource(
            key=key,
            uri=key,
            kind="page",
            media_type=media_type,
            document=document,
            cuts=[],
            content_hash=content_hash,
            target_id=target.id,
            original=original,
            etag=fetched.etag,
            last_modified=fetched.last_modified,
        )
        if known is not None and known.content_hash == content_hash:
            await self._keeper.renew(new, item=item)
        else:
            await self._keeper.add(new, item=item)

    def _keep_original(self, content: bytes, content_hash: str) -> str:
        """Keep a PDF, so that its pages can be shown; where it lies under the home."""
        path = self._home / "originals" / f"{content_hash}.pdf"
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            partial = path.with_suffix(".part")
            partial.write_bytes(content)
            partial.replace(path)
        return str(path.relative_to(self._home))

    async def _extract(self, fetched: Fetched) -> tuple[Document, str]:
        media_type = fetched.media_type
        if media_type and fetched.charset:
            media_type = f"{media_type}; charset={fetched.charset}"
        return await self._extractor.extract(fetched.content, media_type=media_type, url=fetched.url)

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try what may go better later once more, and again."""
        for pause in PAUSES_S:
            try:
                return await attempt()
            except FetchError as error:
                if not error.is_passing:
                    raise
                await asyncio.sleep(min(error.retry_after or pause, LONGEST_PAUSE_S))
        return await attempt()


def _read_lines(
    lines: Iterator[jsonl.JsonDocument | jsonl.BadLine],
) -> list[jsonl.JsonDocument | jsonl.BadLine]:
    return list(itertools.islice(lines, CHUNK))


def _document_of(target: Target, line: jsonl.JsonDocument) -> NewSource:
    """What is kept of a line; one without an id is known by its address, or by what it says."""
    content_hash = _hash(line.title, line.text, line.url or "", line.language, str(line.published))
    name = line.external_id or line.url or content_hash
    return NewSource(
        key=f"{target.uri}#{name}",
        uri=line.url or f"{target.uri}#{name}",
        kind="document",
        media_type="text/plain",
        document=Document(
            text=line.text,
            title=line.title,
            site=find_site(line.url or ""),
            language=line.language or language.detect(line.text),
            published=line.published,
        ),
        cuts=[],
        content_hash=content_hash,
        target_id=target.id,
        external_id=line.external_id,
    )


def _key_of(target: Target, entry: feeds.Entry) -> str:
    # Ids that are made to be the only ones of their kind, as URLs are, mean the same entry in every feed.
    return f"entry:{entry.id}" if ":" in entry.id else f"entry:{target.uri}#{entry.id}"


def _hash(*parts: str) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(error: OSError, what: str) -> UnreadableDocument:
    reason = (error.strerror or str(error)).lower()
    return UnreadableDocument(
        f"{what} cannot be read: {reason}", hint="check that it is there, and its rights"
    )


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
