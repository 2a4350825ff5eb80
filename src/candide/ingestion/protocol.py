"""What the server and the process that reads sources say to each other, a line of JSON each.

The process is given a `WorkerConfig` first, and then a number a line whenever someone has asked for something. It says
`Said`.
"""

from __future__ import annotations

import msgspec

from candide.store.changes import Kind


class EmbeddingServer(msgspec.Struct, kw_only=True, frozen=True):
    """A server that speaks OpenAI's `/v1/embeddings`, and what its model is and wants."""

    url: str
    model: str
    dimensions: int
    key: str = ""
    query_prefix: str = ""
    passage_prefix: str = ""


class WorkerConfig(msgspec.Struct, kw_only=True):
    database_url: str
    backups_dir: str
    home: str
    index_dir: str
    logs_dir: str
    fetch_allowed: list[str] = []
    """Hosts and networks that may be fetched from though they are not public."""
    embeds: bool = True
    """Whether vectors are made."""
    embedding_server: EmbeddingServer | None = None
    """What makes them in place of the embedded model."""
    jobs_at_once: int = 4
    niceness: int = 10
    """Below answers, but not so far that it would hold the database for long when everything computes."""


class Said(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the process says."""

    changed: list[Kind] = []
    running: list[str] | None = None
    """The jobs that it reads now."""
    idle: int | None = None
    """It has nothing to do; the last number that it was asked with."""
    busy: bool = False
    """Another process does this."""
    is_last: bool = False
    """It ends as it should."""
    error: str = ""
