"""The tables. The migrations make them; this describes them to the queries.

Times are seconds since 1970, UTC. Ids sort by the time of their making, so an id is also a cursor.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine.default import DefaultExecutionContext

from candide.domain.folding import fold_words

metadata = MetaData()


def _fold_title(context: DefaultExecutionContext) -> str:
    return fold_words(context.get_current_parameters()["title"])


conversations = Table(
    "conversations",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("title", Text, nullable=False, default=""),
    Column("current_leaf_id", String(40)),
    Column("model", Text),
    Column("system_prompt", Text),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("deleted_at", Float),
    # Those of responses in the background: their callers know them by the response.
    Column("hidden", Boolean, nullable=False, default=False, server_default=false()),
    Column("pinned", Boolean, nullable=False, default=False, server_default=false()),
    Column("archived", Boolean, nullable=False, default=False, server_default=false()),
    Column("unread", Boolean, nullable=False, default=False, server_default=false()),
    Column("folder_id", String(40)),
    # Where it stood when its folder was deleted: there it stands again when the folder is restored.
    Column("former_folder_id", String(40)),
    Column("instructions", Text),
    Column("params", JSON, nullable=False, default=dict, server_default=text("'{}'")),
    Column("search", JSON(none_as_null=True)),
    # The title as searches compare it; see `candide.domain.folding`.
    Column("title_words", Text, nullable=False, default=_fold_title, server_default=text("''")),
    Index("conversations_by_time", "updated_at"),
    Index("conversations_of_folder", "folder_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("conversation_id", String(40), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("parent_id", String(40)),
    Column("role", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("parts", JSON, nullable=False),
    Column("reasoning", Text, nullable=False, default=""),
    Column("state", String(16), nullable=False),
    Column("model", Text),
    Column("turn_id", String(40)),
    Column("usage", JSON),
    Column("created_at", Float, nullable=False),
    Column("engine", Text),
    Column("timings", JSON(none_as_null=True)),
    Column("finish_reason", Text),
    Column("error", JSON(none_as_null=True)),
    Column("feedback", JSON(none_as_null=True)),
    Column("grounding", JSON(none_as_null=True)),
    # The message with whose deletion this one went; null of those that are there.
    Column("deleted_with", String(40)),
    # Of a message that was deleted: the leaf that was current before, if it went with it.
    Column("leaf_before", String(40)),
    Index("messages_of_conversation", "conversation_id", "id"),
)

turns = Table(
    "turns",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("conversation_id", String(40), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("user_message_id", String(40), nullable=False),
    Column("answer_message_id", String(40), nullable=False),
    Column("state", String(16), nullable=False),
    Column("model", Text, nullable=False),
    Column("params", JSON, nullable=False),
    Column("search", JSON(none_as_null=True)),
    Column("idempotency_key", String(255)),
    Column("stop_requested", Boolean, nullable=False, default=False),
    Column("error", JSON),
    Column("owner", String(40)),
    Column("lease_until", Float),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Index("turns_by_state", "state"),
    Index("turns_of_conversation", "conversation_id"),
    Index("turns_idempotency", "conversation_id", "idempotency_key", unique=True),
)

turn_events = Table(
    "turn_events",
    metadata,
    Column("turn_id", String(40), ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("data", Text, nullable=False),
    sqlite_with_rowid=False,
)

responses = Table(
    "responses",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("previous_id", String(40)),
    Column("turn_id", String(40)),
    Column("body", JSON, nullable=False),
    Column("input_items", JSON, nullable=False),
    Column("messages", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
)

files = Table(
    "files",
    metadata,
    # Made from the name and the bytes: the same file is kept once.
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
)

file_texts = Table(
    "file_texts",
    metadata,
    # Beside the files: what stands in a row after a large value is slow to reach.
    Column("file_id", String(40), ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("text", Text, nullable=False),
)

folders = Table(
    "folders",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("instructions", Text),
    Column("created_at", Float, nullable=False),
    Column("deleted_at", Float),
)

prompts = Table(
    "prompts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("deleted_at", Float),
)

shares = Table(
    "shares",
    metadata,
    Column("token", String(64), primary_key=True),
    Column("conversation_id", String(40), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("leaf_id", String(40), nullable=False),
    Column("created_at", Float, nullable=False),
    Index("shares_of_conversation", "conversation_id"),
)

# One row, made by the migration.
preferences = Table(
    "preferences",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("instructions", Text, nullable=False, default=""),
    Column("params", JSON, nullable=False),
    Column("model", Text),
)

# What was uploaded to be imported, and how far that has come.
imports = Table(
    "imports",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("total_bytes", BigInteger, nullable=False),
    Column("read_bytes", BigInteger, nullable=False, default=0),
    Column("format", String(16)),
    # How many elements of its documents are done with: what a restart steps over.
    Column("elements", Integer, nullable=False, default=0),
    Column("added", Integer, nullable=False, default=0),
    Column("updated", Integer, nullable=False, default=0),
    Column("unchanged", Integer, nullable=False, default=0),
    Column("skipped", JSON, nullable=False, default=list),
    Column("skipped_count", Integer, nullable=False, default=0),
    Column("error", Text),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
)

libraries = Table(
    "libraries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("deleted_at", Float),
)

# What was added to libraries: their sources come from it.
targets = Table(
    "targets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("library_id", String(40), ForeignKey("libraries.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("uri", Text, nullable=False),
    Column("options", JSON, nullable=False),
    Column("refresh_s", Float),
    Column("watched", Boolean, nullable=False, default=False, server_default=false()),
    Column("checked_at", Float),
    Column("next_check_at", Float),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("error", Text),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("library_id", "uri"),
    Index("targets_by_check", "next_check_at"),
)

# A source that reads differently now is a new row; the one before it is not current any more.
sources = Table(
    "sources",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("library_id", String(40), ForeignKey("libraries.id", ondelete="CASCADE"), nullable=False),
    Column("target_id", String(40)),
    # What makes it the same source as before: its address, or the id that it brought along.
    Column("key", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("external_id", Text),
    Column("kind", String(16), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("language", String(8), nullable=False),
    Column("published", Float),
    Column("group_id", String(40)),
    Column("simhash", BigInteger),
    Column("length", Integer, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("sections", JSON, nullable=False),
    Column("pages", JSON, nullable=False),
    # Where its file was kept, under the home.
    Column("original", Text),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("current", Boolean, nullable=False),
    Column("fetched_at", Float, nullable=False),
    Index("sources_by_key", "library_id", "key", "current"),
    Index("sources_of_target", "target_id"),
)

source_texts = Table(
    "source_texts",
    metadata,
    Column("source_id", String(40), ForeignKey("sources.id", ondelete="CASCADE"), primary_key=True),
    Column("text", Text, nullable=False),
)

passages = Table(
    "passages",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("source_id", String(40), ForeignKey("sources.id", ondelete="CASCADE"), nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("headings", Text, nullable=False),
    Column("page", Integer),
    Index("passages_of_source", "source_id"),
)

# What the indexes have to take in, in order; one row a source.
index_changes = Table(
    "index_changes",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("source_id", String(40), nullable=False, unique=True),
)

# The last number that was given out, of passages and of changes; the rows are made by the migration.
counters = Table(
    "counters",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("library_id", String(40), ForeignKey("libraries.id", ondelete="CASCADE"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("target_ids", JSON, nullable=False),
    Column("progress", JSON, nullable=False),
    Column("problems", JSON, nullable=False),
    Column("error", Text),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Index("jobs_by_state", "state"),
)

# The addresses that a job has found, and which of them it is done with: what a restart steps over.
job_items = Table(
    "job_items",
    metadata,
    Column("job_id", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("target_id", String(40), nullable=False),
    Column("depth", Integer, nullable=False),
    Column("done", Boolean, nullable=False),
)
