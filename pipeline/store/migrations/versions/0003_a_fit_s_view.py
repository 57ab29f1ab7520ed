"""How the last fit looks at vectors, and where each cluster stands in that view.

Spaces that were filled before have no view: their next fit is as their first, and finds their clusters again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("spaces", schema=None) as batch_op:
        batch_op.add_column(sa.Column("view", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("fit_seq", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.drop_column("mean")
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.add_column(sa.Column("centroid", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("overlaps", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    """Take this revision back."""
    with op.batch_alter_table("clusters", schema=None) as batch_op:
        batch_op.drop_column("overlaps")
        batch_op.drop_column("centroid")
    with op.batch_alter_table("spaces", schema=None) as batch_op:
        batch_op.add_column(sa.Column("mean", sa.LargeBinary(), nullable=True))
        batch_op.drop_column("fit_seq")
        batch_op.drop_column("view")
