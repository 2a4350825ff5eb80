"""The tables. The migrations make them; this describes them to the queries.

Times are seconds since 1970, UTC. Ids sort by the time of their making, so an id is also a cursor.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData()

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
    Index("conversations_by_time", "updated_at"),
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
