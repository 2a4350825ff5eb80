"""Passages by their vectors: SQLite keeps the vectors, usearch's graphs find the near ones fast.

The vectors, whose making is what takes long, are rows of a database; a batch of changes and the position that it brings
the index to are one transaction. Graphs (HNSW, memory-mapped by readers) are made of those rows and can be made
again at any time. What is in no graph yet, the tail, is compared one by one; when the tail is long it becomes a graph,
which is merged with those that are not much larger, so that there are few. What was removed stays in its graph and is
dropped from what that finds; when there is much of it all graphs are made anew.

Vectors are kept in bytes, each scaled by its greatest element: the angle between two does not change by that, and
little of it is lost.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from candide.domain.retrieval import Filters, Hit, IndexChange
from candide.errors import StoreError

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
DAMAGED = "damaged"
"""A file that whoever finds damage leaves for whoever writes."""
TAIL_ROWS = 4096
"""When so many vectors are in no graph, one is made of them."""
MERGE_FACTOR = 4
"""Graphs are merged with those after them that have more than this part of their rows."""
REMOVED_SHARE = 0.3
CONNECTIVITY = 16
EXPANSION_ADD = 128
EXPANSION_SEARCH = 96
FIRST_NEIGHBOURS = 64
MOST_NEIGHBOURS = 4096
SCAN_ROWS = 20_000
"""Where filters let fewer than about so many vectors through, these are compared one by one."""
LOAD_ATTEMPTS = 5
MAX_IDS = 500

_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('position', 0);
CREATE TABLE sources (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, library TEXT NOT NULL, site TEXT NOT NULL,
    language TEXT NOT NULL, media_type TEXT NOT NULL, published REAL
);
CREATE INDEX sources_by_library ON sources (library);
CREATE TABLE vectors (passage INTEGER PRIMARY KEY, source INTEGER NOT NULL, vector BLOB NOT NULL);
CREATE INDEX vectors_by_source ON vectors (source);
CREATE TABLE tail (passage INTEGER PRIMARY KEY);
CREATE TABLE graphs (file TEXT PRIMARY KEY, rows INTEGER NOT NULL, bytes INTEGER NOT NULL);
"""


