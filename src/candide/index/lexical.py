"""Passages by their words: a folder of tantivy's, written by one process and read by any.

A batch of changes and the position that it brings the index to are one commit. A reader looks at every query whether
there was one, which costs it the time of one look at a file. A folder of another format, or a damaged one, counts as
empty: whoever writes makes it anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from candide.domain.retrieval import Filters, Hit, IndexChange, WordQuery
from candide.errors import StoreError
from candide.index.analysis import (
    CHARACTERS,
    PAIRS,
    PLAIN,
    STEMMERS,
    clean_text,
    drop_stop_words,
    find_stem_field,
    find_unspaced,
    get_analyzer,
    list_stem_fields,
)

if TYPE_CHECKING:
    import tantivy

FORMAT = 1
DAMAGED = "damaged"
"""A file that whoever finds damage leaves for whoever writes."""
WRITER_HEAP_BYTES = 64 * 2**20
WRITER_THREADS = 2
OPEN_ATTEMPTS = 5


class Weights(msgspec.Struct, frozen=True):
    """What a word counts for, by where it is found."""

    stem: float = 1.0
    plain: float = 0.5
    title: float = 0.4
    headings: float = 0.2
    pairs: float = 1.0


MOST_LANGUAGES = 4
"""In so many languages a query's words are looked for, the most frequent of the index."""
MOST_WORDS = 64
"""Of a query; the rest is not looked for."""

SHORTEST_MISSPELT = 4
"""Characters; shorter words that no text has are not taken for others."""
LONG_WORD = 8
"""From this length on two letters may be wrong, else one."""
NEAR_WORD_SCORE = 6.0
"""What a misspelt word counts for: about as much as a word that few texts have."""


