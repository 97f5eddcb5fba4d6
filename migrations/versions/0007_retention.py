"""what is old can be removed; the audit keeps a checkpoint

Revision: 0007, after 0006

The version before goes on: what it writes is not touched. Building the indexes holds up writes to their table, not
reads; how long, is in docs/operations.md.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# What is younger is refused, so that whoever has the broker's account cannot remove what was just done.
_YOUNGEST = "interval '30 days'"
# Checks what it removes: a fault in the chain must not disappear with what it was found in.
_REMOVE = """
CREATE FUNCTION audit_remove_before(of_tenant text, moment timestamptz, batch bigint) RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    checkpoint audit_checkpoints;
    link record;
    last record;
BEGIN
    moment := least(moment, now() - {youngest});
    INSERT INTO audit_checkpoints (tenant, position, hash) VALUES (of_tenant, 0, repeat('0', 64))
        ON CONFLICT DO NOTHING;
    SELECT * INTO checkpoint FROM audit_checkpoints WHERE tenant = of_tenant FOR UPDATE;
    SELECT checkpoint.position AS position, checkpoint.hash AS hash INTO last;
    FOR link IN
        SELECT chain.position, chain.previous_hash, chain.hash, event.occurred_at,
            CASE WHEN event.id IS NOT NULL
                THEN audit_event_hash(chain.previous_hash, chain.position, event) END AS computed
        FROM audit_chain chain LEFT JOIN audit_events event ON event.id = chain.event_id
        WHERE chain.tenant = of_tenant AND chain.position > checkpoint.position
        ORDER BY chain.position LIMIT batch
    LOOP
        EXIT WHEN link.occurred_at >= moment;
        IF link.position <> last.position + 1 OR link.previous_hash <> last.hash
            OR link.computed IS DISTINCT FROM link.hash
        THEN
            RAISE EXCEPTION 'the audit of % is broken at position %, and is not shortened', of_tenant, last.position + 1
                USING ERRCODE = 'data_corrupted';
        END IF;
        last := link;
    END LOOP;
    IF last.position > checkpoint.position THEN
        UPDATE audit_checkpoints SET position = last.position, hash = last.hash, removed_at = now()
            WHERE tenant = of_tenant;
        DELETE FROM audit_events USING audit_chain chain WHERE chain.event_id = audit_events.id
            AND chain.tenant = of_tenant AND chain.position <= last.position;
        DELETE FROM audit_chain WHERE tenant = of_tenant AND position <= last.position;
    END IF;
    RETURN last.position - checkpoint.position;
END
$$
"""
_REFUSE_REMOVAL = """
CREATE FUNCTION audit_refuse_removal() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    is_refused boolean;
BEGIN
    IF TG_TABLE_NAME = 'audit_chain' THEN
        is_refused := EXISTS (
            SELECT FROM removed LEFT JOIN audit_checkpoints checkpoint USING (tenant)
            WHERE checkpoint.position IS NULL OR removed.position > checkpoint.position
        );
    ELSE
        is_refused := EXISTS (
            SELECT FROM removed LEFT JOIN audit_chain chain ON chain.event_id = removed.id
                LEFT JOIN audit_checkpoints checkpoint ON checkpoint.tenant = chain.tenant
            WHERE checkpoint.position IS NULL OR chain.position > checkpoint.position
        );
    END IF;
    IF is_refused THEN
        RAISE EXCEPTION 'the audit is append-only: DELETE of % is refused', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END
$$
"""
_CHECK_CHECKPOINT = """
CREATE FUNCTION audit_check_checkpoint() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.position = 0 AND NEW.hash = repeat('0', 64) THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.tenant = OLD.tenant AND NEW.position > OLD.position AND EXISTS (
        SELECT FROM audit_chain chain JOIN audit_events event ON event.id = chain.event_id
        WHERE chain.tenant = NEW.tenant AND chain.position = NEW.position AND chain.hash = NEW.hash
            AND event.occurred_at < now() - {youngest}
    ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit is append-only: this checkpoint is refused' USING ERRCODE = 'restrict_violation';
END
$$
"""
_TRIGGERS = (
    *(
        (
            f"CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
        )
        for table in ("audit_events", "audit_chain")
    ),
    *(
        (
            f"CREATE TRIGGER removed_only_before_the_checkpoint AFTER DELETE ON {table} "
            "REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_removal()"
        )
        for table in ("audit_events", "audit_chain")
    ),
    (
        "CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON audit_checkpoints "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
    ),
    (
        "CREATE TRIGGER only_forward BEFORE INSERT OR UPDATE ON audit_checkpoints "
        "FOR EACH ROW EXECUTE FUNCTION audit_check_checkpoint()"
    ),
)
_APPEND_ONLY_OF_BEFORE = (
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
)


def upgrade() -> None:
    op.add_column("connections", sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_connections_revoked", "connections", ["revoked_at"], postgresql_where=sa.text("status = 'revoked'")
    )
    op.create_index(
        "ix_stitch_authorization_requests_ended",
        "stitch_authorization_requests",
        ["ended_at"],
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_audit_checkpoints")),
    )
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    for function in (_REMOVE, _REFUSE_REMOVAL, _CHECK_CHECKPOINT):
        op.execute(function.format(schema=schema, youngest=_YOUNGEST))
    for table in ("audit_events", "audit_chain"):
        op.execute(f"DROP TRIGGER append_only ON {table}")
    for trigger in _TRIGGERS:
        op.execute(trigger)


def downgrade() -> None:
    for table in ("audit_events", "audit_chain"):
        op.execute(f"DROP TRIGGER removed_only_before_the_checkpoint ON {table}")
        op.execute(f"DROP TRIGGER append_only ON {table}")
        op.execute(_APPEND_ONLY_OF_BEFORE.format(table=table))
    op.drop_table("audit_checkpoints")
    op.execute("DROP FUNCTION audit_remove_before(text, timestamptz, bigint)")
    op.execute("DROP FUNCTION audit_refuse_removal()")
    op.execute("DROP FUNCTION audit_check_checkpoint()")
    op.drop_index("ix_stitch_authorization_requests_ended", table_name="stitch_authorization_requests")
    op.drop_index("ix_connections_revoked", table_name="connections")
    op.drop_column("connections", "revoked_at")
