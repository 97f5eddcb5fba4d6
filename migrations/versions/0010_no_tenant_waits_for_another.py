"""lists by status, and queues by tenant, are found by an index

Revision: 0010, after 0009

The version before is not concerned, but looks for due queues more slowly. Building an index holds up what writes its
table, not what reads it: some seconds for a million rows. Where that is too long, make those of sessions and
connections beforehand with CREATE INDEX CONCURRENTLY.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_stitch_authorization_requests_status "
        "ON stitch_authorization_requests (tenant, status, created_at, id)"
    )
    op.execute("CREATE INDEX IF NOT EXISTS ix_connections_status ON connections (tenant, status, created_at, id)")
    op.execute("DROP INDEX ix_webhook_queues_due")
    op.execute("CREATE INDEX ix_webhook_queues_due ON webhook_queues (tenant, next_attempt_at)")
    op.execute("CREATE INDEX ix_webhook_queues_webhook ON webhook_queues (webhook_id, next_attempt_at)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_webhook_queues_webhook")
    op.execute("DROP INDEX ix_webhook_queues_due")
    op.execute("CREATE INDEX ix_webhook_queues_due ON webhook_queues (next_attempt_at)")
    op.execute("DROP INDEX ix_connections_status")
    op.execute("DROP INDEX ix_stitch_authorization_requests_status")