class VectorIndex:
    def __init__(self, folder: Path, dimensions: int, model: str = "") -> None:
        self._folder = folder
        self._dimensions = dimensions
        self._model = model
        self._path = folder / "vectors.db"
        self._lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._version = -1
        self._tail: tuple[np.ndarray[Any, Any], list[int]] | None = None
        self._graphs: dict[str, Any] = {}
        self._prepared: str | None = None

    # Reading

    def read_position(self) -> int:
        """Up to which change all is taken in; 0 of an index that is not there."""
        return int(self.read_meta("position") or 0)

    def read_meta(self, name: str) -> Any:
        with self._lock, _trouble_is_named():
            if not self._refresh():
                return None
            assert self._reader is not None
            row = self._reader.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            return row[0] if row else None

    def find(self, vector: Sequence[float], filters: Filters, limit: int) -> list[Hit]:
        """The nearest passages. Raises StoreError when the files are damaged or made for other vectors."""
        with self._lock, _trouble_is_named(), self._damage_is_told():
            if not self._refresh():
                return []
            assert self._reader is not None
            query = _to_bytes([vector], self._dimensions)[0]
            condition, values = _condition(filters)
            neighbours = limit + limit // 2 + 8 if not condition else max(FIRST_NEIGHBOURS, 2 * limit)
            hits = self._find_near(query, limit, condition, values, neighbours)
            if len(hits) >= limit:
                return hits
            # Few of the near ones are wanted, or there any more, or there are no more: compare all that are wanted, unless
            # they are many all the same.
            rows = self._reader.execute(
                "SELECT v.passage, s.id, v.vector FROM sources s JOIN vectors v ON v.source = s.number"  # noqa: S608
                f" WHERE {condition or 'true'} LIMIT {SCAN_ROWS + 1}",
                values,
            ).fetchall()
            if len(rows) > SCAN_ROWS:
                return self._find_near(query, limit, condition, values, MOST_NEIGHBOURS)
            if not rows:
                return []
            scores = _compare(query, b"".join(row[2] for row in rows))
            best = scores.argsort()[::-1][:limit]
            return [Hit(rows[at][0], rows[at][1], float(scores[at])) for at in best]

    @contextlib.contextmanager
    def _damage_is_told(self) -> Generator[None]:
        """Have whoever writes know of trouble with the files."""
        try:
            yield
        except (sqlite3.DatabaseError, OSError, RuntimeError) as error:
            if not isinstance(error, sqlite3.OperationalError):
                with contextlib.suppress(OSError):
                    (self._folder / DAMAGED).touch()
            self._let_go()
            raise

    def _find_near(
        self, query: np.ndarray[Any, Any], limit: int, condition: str, values: Sequence[Any], neighbours: int
    ) -> list[Hit]:
        """By the graphs and the tail, of each of which so many neighbours are looked at."""
        assert self._reader is not None
        scores: dict[int, float] = {}
        for graph in self._graphs.values():
            graph.expansion_search = max(EXPANSION_SEARCH, neighbours)
            found = graph.search(query, neighbours)
            scores.update(zip(found.keys.tolist(), (1.0 - found.distances).tolist(), strict=True))
        if self._tail is not None and self._tail[1]:
            matrix, passages = self._tail
            near = _multiply(matrix, query)
            for at in near.argsort()[::-1][:neighbours]:
                scores[passages[at]] = float(near[at])
        ordered = sorted(scores, key=lambda passage: -scores[passage])
        hits: list[Hit] = []
        where = f"AND {condition}" if condition else ""
        step = min(MAX_IDS, limit + limit // 2 + 8)
        for at in range(0, len(ordered), step):
            some = ordered[at : at + step]
            marks = ",".join("?" * len(some))
            there = dict(
                self._reader.execute(
                    # CROSS JOIN has SQLite begin with the few passages, whatever else there is an index for.
                    "SELECT v.passage, s.id FROM vectors v CROSS JOIN sources s ON s.number = v.source"  # noqa: S608
                    f" WHERE v.passage IN ({marks}) {where}",
                    (*some, *values),
                ).fetchall()
            )
            hits += [Hit(passage, there[passage], scores[passage]) for passage in some if passage in there]
            if len(hits) >= limit:
                return hits[:limit]
        return hits

    def _refresh(self) -> bool:
        """Take over what was committed since; False where there is no index."""
        try:
            there = os.stat(self._path)
        except OSError:
            self._let_go()
            return False
        if self._reader is None or self._identity != (there.st_dev, there.st_ino):
            self._let_go()
            self._reader = _connect(self._path, "rw")
            self._reader.execute("PRAGMA query_only = ON")
            self._identity = (there.st_dev, there.st_ino)
            self._version = -1
        version = self._reader.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return True
        meta = dict(self._reader.execute("SELECT name, value FROM meta").fetchall())
        is_ours = not self._model or meta.get("model") in (None, self._model)
        fits = meta.get("format") == FORMAT and meta.get("dimensions") in (None, self._dimensions)
        if not is_ours or not fits:
            self._let_go()
            return False
        for attempt in range(LOAD_ATTEMPTS):
            try:
                self._load()
                break
            except OSError:
                # A graph goes when it was merged into another, which the next look finds.
                if attempt + 1 == LOAD_ATTEMPTS:
                    raise
                time.sleep(0.02)
        self._version = version
        return True

    def _load(self) -> None:
        assert self._reader is not None
        self._reader.execute("BEGIN")
        try:
            files = self._reader.execute("SELECT file, bytes FROM graphs").fetchall()
            rows = self._reader.execute(
                "SELECT v.passage, v.vector FROM tail t JOIN vectors v ON v.passage = t.passage"
            ).fetchall()
        finally:
            self._reader.execute("COMMIT")
        self._graphs = {file: self._graphs.get(file) or self._view(file, size) for file, size in files}
        self._tail = (_scale_to_one(b"".join(row[1] for row in rows), self._dimensions), [r[0] for r in rows])

    def _view(self, file: str, size: int) -> Any:
        path = self._folder / file
        if path.stat().st_size != size:
            raise OSError(f"'{path}' is not whole")
        return _view_graph(path, self._dimensions)

    def _let_go(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._identity, self._tail, self._graphs = None, None, None, {}

    # Writing, by whoever holds the lock of the folder

    def add(self, changes: Sequence[IndexChange], vectors: Mapping[int, Sequence[float]]) -> None:
        """Take changes in; passages without a vector are left out. Raises StoreError; nothing has changed then."""
        with _trouble_is_named():
            connection = self._open_writer()
            with _transaction(connection):
                removes = [self._apply(connection, change, vectors) for change in changes]
                if changes:
                    connection.execute(
                        "UPDATE meta SET value = ? WHERE name = 'position'", (changes[-1].seq,)
                    )
            is_long = connection.execute("SELECT count(*) FROM tail").fetchone()[0] >= TAIL_ROWS
            if is_long or (any(removes) and self._has_many_removed(connection)):
                self._make_graph(connection)

    def _has_many_removed(self, connection: sqlite3.Connection) -> bool:
        """Whether much of what the graphs hold is gone."""
        count = "SELECT (SELECT coalesce(sum(rows), 0) FROM graphs), (SELECT count(*) FROM vectors), (SELECT count(*) FROM tail)"
        graphs, live, tail = connection.execute(count).fetchone()
        return graphs > TAIL_ROWS and graphs - (live - tail) > REMOVED_SHARE * graphs

    def _apply(
        self, connection: sqlite3.Connection, change: IndexChange, vectors: Mapping[int, Sequence[float]]
    ) -> bool:
        """Whether vectors were removed."""
        known = connection.execute("SELECT number FROM sources WHERE id = ?", (change.source_id,)).fetchone()
        source = change.source
        gone: list[tuple[int]] = []
        if known is not None:
            kept = {passage.id for passage in change.passages} if source is not None else set[int]()
            rows = connection.execute("SELECT passage FROM vectors WHERE source = ?", known).fetchall()
            gone = [row for row in rows if row[0] not in kept]
            connection.executemany("DELETE FROM vectors WHERE passage = ?", gone)
            connection.executemany("DELETE FROM tail WHERE passage = ?", gone)
            if source is None:
                connection.execute("DELETE FROM sources WHERE number = ?", known)
        if source is None:
            return bool(gone)
        row = (source.library_id, source.site.lower().strip("."), source.language, source.media_type, source.published)  # fmt: skip
        connection.execute(
            "INSERT INTO sources (id, library, site, language, media_type, published) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET library = excluded.library, site = excluded.site,"
            " language = excluded.language, media_type = excluded.media_type, published = excluded.published",
            (source.id, *row),
        )
        number = connection.execute("SELECT number FROM sources WHERE id = ?", (source.id,)).fetchone()[0]
        new = [passage.id for passage in change.passages if passage.id in vectors]
        packed = _to_bytes([vectors[passage] for passage in new], self._dimensions)
        for passage, vector in zip(new, packed, strict=True):
            # A passage's text never changes, and neither does its vector: one that is there stays.
            done = connection.execute(
                "INSERT INTO vectors VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (passage, number, vector.tobytes()),
            )
            if done.rowcount:
                connection.execute("INSERT INTO tail VALUES (?)", (passage,))
        return bool(gone)

    def _make_graph(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT v.passage, v.vector FROM tail t JOIN vectors v ON v.passage = t.passage"
        ).fetchall()
        graphs: list[tuple[str, int]] = connection.execute(
            "SELECT file, rows FROM graphs ORDER BY rows"
        ).fetchall()
        merged: list[str] = []
        if self._has_many_removed(connection):
            rows = connection.execute("SELECT passage, vector FROM vectors").fetchall()
            base = _new_graph(self._dimensions)
            merged = [file for file, _ in graphs]
        else:
            size = len(rows)
            for file, count in graphs:
                if count > MERGE_FACTOR * size:
                    break
                merged.append(file)
                size += count
            base = _new_graph(self._dimensions)
            if merged:
                # The largest of them takes in the others.
                base.load(str(self._folder / merged[-1]))
        for file in merged[:-1] if len(base) else []:
            smaller = _view_graph(self._folder / file, self._dimensions)
            keys = _keys(smaller)
            for at in range(0, len(keys), MAX_IDS):
                some = keys[at : at + MAX_IDS]
                rows += connection.execute(
                    f"SELECT passage, vector FROM vectors WHERE passage IN ({','.join('?' * len(some))})",  # noqa: S608
                    some,
                ).fetchall()
        self._fill(base, rows)
        file = f"graph-{uuid.uuid4().hex}.usearch"
        path = self._folder / file
        base.save(str(path))
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        with _transaction(connection):
            connection.executemany("DELETE FROM graphs WHERE file = ?", [(one,) for one in merged])
            connection.execute("INSERT INTO graphs VALUES (?, ?, ?)", (file, len(base), path.stat().st_size))
            connection.execute("DELETE FROM tail")
        for one in merged:
            # Where a file that is in use cannot go, `prepare` has it go later.
            with contextlib.suppress(OSError):
                (self._folder / one).unlink()

    def _fill(self, graph: Any, rows: Sequence[tuple[int, bytes]]) -> None:
        import numpy as np

        known = set(_keys(graph))
        new = [row for row in rows if row[0] not in known]
        if new:
            keys = np.array([row[0] for row in new], dtype=np.uint64)
            graph.add(keys, _from_bytes(b"".join(row[1] for row in new), self._dimensions), copy=True)

    def prepare(self, model: str) -> None:
        """Have the vectors be of this model, and mend what can be mended; what cannot is forgotten."""
        if self._prepared == model and not (self._folder / DAMAGED).exists():
            return
        try:
            if (self._folder / DAMAGED).exists():
                self._check()
            connection = self._open_writer()
            meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
            fits = meta.get("format") == FORMAT and meta.get("dimensions") in (None, self._dimensions)
            if not fits or meta.get("model", model) != model:
                raise _Unusable(f"it holds vectors of '{meta.get('model')}'")
            with _transaction(connection):
                connection.executemany(
                    "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                    [("model", model), ("dimensions", self._dimensions)],
                )
            graphs = dict(connection.execute("SELECT file, bytes FROM graphs").fetchall())
        except (_Unusable, sqlite3.DatabaseError):
            self.clear()
            self.prepare(model)
            return
        there = {path.name: path for path in self._folder.glob("graph-*")}
        if any(name not in there or there[name].stat().st_size != size for name, size in graphs.items()):
            self.forget_graphs()
            graphs = {}
        for name, path in there.items():
            if name not in graphs:
                with contextlib.suppress(OSError):
                    path.unlink()
        self._prepared = model

    def _check(self) -> None:
        """After a reader found damage: forget the graphs, and raise where the rows are no good either."""
        connection = self._open_writer()
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise _Unusable(found)
        self.forget_graphs()
        (self._folder / DAMAGED).unlink()

    def forget_graphs(self) -> None:
        """Make all graphs anew when there is time: until then every vector is compared."""
        with _trouble_is_named():
            connection = self._open_writer()
            with _transaction(connection):
                connection.execute("DELETE FROM graphs")
                connection.execute("INSERT OR IGNORE INTO tail SELECT passage FROM vectors")
            self._make_graph(connection)

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            connection = _connect(self._path, "rwc")
            try:
                connection.execute("PRAGMA synchronous = NORMAL")
                if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'graphs'").fetchone():
                    connection.executescript(_SCHEMA)
                    connection.execute("INSERT INTO meta VALUES ('format', ?)", (FORMAT,))
            except BaseException:
                connection.close()
                raise
            self._writer = connection
        return self._writer

    def clear(self) -> None:
        """Forget everything."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._prepared = None
        with self._lock:
            self._let_go()


class _Unusable(Exception):
    pass


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _trouble_is_named() -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, RuntimeError) as error:
        raise StoreError(f"the index of vectors does not work: {error}") from error


def _condition(filters: Filters) -> tuple[str, list[Any]]:
    """SQL that holds for the sources that pass, with its values; empty when all do."""
    parts: list[str] = []
    values: list[Any] = []
    for column, wanted in (
        ("library", filters.libraries),
        ("language", filters.languages),
        ("media_type", filters.media_types),
    ):
        if wanted:
            parts.append(f"s.{column} IN ({','.join('?' * len(wanted))})")
            values += wanted
    if filters.sites:
        sites = [site.lower().strip(".") for site in filters.sites]
        parts.append("(" + " OR ".join(["s.site = ? OR substr(s.site, ?) = ?"] * len(sites)) + ")")
        for site in sites:
            values += [site, -len(site) - 1, "." + site]
    if filters.after is not None:
        parts.append("s.published >= ?")
        values.append(filters.after)
    if filters.before is not None:
        parts.append("s.published < ?")
        values.append(filters.before)
    return " AND ".join(parts), values


def _to_bytes(vectors: Sequence[Sequence[float]], dimensions: int) -> np.ndarray[Any, Any]:
    """Shape (n, dimensions), int8: each vector scaled so that its greatest element is 127."""
    import numpy as np

    if len(vectors) == 0:
        return np.empty((0, dimensions), dtype=np.int8)
    matrix = np.asarray(vectors, dtype=np.float32)
    if matrix.shape[1:] != (dimensions,):
        raise StoreError(f"the index holds vectors of {dimensions} elements, and not of {matrix.shape[-1]}")
    greatest = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-12)
    return np.rint(matrix * (127 / greatest)).astype(np.int8)


def _from_bytes(packed: bytes, dimensions: int) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.frombuffer(packed, dtype=np.int8).reshape(-1, dimensions)


def _compare(query: np.ndarray[Any, Any], packed: bytes) -> np.ndarray[Any, Any]:
    """The cosines of a vector with others, shape (n,)."""
    return _multiply(_scale_to_one(packed, len(query)), query)


def _multiply(matrix: np.ndarray[Any, Any], query: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The cosines of a vector with the rows, of length 1, of a matrix."""
    import numpy as np

    # Not by BLAS: its threads wait for each other in a loop, and for long where others are at work.
    return np.einsum("ij,j->i", matrix, _scale_to_one(query.tobytes(), len(query))[0])


def _scale_to_one(packed: bytes, dimensions: int) -> np.ndarray[Any, Any]:
    """Shape (n, dimensions), float32, each vector of length 1."""
    import numpy as np

    matrix = _from_bytes(packed, dimensions).astype(np.float32)
    matrix /= np.maximum(np.sqrt(np.einsum("ij,ij->i", matrix, matrix)), 1e-9)[:, None]
    return matrix


def _new_graph(dimensions: int) -> Any:
    from usearch.index import Index

    return Index(
        ndim=dimensions,
        metric="cos",
        dtype="i8",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )


def _keys(graph: Any) -> list[int]:
    """The passages in a graph. All at once: usearch walks from the first to find any single one."""
    import numpy as np

    return np.asarray(graph.keys).tolist() if len(graph) else []


def _view_graph(path: Path, dimensions: int) -> Any:
    """A graph in its file, of which only what is looked at is in memory."""
    graph = _new_graph(dimensions)
    graph.view(str(path))
    return graph
