"""parts say what they have done, for the metrics

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "heartbeats", sa.Column("figures", sa.JSON(), server_default="{}", nullable=False)
    )
