"""posts drawn for a spot check are told from posts somebody chose to correct

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "label_corrections",
        sa.Column("drawn", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
