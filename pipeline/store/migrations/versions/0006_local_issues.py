"""The local tracker's tables; a database that it wrote to before has them already."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "local_issues",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("summary", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False, comment="the machine-owned part"),
        sa.Column("notes", sa.Text(), server_default="", nullable=False, comment="what people wrote"),
        sa.Column("status", sa.String(length=32), server_default="open", nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False, comment="list of strings, the cluster's mark first"),
        sa.Column("created_at", sa.String(length=32), nullable=False, comment="UTC, ISO 8601"),
        sa.Column("updated_at", sa.String(length=32), nullable=False, comment="UTC, ISO 8601"),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
        if_not_exists=True,
    )
    op.create_table(
        "local_comments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("issue", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["issue"], ["local_issues.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("issue"),
        sqlite_autoincrement=True,
        if_not_exists=True,
    )


def downgrade() -> None:
    """Leave the tables, and the issues in them: older releases know them too, and make them where they are missing."""
