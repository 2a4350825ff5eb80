"""The index in PostgreSQL, for servers that share one: words by its full-text search, vectors by pgvector.

Texts become words here, by the same analysis as in the embedded index, and are handed over as finished `tsvector`s, so that
the server needs no configuration of languages. Ranking takes what PostgreSQL knows of a word in a text, and how few
texts have it. Each batch of changes is one transaction with the position that it brings the index to; one connection
writes at a time, by an advisory lock. The tables are made with the first change. Without the extension `vector`
words work alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from typing import Any

from candide.domain.retrieval import Filters, Hit, IndexChange, Positions, WordQuery
from candide.errors import StoreError
from candide.index.analysis import (
    PAIRS,
    PLAIN,
    STEMMERS,
    clean_text,
    drop_stop_words,
    find_stem_field,
    find_unspaced,
    get_analyzer,
)

log = logging.getLogger(__name__)

FORMAT = 1
LOCK_NUMBER = 0x43414E44
POOL_SIZE = 4
MOST_WORDS = 32
LAST_POSITION = 16_383
"""A tsvector's; words behind it cannot be told apart by their place."""
FREQUENT = 10_000
"""How often a word is there is counted up to here."""
MOST_HEADINGS_WORDS = 200
TITLE_GAP = 8
"""Positions between the parts of a passage, so that no phrase reaches from one into the other."""

_TABLES = """
CREATE SCHEMA IF NOT EXISTS candide_index;
CREATE TABLE IF NOT EXISTS candide_index.meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS candide_index.words (
    passage bigint PRIMARY KEY, source text NOT NULL, library text NOT NULL, sites text[] NOT NULL,
    language text NOT NULL, media_type text NOT NULL, published double precision, words tsvector NOT NULL
);
CREATE INDEX IF NOT EXISTS words_by_source ON candide_index.words (source);
CREATE INDEX IF NOT EXISTS words_by_word ON candide_index.words USING gin (words);
"""
_VECTOR_TABLES = """
CREATE TABLE IF NOT EXISTS candide_index.vectors (
    passage bigint PRIMARY KEY, source text NOT NULL, library text NOT NULL, sites text[] NOT NULL,
    language text NOT NULL, media_type text NOT NULL, published double precision, vector halfvec({dimensions}) NOT NULL
);
CREATE INDEX IF NOT EXISTS vectors_by_source ON candide_index.vectors (source);
CREATE INDEX IF NOT EXISTS vectors_by_nearness ON candide_index.vectors USING hnsw (vector halfvec_cosine_ops);
"""


