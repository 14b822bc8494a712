"""what the detector remembers: order of arrival, traits of events, counted talk

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_traits",
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("traits", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name=op.f("fk_event_traits_event_id")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event_traits")),
    )
    op.create_table(
        "talk_posts",
        sa.Column("post_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("adcode", sa.String(length=12), nullable=False),
        sa.Column("hazard", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("post_id", name=op.f("pk_talk_posts")),
    )
    op.create_index(op.f("ix_talk_posts_seq"), "talk_posts", ["seq"])
    op.add_column(
        "event_posts",
        sa.Column("seq", sa.Integer(), server_default="0", nullable=False),
    )
    op.create_index("ix_event_posts_seq", "event_posts", ["seq"])
    op.create_index(op.f("ix_help_calls_event_id"), "help_calls", ["event_id"])
