"""sessions keep what was pushed

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stitch_authorization_requests", sa.Column("pushed_parameters", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("stitch_authorization_requests", "pushed_parameters")
