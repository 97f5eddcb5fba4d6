"""tokens may be bound to a key

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stitch_authorization_requests", sa.Column("proof_key", sa.Text(), nullable=True))
    op.add_column("tokens", sa.Column("proof_key", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("tokens", "proof_key")
    op.drop_column("stitch_authorization_requests", "proof_key")
