"""libraries, their targets, sources and passages; jobs that fill them; what conversations search"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "libraries",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("deleted_at", sa.Float),
    )
    op.create_table(
        "targets",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "library_id", sa.String(40), sa.ForeignKey("libraries.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("refresh_s", sa.Float),
        sa.Column("watched", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("checked_at", sa.Float),
        sa.Column("next_check_at", sa.Float),
        sa.Column("etag", sa.Text),
        sa.Column("last_modified", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.UniqueConstraint("library_id", "uri"),
    )
    op.create_index("targets_by_check", "targets", ["next_check_at"])
    op.create_table(
        "sources",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "library_id", sa.String(40), sa.ForeignKey("libraries.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("target_id", sa.String(40)),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("external_id", sa.Text),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("site", sa.Text, nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("published", sa.Float),
        sa.Column("group_id", sa.String(40)),
        sa.Column("simhash", sa.BigInteger),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("sections", sa.JSON, nullable=False),
        sa.Column("pages", sa.JSON, nullable=False),
        sa.Column("original", sa.Text),
        sa.Column("etag", sa.Text),
        sa.Column("last_modified", sa.Text),
        sa.Column("current", sa.Boolean, nullable=False),
        sa.Column("fetched_at", sa.Float, nullable=False),
    )
    op.create_index("sources_by_key", "sources", ["library_id", "key", "current"])
    op.create_index("sources_of_target", "sources", ["target_id"])
    op.create_table(
        "source_texts",
        sa.Column(
            "source_id", sa.String(40), sa.ForeignKey("sources.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "passages",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column(
            "source_id", sa.String(40), sa.ForeignKey("sources.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("end", sa.Integer, nullable=False),
        sa.Column("headings", sa.Text, nullable=False),
        sa.Column("page", sa.Integer),
    )
    op.create_index("passages_of_source", "passages", ["source_id"])
    op.create_table(
        "index_changes",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source_id", sa.String(40), nullable=False, unique=True),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO counters (name, value) VALUES ('passage', 0), ('change', 0)")
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "library_id", sa.String(40), sa.ForeignKey("libraries.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("target_ids", sa.JSON, nullable=False),
        sa.Column("progress", sa.JSON, nullable=False),
        sa.Column("problems", sa.JSON, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
    )
    op.create_index("jobs_by_state", "jobs", ["state"])
    op.create_table(
        "job_items",
        sa.Column("job_id", sa.String(40), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("target_id", sa.String(40), nullable=False),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
    )
    op.add_column("conversations", sa.Column("search", sa.JSON))
    op.add_column("turns", sa.Column("search", sa.JSON))
    op.add_column("messages", sa.Column("grounding", sa.JSON))


def downgrade() -> None:
    op.drop_column("messages", "grounding")
    op.drop_column("turns", "search")
    op.drop_column("conversations", "search")
    for table in (
        "job_items",
        "jobs",
        "counters",
        "index_changes",
        "passages",
        "source_texts",
        "sources",
        "targets",
        "libraries",
    ):
        op.drop_table(table)
