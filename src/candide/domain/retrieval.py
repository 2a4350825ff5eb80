"""What a search asks, and who answers it: the protocols of indexes, embedders and retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from candide.domain.messages import Message
from candide.domain.sources import Passage, Result, Source


class Filters(msgspec.Struct, kw_only=True, frozen=True):
    """What a source must be to be found; an empty member lets all through."""

    libraries: tuple[str, ...] = ()
    """Ids."""
    sites: tuple[str, ...] = ()
    """Hosts, with those below them: `lemonde.fr` is `www.lemonde.fr` too."""
    languages: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ()
    after: float | None = None
    """Published at this time or later; a source without a date does not pass."""
    before: float | None = None
    """Published before this time."""


class WordQuery(msgspec.Struct, kw_only=True, frozen=True):
    """What is looked for by words."""

    text: str = ""
    """Any of its words, the more the better."""
    phrases: tuple[str, ...] = ()
    """Each must stand there, word after word."""
    without: tuple[str, ...] = ()
    """Words and phrases that must not."""
    language: str = ""
    """ISO 639-1 of the text; empty when unknown."""


class Hit(msgspec.Struct, frozen=True, array_like=True):
    passage_id: int
    source_id: str
    score: float


class IndexChange(msgspec.Struct, kw_only=True, frozen=True):
    """A source that an index has to take in or to forget; `seq` orders changes and names how far an index has come."""

    seq: int
    source_id: str
    source: Source | None = None
    """None when it is to be forgotten."""
    passages: list[Passage] = []


class ChangeLog(Protocol):
    """Where the indexes learn what they have to take in."""

    async def changes_after(self, seq: int, limit: int) -> list[IndexChange]: ...

    async def last_change(self) -> int: ...


class Positions(msgspec.Struct, frozen=True):
    """Up to which `seq` an index has taken every change in for good."""

    words: int
    vectors: int


class PassageIndex(Protocol):
    """Passages that can be found by their words or by a vector; each of the two works without the other.

    It agrees with the database by itself: it knows how far in the order of changes it has come, also after a kill at
    any moment, and is given what comes after that again; taking a change in twice does no harm.
    """

    async def positions(self) -> Positions: ...

    async def prepare(self, last_change: int, model: str | None = None) -> Positions:
        """Get ready to take changes in, and say after which.

        What is damaged, has come further than `last_change`, or holds vectors of another model is forgotten. Without
        a model vectors are left alone.
        """
        ...

    async def add_words(self, changes: Sequence[IndexChange]) -> None:
        """Take changes in; they can be found, and will not be forgotten, when this returns."""
        ...

    async def add_vectors(
        self, changes: Sequence[IndexChange], vectors: Mapping[int, Sequence[float]]
    ) -> None:
        """The same for the vectors of their passages, by passage id."""
        ...

    async def find_words(self, query: WordQuery, filters: Filters, limit: int) -> list[Hit]:
        """The best passages by BM25, best first."""
        ...

    async def find_vector(self, vector: Sequence[float], filters: Filters, limit: int) -> list[Hit]:
        """The nearest passages by cosine, best first."""
        ...

    async def close(self) -> None: ...


class Embedder(Protocol):
    """Makes vectors of texts: those of a question and of a passage that answers it are near each other."""

    @property
    def name(self) -> str:
        """Of the model; vectors of one do not go with those of another."""
        ...

    @property
    def dimensions(self) -> int: ...

    async def embed_query(self, text: str) -> list[float]: ...

    async def embed_passages(self, texts: Sequence[str]) -> list[list[float]]: ...


class Found(msgspec.Struct, kw_only=True):
    """The outcome of a search."""

    results: list[Result]
    """Best first."""
    query: str
    """What was searched: the question, made self-contained."""
    filters: Filters = Filters()
    is_good: bool = True
    """Whether the best of them is good enough to answer from."""
    missing: list[str] = []
    """Parts of the search that did not work: `words`, `vectors`, `web`."""
    ignored: list[str] = []
    """Operators whose values mean nothing, as they were written: they were searched as words."""


class Retriever(Protocol):
    async def search(
        self,
        query: str,
        filters: Filters | None = None,
        *,
        limit: int = 10,
        per_source: int = 2,
        web: bool = False,
        history: Sequence[Message] = (),
    ) -> Found:
        """Find passages; `query` may hold operators (quotes, minus, site:, before:, after:, lang:, library:).

        With a `history`, the branch before the question, a follow-up is made self-contained first.
        """
        ...