class WordIndex:
    def __init__(self, folder: Path, weights: Weights | None = None) -> None:
        self._folder = folder
        self._weights = weights or Weights()
        self._lock = threading.Lock()
        self._writer: tantivy.IndexWriter | None = None
        self._written: tantivy.Index | None = None
        self._reader: tuple[tuple[int, int, int], tantivy.Searcher, tantivy.Schema, list[str]] | None = None

    # Reading

    def read_position(self) -> int:
        """Up to which change all is taken in; 0 of an index that is not there."""
        from tantivy import Query

        view = self._view()
        if view is None:
            return 0
        searcher = view[0]
        hits = searcher.search(Query.exists_query("position"), limit=10, count=False).hits
        values = searcher.fast_field_values("position", [address for _, address in hits])
        return max((int(value) for value in values if value is not None), default=0)

    def find(self, query: WordQuery, filters: Filters, limit: int) -> list[Hit]:
        view = self._view()
        if view is None:
            return []
        searcher, schema, languages = view
        wanted = _QueryBuilder(searcher, schema, self._weights).build(query, filters, languages)
        if wanted is None:
            return []
        with self._damage_is_told():
            found = searcher.search(wanted, limit=limit, count=False).hits
            addresses = [address for _, address in found]
            numbers = searcher.fast_field_values("passage", addresses)
            return [
                Hit(int(number), searcher.doc(address)["source"][0], float(score))
                for (score, address), number in zip(found, numbers, strict=True)
                if number is not None
            ]

    @contextlib.contextmanager
    def _damage_is_told(self) -> Generator[None]:
        """Have trouble with the files rise as StoreError, and whoever writes know of it."""
        try:
            yield
        except BaseException as error:
            # Rust's panics are no Exceptions in Python; here they say that a file does not hold what it should.
            if not isinstance(error, ValueError | OSError) and type(error).__name__ != "PanicException":
                raise
            with contextlib.suppress(OSError):
                (self._folder / DAMAGED).touch()
            raise StoreError(f"the index of words is damaged, and will be made anew: {error}") from error

    def _view(self) -> tuple[tantivy.Searcher, tantivy.Schema, list[str]] | None:
        """The state of the last commit; None where there is no index."""
        for attempt in range(OPEN_ATTEMPTS):
            state = self._look()
            if state is None:
                return None
            with self._lock:
                if self._reader is None or self._reader[0] != state:
                    try:
                        self._reader = (state, *self._open())
                    except (ValueError, OSError) as error:
                        # The files of a commit go when the next two have been made.
                        if attempt + 1 == OPEN_ATTEMPTS:
                            raise StoreError(f"the index of words cannot be opened: {error}") from error
                        time.sleep(0.02 * (attempt + 1))
                        continue
                return self._reader[1:]
        return None

    def _look(self) -> tuple[int, int, int] | None:
        try:
            there = os.stat(self._folder / "meta.json")
        except OSError:
            return None
        return there.st_ino, there.st_mtime_ns, there.st_size

    def _open(self) -> tuple[tantivy.Searcher, tantivy.Schema, list[str]]:
        import tantivy

        if _read_format(self._folder) != FORMAT:
            raise ValueError("it has another format")
        index = tantivy.Index.open(str(self._folder))
        # Only on request: the other policy has a thread look at the folder all the time.
        index.config_reader("manual")
        index.reload()
        searcher = index.searcher()
        counts = searcher.terms_with_prefix("language", "")
        counts.sort(key=lambda pair: -pair[1])
        return searcher, index.schema, [language for language, _ in counts]

    # Writing, by whoever holds the lock of the folder

    def add(self, changes: Sequence[IndexChange]) -> None:
        """Take changes in and commit. Raises StoreError when that is not possible; nothing has changed then."""
        writer = self._open_writer()
        try:
            for change in changes:
                writer.delete_documents_by_term("source", change.source_id)
                for document in _make_documents(change):
                    writer.add_document(document)
            if changes:
                self._commit(writer, changes[-1].seq)
        except (ValueError, OSError) as error:
            self.close()
            raise StoreError(
                f"the index of words cannot be written: {error}", hint="is the disk full?"
            ) from error
        except BaseException:
            self.close()
            raise

    def _commit(self, writer: tantivy.IndexWriter, position: int) -> None:
        from tantivy import Document

        writer.delete_documents_by_term("meta", "position")
        document = Document()
        document.add_text("meta", "position")
        document.add_unsigned("position", position)
        writer.add_document(document)
        writer.commit()

    def _open_writer(self) -> tantivy.IndexWriter:
        import tantivy

        if self._writer is None:
            try:
                if _read_format(self._folder) != FORMAT:
                    self.clear()
                    self._folder.mkdir(parents=True)
                    (self._folder / "format.json").write_text(json.dumps({"format": FORMAT}))
                index = tantivy.Index(_make_schema(), path=str(self._folder))
                for name in (PLAIN, PAIRS, CHARACTERS, *list_stem_fields()):
                    index.register_tokenizer(name, get_analyzer(name))
                index.config_reader("manual")
                self._writer = index.writer(WRITER_HEAP_BYTES, WRITER_THREADS)
                self._written = index
            except (ValueError, OSError) as error:
                raise StoreError(f"the index of words cannot be written: {error}") from error
        return self._writer

    def is_whole(self) -> bool:
        """Whether the files of the last commit are there and end as they should; one that is not there is whole.

        What this process writes is not looked through again, unless a reader has found damage.
        """
        if (self._folder / DAMAGED).exists():
            return False
        if self._writer is not None:
            return True
        if self._look() is None:
            return not self._folder.exists() or not any(self._folder.glob("*.term"))
        if _read_format(self._folder) != FORMAT:
            return False
        try:
            segments = json.loads((self._folder / "meta.json").read_bytes())["segments"]
            names = {segment["segment_id"].replace("-", "") for segment in segments}
            for name in names:
                files = list(self._folder.glob(f"{name}.*"))
                if not {".term", ".idx", ".store", ".fast"} <= {file.suffix for file in files}:
                    return False
                if not all(_has_footer(file) for file in files):
                    return False
            self._open()
        except (ValueError, OSError, KeyError):
            return False
        return True

    def clear(self) -> None:
        """Forget everything; the next `add` begins anew."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        writer, self._writer, self._written = self._writer, None, None
        if writer is not None:
            # Consumes the writer, and lets go of its lock.
            with contextlib.suppress(ValueError):
                writer.rollback()
            with contextlib.suppress(ValueError):
                writer.wait_merging_threads()
        with self._lock:
            self._reader = None


def _make_schema() -> tantivy.Schema:
    from tantivy import SchemaBuilder

    builder = SchemaBuilder()
    builder.add_text_field(PLAIN, tokenizer_name=PLAIN, index_option="position")
    for name in list_stem_fields():
        builder.add_text_field(name, tokenizer_name=name, index_option="freq")
    builder.add_text_field(PAIRS, tokenizer_name=PAIRS, index_option="freq")
    builder.add_text_field(CHARACTERS, tokenizer_name=CHARACTERS, index_option="position")
    builder.add_text_field("title", tokenizer_name=PLAIN, index_option="position")
    builder.add_text_field("headings", tokenizer_name=PLAIN, index_option="position")
    for name in ("library", "site", "language", "media_type", "meta"):
        builder.add_text_field(name, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("source", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("passage", fast=True)
    builder.add_integer_field("published", fast=True, indexed=True)
    builder.add_unsigned_field("position", fast=True)
    return builder.build()


def _make_documents(change: IndexChange) -> Iterator[tantivy.Document]:
    from tantivy import Document

    source = change.source
    if source is None:
        return
    stem_field = find_stem_field(source.language)
    title = clean_text(source.title)
    for passage in change.passages:
        text = clean_text(passage.text)
        document = Document()
        document.add_unsigned("passage", passage.id)
        document.add_text("source", source.id)
        document.add_text(PLAIN, text)
        if stem_field is not None:
            document.add_text(stem_field, text)
        for part in find_unspaced(text):
            document.add_text(PAIRS, part)
            document.add_text(CHARACTERS, part)
        document.add_text("title", title)
        if passage.headings:
            document.add_text("headings", clean_text(passage.headings))
        document.add_text("library", source.library_id)
        for site in list_sites(source.site):
            document.add_text("site", site)
        if source.language:
            document.add_text("language", source.language)
        document.add_text("media_type", source.media_type)
        if source.published is not None:
            document.add_integer("published", int(source.published // 1))
        yield document


def list_sites(host: str) -> list[str]:
    """A host and those above it: `www.lemonde.fr`, `lemonde.fr`, `fr`."""
    parts = [part for part in host.lower().strip(".").split(".") if part]
    return [".".join(parts[at:]) for at in range(len(parts))]


class _QueryBuilder:
    def __init__(self, searcher: tantivy.Searcher, schema: tantivy.Schema, weights: Weights) -> None:
        import tantivy

        self._q = tantivy.Query
        self._must = tantivy.Occur.Must
        self._should = tantivy.Occur.Should
        self._must_not = tantivy.Occur.MustNot
        self._integer = tantivy.FieldType.Integer
        self._searcher = searcher
        self._schema = schema
        self._weights = weights

    def build(self, query: WordQuery, filters: Filters, languages: Sequence[str]) -> tantivy.Query | None:
        parts: list[tuple[Any, tantivy.Query]] = []
        asked_in = list(filters.languages) or [query.language, *languages[:MOST_LANGUAGES]]
        words = self._words(query, asked_in)
        phrases = [self._phrase(clean_text(phrase)) for phrase in query.phrases]
        asked = [phrase for phrase in phrases if phrase is not None]
        parts += [(self._must, phrase) for phrase in asked]
        if words:
            # Where a phrase must be there, the other words are only for the order.
            parts.append((self._should if asked else self._must, self._q.boolean_query(words)))
        if not parts:
            return None
        for unwanted in query.without:
            phrase = self._phrase(clean_text(unwanted))
            if phrase is not None:
                parts.append((self._must_not, phrase))
        parts += [(self._must, self._q.const_score_query(one, 0.0)) for one in self._filters(filters)]
        return parts[0][1] if len(parts) == 1 else self._q.boolean_query(parts)

    def _words(self, query: WordQuery, languages: Sequence[str]) -> list[tuple[Any, tantivy.Query]]:
        """Each word in each field where it may stand; stems in the fields of these languages."""
        weights = self._weights
        text = clean_text(query.text)
        said = drop_stop_words(text, [query.language] if query.language in STEMMERS else languages)
        found: list[tuple[Any, tantivy.Query]] = []
        for word in dict.fromkeys(get_analyzer(PLAIN).analyze(said)[:MOST_WORDS]):
            found += [
                self._term(PLAIN, word, weights.plain),
                self._term("title", word, weights.title),
                self._term("headings", word, weights.headings),
            ]
            if self._is_unknown(word):
                found += self._near_words(word)
        for field in dict.fromkeys(map(find_stem_field, languages)):
            if field is not None:
                stems = dict.fromkeys(get_analyzer(field).analyze(said)[:MOST_WORDS])
                found += [self._term(field, stem, weights.stem) for stem in stems]
        for part in find_unspaced(text):
            pairs = dict.fromkeys(get_analyzer(PAIRS).analyze(part)[:MOST_WORDS])
            found += [self._term(PAIRS, pair, weights.pairs) for pair in pairs]
        return found

    def _is_unknown(self, word: str) -> bool:
        """Whether no text has it, nor a title."""
        return all(self._searcher.doc_freq(field, word) == 0 for field in (PLAIN, "title"))

    def _near_words(self, word: str) -> Iterator[tuple[Any, tantivy.Query]]:
        """Words that may have been meant; the nearer ones hold for both."""
        if len(word) < SHORTEST_MISSPELT or not word.isalpha():
            return
        most = 2 if len(word) >= LONG_WORD else 1
        for distance in range(1, most + 1):
            near = self._q.fuzzy_term_query(self._schema, PLAIN, word, distance)
            yield self._should, self._q.boost_query(near, NEAR_WORD_SCORE / most)

    def _term(self, field: str, word: str, weight: float) -> tuple[Any, tantivy.Query]:
        term = self._q.term_query(self._schema, field, word, index_option="freq")
        return self._should, self._q.boost_query(term, weight)

    def _phrase(self, text: str) -> tantivy.Query | None:
        """What holds where these words stand one after the other, in a text, a title or headings."""
        words = get_analyzer(PLAIN).analyze(text)
        if not words:
            return None
        parts = find_unspaced(text)
        if parts:
            runs = [self._run(CHARACTERS, get_analyzer(CHARACTERS).analyze(part)) for part in parts]
            return self._q.boolean_query([(self._must, run) for run in runs])
        return self._q.boolean_query(
            [(self._should, self._run(field, words)) for field in (PLAIN, "title", "headings")]
        )

    def _run(self, field: str, words: list[str]) -> tantivy.Query:
        if len(words) == 1:
            return self._q.term_query(self._schema, field, words[0], index_option="freq")
        return self._q.phrase_query(self._schema, field, [*words])

    def _filters(self, filters: Filters) -> Iterator[tantivy.Query]:
        for field, values in (
            ("library", filters.libraries),
            ("site", tuple(site.lower().strip(".") for site in filters.sites)),
            ("language", filters.languages),
            ("media_type", filters.media_types),
        ):
            if values:
                yield self._q.term_set_query(self._schema, field, list(values))
        if filters.after is not None or filters.before is not None:
            yield self._q.range_query(
                self._schema,
                "published",
                self._integer,
                None if filters.after is None else int(-(-filters.after // 1)),
                None if filters.before is None else int(-(-filters.before // 1)),
                # An open end counts as included.
                include_upper=filters.before is None,
            )


def _read_format(folder: Path) -> int | None:
    try:
        return json.loads((folder / "format.json").read_bytes())["format"]
    except (OSError, ValueError, KeyError):
        return None


def _has_footer(file: Path) -> bool:
    """Whether a file of tantivy's ends as it was written; those of deletions have the same end."""
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 256))
        return b'"crc":' in stream.read()