class PostgresIndex:
    """A `PassageIndex` over the database of this URL, `postgresql://...`.

    Where a `model` is named, the vectors of others count as none.
    """

    def __init__(self, url: str, dimensions: int = 384, model: str = "") -> None:
        self._url = url.replace("postgresql+asyncpg://", "postgresql://")
        self._dimensions = dimensions
        self._model = model
        self._pool: Any = None
        self._writer: Any = None
        self._has_vectors: bool | None = None
        self._opening = asyncio.Lock()

    async def positions(self) -> Positions:
        async with self._connection() as connection:
            meta = await self._read_meta(connection)
        return Positions(int(meta.get("words", 0)), self._find_position(meta))

    async def prepare(self, last_change: int, model: str | None = None) -> Positions:
        """See `PassageIndex.prepare`. Raises StoreError when another process writes this index.

        Where the server has no pgvector, vectors count as taken in: nobody need make them.
        """
        connection = await self._open_writer()
        with _trouble_is_named():
            meta = await self._read_meta(connection)
            async with connection.transaction():
                if meta.get("format") != str(FORMAT) or int(meta.get("words", 0)) > last_change:
                    await connection.execute("DROP TABLE IF EXISTS candide_index.words")
                    await connection.execute(_TABLES)
                    await self._write_meta(connection, words="0", format=str(FORMAT))
                if model is not None and self._has_vectors:
                    wanted = f"{model}/{self._dimensions}"
                    if meta.get("model", wanted) != wanted or int(meta.get("vectors", 0)) > last_change:
                        await connection.execute("DROP TABLE IF EXISTS candide_index.vectors")
                        await self._write_meta(connection, vectors="0")
                    await connection.execute(_VECTOR_TABLES.format(dimensions=self._dimensions))
                    await self._write_meta(connection, model=wanted)
            meta = await self._read_meta(connection)
        vectors = self._find_position(meta) if self._has_vectors else last_change
        return Positions(int(meta.get("words", 0)), vectors)

    def _find_position(self, meta: Mapping[str, str]) -> int:
        """Up to which change vectors are taken in: none, where they are of another model."""
        return int(meta.get("vectors", 0)) if self._is_ours(meta) else 0

    def _is_ours(self, meta: Mapping[str, str]) -> bool:
        wanted = f"{self._model}/{self._dimensions}"
        return not self._model or meta.get("model", wanted) == wanted

    async def add_words(self, changes: Sequence[IndexChange]) -> None:
        rows = await asyncio.to_thread(lambda: [row for one in changes for row in _word_rows(one)])
        await self._add("words", changes, rows, "$8::text::tsvector")

    async def add_vectors(
        self, changes: Sequence[IndexChange], vectors: Mapping[int, Sequence[float]]
    ) -> None:
        rows = [
            (*columns, _spell_vector(vectors[columns[0]], self._dimensions))
            for change in changes
            for columns in _columns(change)
            if columns[0] in vectors
        ]
        await self._add("vectors", changes, rows, "$8::text::halfvec")

    async def _add(
        self, table: str, changes: Sequence[IndexChange], rows: Sequence[tuple[Any, ...]], last: str
    ) -> None:
        if not changes:
            return
        connection = await self._open_writer()
        with _trouble_is_named():
            if not await connection.fetchval("SELECT to_regclass($1)", f"candide_index.{table}"):
                await connection.execute(_TABLES)
                if table == "vectors":
                    if not self._has_vectors:
                        raise _no_pgvector()
                    await connection.execute(_VECTOR_TABLES.format(dimensions=self._dimensions))
                await self._write_meta(connection, format=str(FORMAT))
            async with connection.transaction():
                await connection.execute(
                    f"DELETE FROM candide_index.{table} WHERE source = ANY($1)",  # noqa: S608
                    [change.source_id for change in changes],
                )
                await connection.executemany(
                    f"INSERT INTO candide_index.{table} VALUES ($1, $2, $3, $4, $5, $6, $7, {last})"  # noqa: S608
                    " ON CONFLICT (passage) DO NOTHING",
                    rows,
                )
                await self._write_meta(connection, **{table: str(changes[-1].seq)})

    async def find_words(self, query: WordQuery, filters: Filters, limit: int) -> list[Hit]:
        async with self._connection() as connection:
            if not await connection.fetchval("SELECT to_regclass('candide_index.words')"):
                return []
            languages = list(filters.languages) or [query.language]
            if not any(languages):
                rows = await connection.fetch(
                    "SELECT language FROM candide_index.words GROUP BY language ORDER BY count(*) DESC LIMIT 4"
                )
                languages = [row["language"] for row in rows]
            words, phrases, unwanted = _read_query(query, languages)
            if not words and not phrases:
                return []
            values: list[Any] = [words]
            conditions = _conditions(filters, values)
            if words and not phrases:
                values.append(" | ".join(words))
                conditions.append(f"words @@ ${len(values)}::tsquery")
            for phrase in phrases:
                values.append(phrase)
                conditions.append(f"words @@ ${len(values)}::tsquery")
            for phrase in unwanted:
                values.append(phrase)
                conditions.append(f"NOT words @@ ${len(values)}::tsquery")
            score = "(SELECT coalesce(sum(rarity * ts_rank(words, word, 1)), 0) FROM asked)"
            if phrases:
                values.append(" & ".join(f"({phrase})" for phrase in phrases))
                score += f" + ts_rank(words, ${len(values)}::tsquery, 1)"
            values.append(limit)
            rows = await connection.fetch(
                "WITH total AS (SELECT greatest(reltuples, (SELECT count(*) FROM"  # noqa: S608
                f" (SELECT 1 FROM candide_index.words LIMIT {FREQUENT}) AS rows)) AS n FROM pg_class"
                " WHERE oid = 'candide_index.words'::regclass),"
                " counted AS (SELECT word::tsquery AS word, (SELECT count(*) FROM (SELECT 1 FROM candide_index.words"
                f" WHERE words @@ asked.word::tsquery LIMIT {FREQUENT}) AS found) AS times FROM unnest($1::text[]) AS asked(word)),"
                " asked AS MATERIALIZED (SELECT word, ln(1 + greatest(n, times) / (times + 0.5)) AS rarity FROM counted, total)"
                f" SELECT passage, source, {score} AS score FROM candide_index.words"
                f" WHERE {' AND '.join(conditions) or 'true'} ORDER BY score DESC, passage LIMIT ${len(values)}",
                *values,
            )
        return [Hit(row["passage"], row["source"], float(row["score"])) for row in rows]

    async def find_vector(self, vector: Sequence[float], filters: Filters, limit: int) -> list[Hit]:
        async with self._connection() as connection:
            if not await connection.fetchval("SELECT to_regclass('candide_index.vectors')"):
                if not self._has_vectors:
                    raise _no_pgvector()
                return []
            if not self._is_ours(await self._read_meta(connection)):
                return []
            values: list[Any] = [_spell_vector(vector, self._dimensions)]
            conditions = _conditions(filters, values)
            values.append(limit)
            async with connection.transaction(readonly=True):
                await connection.execute(f"SET LOCAL hnsw.ef_search = {min(1000, max(96, limit))}")
                # Where filters let few through the graph is followed on until there are enough.
                await connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
                rows = await connection.fetch(
                    "SELECT passage, source, 1 - (vector <=> $1::text::halfvec) AS score FROM candide_index.vectors"  # noqa: S608
                    f" WHERE {' AND '.join(conditions) or 'true'}"
                    f" ORDER BY vector <=> $1::text::halfvec LIMIT ${len(values)}",
                    *values,
                )
        return [Hit(row["passage"], row["source"], float(row["score"])) for row in rows]

    async def close(self) -> None:
        pool, writer = self._pool, self._writer
        self._pool = self._writer = None
        if pool is not None:
            with _trouble_is_named():
                if writer is not None:
                    # Its lock goes with it.
                    await pool.release(writer)
                await pool.close()

    async def _open_pool(self) -> Any:
        async with self._opening:
            if self._pool is None:
                try:
                    # Imported by name: it comes without types.
                    asyncpg: Any = importlib.import_module("asyncpg")
                except ImportError:
                    raise StoreError(
                        "PostgreSQL needs the package asyncpg", hint="pip install 'candide[postgres]'"
                    ) from None
                with _trouble_is_named():
                    self._pool = await asyncpg.create_pool(
                        self._url, min_size=0, max_size=POOL_SIZE, init=_ignore_notices
                    )
                    async with self._pool.acquire() as connection:
                        self._has_vectors = await self._provide_pgvector(connection)
        return self._pool

    async def _provide_pgvector(self, connection: Any) -> bool:
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except Exception as error:
            if not _is_of_asyncpg(error):
                raise
            there = await connection.fetchval("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
            if not there:
                log.warning("passages are found by words alone: %s (%s)", _no_pgvector(), error)
            return bool(there)
        return True

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        pool = await self._open_pool()
        with _trouble_is_named():
            async with pool.acquire() as connection:
                yield connection

    async def _open_writer(self) -> Any:
        pool = await self._open_pool()
        if self._writer is None or self._writer.is_closed():
            with _trouble_is_named():
                connection: Any = await pool.acquire()
                if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_NUMBER):
                    await pool.release(connection)
                    raise StoreError("another process writes the index")
                self._writer = connection
        return self._writer

    async def _read_meta(self, connection: Any) -> dict[str, str]:
        if not await connection.fetchval("SELECT to_regclass('candide_index.meta')"):
            return {}
        rows = await connection.fetch("SELECT name, value FROM candide_index.meta")
        return {row["name"]: row["value"] for row in rows}

    async def _write_meta(self, connection: Any, **values: str) -> None:
        await connection.executemany(
            "INSERT INTO candide_index.meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            list(values.items()),
        )


