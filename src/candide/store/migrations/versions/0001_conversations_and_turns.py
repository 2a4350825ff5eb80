"""conversations, messages, turns, their events, and the index of all messages' words"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("current_leaf_id", sa.String(40)),
        sa.Column("model", sa.Text),
        sa.Column("system_prompt", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.Column("deleted_at", sa.Float),
    )
    op.create_index("conversations_by_time", "conversations", ["updated_at"])
    op.create_table(
        "messages",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "conversation_id",
            sa.String(40),
            sa.ForeignKey("conversations.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("parent_id", sa.String(40)),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("parts", sa.JSON, nullable=False),
        sa.Column("reasoning", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("model", sa.Text),
        sa.Column("turn_id", sa.String(40)),
        sa.Column("usage", sa.JSON),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_index("messages_of_conversation", "messages", ["conversation_id", "id"])
    op.create_table(
        "turns",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "conversation_id",
            sa.String(40),
            sa.ForeignKey("conversations.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("user_message_id", sa.String(40), nullable=False),
        sa.Column("answer_message_id", sa.String(40), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("stop_requested", sa.Boolean, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("owner", sa.String(40)),
        sa.Column("lease_until", sa.Float),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
    )
    op.create_index("turns_by_state", "turns", ["state"])
    op.create_index("turns_of_conversation", "turns", ["conversation_id"])
    op.create_index("turns_idempotency", "turns", ["conversation_id", "idempotency_key"], unique=True)
    op.create_table(
        "turn_events",
        sa.Column("turn_id", sa.String(40), sa.ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE message_words USING fts5(message_id UNINDEXED, folded, tokenize='unicode61')"
        )
    else:
        op.execute(
            "CREATE TABLE message_words (message_id VARCHAR(40) PRIMARY KEY, folded TSVECTOR NOT NULL)"
        )
        op.execute("CREATE INDEX message_words_folded ON message_words USING gin (folded)")


def downgrade() -> None:
    for table in ("message_words", "turn_events", "turns", "messages", "conversations"):
        op.drop_table(table)
