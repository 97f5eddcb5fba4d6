"""which keys seal tokens can be told without reading them all

Revision: 0009, after 0008

The version before is not concerned. Building the index holds up what writes tokens, not what reads them; where that is
too long, make it beforehand with CREATE INDEX CONCURRENTLY.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX IF NOT EXISTS ix_tokens_key ON tokens (split_part(access_token, '.', 2))")


def downgrade() -> None:
    op.execute("DROP INDEX ix_tokens_key")