async def _ignore_notices(connection: Any) -> None:
    # That a table is there already is no news.
    await connection.execute("SET client_min_messages = warning")


def _no_pgvector() -> StoreError:
    return StoreError(
        "the PostgreSQL server has no pgvector",
        hint="install it there, and have a superuser say CREATE EXTENSION vector in this database",
    )


@contextlib.contextmanager
def _trouble_is_named() -> Generator[None]:
    try:
        yield
    except ImportError:
        raise
    except (OSError, TimeoutError) as error:
        raise StoreError(f"the index in PostgreSQL cannot be reached: {error}") from error
    except Exception as error:
        if not _is_of_asyncpg(error):
            raise
        raise StoreError(f"the index in PostgreSQL does not work: {error}") from error


def _is_of_asyncpg(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "asyncpg"


def _columns(change: IndexChange) -> Iterator[tuple[Any, ...]]:
    from candide.index.lexical import list_sites

    source = change.source
    if source is None:
        return
    for passage in change.passages:
        yield (
            passage.id,
            source.id,
            source.library_id,
            list_sites(source.site),
            source.language,
            source.media_type,
            source.published,
        )


def _word_rows(change: IndexChange) -> Iterator[tuple[Any, ...]]:
    for columns, passage in zip(_columns(change), change.passages, strict=False):
        source = change.source
        assert source is not None
        yield (*columns, _spell_words(source.language, source.title, passage.headings, passage.text))


def _spell_words(language: str, title: str, headings: str, text: str) -> str:
    """A tsvector: words as spelled are those of the text (weight D), the title (A) and the headings (B); stems, marked by
    their field's name, have weight C, and pairs of characters stand among the words."""
    places: dict[str, list[str]] = {}
    at = 0

    def put(words: Sequence[str], weight: str, mark: str = "") -> None:
        nonlocal at
        for word in words:
            at += 1
            places.setdefault(mark + word, []).append(f"{min(at, LAST_POSITION)}{weight}")
        at += TITLE_GAP

    text = clean_text(text)
    put(get_analyzer(PLAIN).analyze(clean_text(title)), "A")
    put(get_analyzer(PLAIN).analyze(clean_text(headings))[:MOST_HEADINGS_WORDS], "B")
    put(get_analyzer(PLAIN).analyze(text), "D")
    for part in find_unspaced(text):
        put(get_analyzer(PAIRS).analyze(part), "D")
    field = find_stem_field(language)
    if field is not None:
        put(get_analyzer(field).analyze(text), "C", f"{field}:")
    return " ".join(f"{_quote(word)}:{','.join(places[word][:256])}" for word in places)


def _read_query(query: WordQuery, languages: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Its words, phrases and unwanted phrases, each a tsquery."""
    text = clean_text(query.text)
    said = drop_stop_words(text, [query.language] if query.language in STEMMERS else languages)
    words = [_quote(word) for word in get_analyzer(PLAIN).analyze(said)[:MOST_WORDS]]
    for field in dict.fromkeys(map(find_stem_field, languages)):
        if field is not None:
            words += [_quote(f"{field}:{stem}") for stem in get_analyzer(field).analyze(said)[:MOST_WORDS]]
    for part in find_unspaced(text):
        words += [_quote(pair) for pair in get_analyzer(PAIRS).analyze(part)[:MOST_WORDS]]
    phrases = [phrase for one in query.phrases if (phrase := _phrase(one))]
    unwanted = [phrase for one in query.without if (phrase := _phrase(one))]
    return list(dict.fromkeys(words)), phrases, unwanted


def _phrase(text: str) -> str:
    text = clean_text(text)
    pairs = [pair for part in find_unspaced(text) for pair in get_analyzer(PAIRS).analyze(part)]
    return " <-> ".join(map(_quote, pairs or get_analyzer(PLAIN).analyze(text)))


def _quote(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def _conditions(filters: Filters, values: list[Any]) -> list[str]:
    """SQL that holds for what passes; the values that it names are added to those given."""
    conditions: list[str] = []
    for column, wanted in (
        ("library", filters.libraries),
        ("language", filters.languages),
        ("media_type", filters.media_types),
    ):
        if wanted:
            values.append(list(wanted))
            conditions.append(f"{column} = ANY(${len(values)})")
    if filters.sites:
        values.append([site.lower().strip(".") for site in filters.sites])
        conditions.append(f"sites && ${len(values)}")
    if filters.after is not None:
        values.append(filters.after)
        conditions.append(f"published >= ${len(values)}")
    if filters.before is not None:
        values.append(filters.before)
        conditions.append(f"published < ${len(values)}")
    return conditions


def _spell_vector(vector: Sequence[float], dimensions: int) -> str:
    if len(vector) != dimensions:
        raise StoreError(f"the index holds vectors of {dimensions} elements, and not of {len(vector)}")
    return "[" + ",".join(f"{float(element):.6g}" for element in vector) + "]"
