"""interactions, which the bank demands of users

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "interactions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("interaction_id", sa.Text(), nullable=False, comment="the bank's"),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("bank_url", sa.Text(), nullable=True),
        sa.Column("ticket", sa.Text(), nullable=True),
        sa.Column("ticket_digest", sa.Text(), nullable=False),
        sa.Column("browser_digest", sa.Text(), nullable=True),
        sa.Column("return_url", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interactions")),
        sa.UniqueConstraint("ticket_digest", name=op.f("uq_interactions_ticket_digest")),
    )
    op.create_index("ix_interactions_browser_digest", "interactions", ["browser_digest"], unique=False)
    op.create_index("ix_interactions_connection", "interactions", ["tenant", "connection_id"], unique=False)
    op.create_index("ix_interactions_user", "interactions", ["tenant", "user_id"], unique=False)


def downgrade() -> None:
    op.drop_table("interactions")
