"""logins whose time is over, and revocations, are found by tenant, and deliveries by status

Revision: 0011, after 0010

The version before is not concerned, but looks for them more slowly. Building an index holds up what writes its table:
some seconds for a million rows. Where that is too long, make them beforehand with CREATE INDEX CONCURRENTLY, and see
with `\\d` that none is INVALID: this migration takes one that is there for good.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_stitch_authorization_requests_grants "
        "ON stitch_authorization_requests (expires_at) WHERE status IN ('exchanging', 'awaiting_confirmation')"
    )
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_stitch_authorization_requests_pending "
        "ON stitch_authorization_requests (tenant, expires_at) WHERE status = 'pending'"
    )
    op.execute("DROP INDEX ix_revocations_due")
    op.execute("CREATE INDEX ix_revocations_due ON revocations (tenant, next_attempt_at)")
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_webhook_deliveries_status "
        "ON webhook_deliveries (webhook_id, status, created_at, id)"
    )


def downgrade() -> None:
    op.execute("DROP INDEX ix_webhook_deliveries_status")
    op.execute("DROP INDEX ix_revocations_due")
    op.execute("CREATE INDEX ix_revocations_due ON revocations (next_attempt_at)")
    op.execute("DROP INDEX ix_stitch_authorization_requests_pending")
    op.execute("DROP INDEX ix_stitch_authorization_requests_grants")
