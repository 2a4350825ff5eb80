"""files, folders, prompts, shares, preferences; what conversations and messages have gained"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from candide.domain.folding import fold_words

revision = "0004"
down_revision = "0003"

_CONVERSATION_COLUMNS = ("pinned", "archived", "unread", "folder_id", "former_folder_id", "instructions", "params", "title_words")  # fmt: skip
_MESSAGE_COLUMNS = ("engine", "timings", "finish_reason", "error", "feedback", "deleted_with", "leaf_before")


def upgrade() -> None:
    for flag in ("pinned", "archived", "unread"):
        op.add_column("conversations", sa.Column(flag, sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("conversations", sa.Column("folder_id", sa.String(40)))
    op.add_column("conversations", sa.Column("former_folder_id", sa.String(40)))
    op.add_column("conversations", sa.Column("instructions", sa.Text))
    op.add_column(
        "conversations", sa.Column("params", sa.JSON, nullable=False, server_default=sa.text("'{}'"))
    )
    op.add_column(
        "conversations", sa.Column("title_words", sa.Text, nullable=False, server_default=sa.text("''"))
    )
    op.create_index("conversations_of_folder", "conversations", ["folder_id"])
    _fold_titles()

    op.add_column("messages", sa.Column("engine", sa.Text))
    op.add_column("messages", sa.Column("timings", sa.JSON))
    op.add_column("messages", sa.Column("finish_reason", sa.Text))
    op.add_column("messages", sa.Column("error", sa.JSON))
    op.add_column("messages", sa.Column("feedback", sa.JSON))
    op.add_column("messages", sa.Column("deleted_with", sa.String(40)))
    op.add_column("messages", sa.Column("leaf_before", sa.String(40)))
    op.execute(
        "UPDATE messages SET error = (SELECT turns.error FROM turns WHERE turns.id = messages.turn_id) "
        "WHERE state = 'failed'"
    )

    op.create_table(
        "files",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "folders",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("instructions", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("deleted_at", sa.Float),
    )
    op.create_table(
        "prompts",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("deleted_at", sa.Float),
    )
    op.create_table(
        "shares",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column(
            "conversation_id",
            sa.String(40),
            sa.ForeignKey("conversations.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("leaf_id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_index("shares_of_conversation", "shares", ["conversation_id"])
    preferences = op.create_table(
        "preferences",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("instructions", sa.Text, nullable=False),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("model", sa.Text),
    )
    op.bulk_insert(preferences, [{"id": 1, "instructions": "", "params": {}, "model": None}])


def _fold_titles() -> None:
    connection = op.get_bind()
    titled = connection.execute(sa.text("SELECT id, title FROM conversations WHERE title <> ''")).all()
    if titled:
        connection.execute(
            sa.text("UPDATE conversations SET title_words = :words WHERE id = :id"),
            [{"id": row.id, "words": fold_words(row.title)} for row in titled],
        )


def downgrade() -> None:
    for table in ("preferences", "shares", "prompts", "folders", "files"):
        op.drop_table(table)
    for column in _MESSAGE_COLUMNS:
        op.drop_column("messages", column)
    op.drop_index("conversations_of_folder", "conversations")
    for column in _CONVERSATION_COLUMNS:
        op.drop_column("conversations", column)
