"""the audit is append-only and chained

Revision: 0002, after 0001

Replicas of the version before go on writing `audit_events` as they did: a trigger chains their events too. While the
events that are there already are being chained, new ones wait.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BATCH = 20_000

_HASH = """
CREATE FUNCTION audit_event_hash(previous_hash text, at_position bigint, event audit_events) RETURNS text
LANGUAGE sql AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        previous_hash, at_position, event.id, event.tenant, extract(epoch FROM event.occurred_at), event.actor,
        event.action, event.session_id, event.connection_id, event.request_id, event.detail
    )::text, 'UTF8')), 'hex')
$$
"""
# Runs when the event's transaction commits. With the rights of the tables' owner, so that the broker's own role needs
# none on the chain and its heads; hence the fixed search path, in which nothing temporary can come first.
_CHAIN = """
CREATE FUNCTION audit_chain_event() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    head audit_heads;
    new_hash text;
BEGIN
    INSERT INTO audit_heads (tenant, position, hash) VALUES (NEW.tenant, 0, repeat('0', 64)) ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM audit_heads WHERE tenant = NEW.tenant FOR UPDATE;
    new_hash := audit_event_hash(head.hash, head.position + 1, NEW);
    INSERT INTO audit_chain (tenant, position, event_id, previous_hash, hash)
        VALUES (NEW.tenant, head.position + 1, NEW.id, head.hash, new_hash);
    UPDATE audit_heads SET position = head.position + 1, hash = new_hash WHERE tenant = NEW.tenant;
    RETURN NULL;
END
$$
"""
# The same for the events of before, but for the head, which is written once for many.
_CHAIN_BACKLOG = """
CREATE FUNCTION audit_chain_backlog(of_tenant text, batch bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    head audit_heads;
    event audit_events;
    new_hash text;
    last_id bigint;
    chained bigint := 0;
BEGIN
    INSERT INTO audit_heads (tenant, position, hash) VALUES (of_tenant, 0, repeat('0', 64)) ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM audit_heads WHERE tenant = of_tenant;
    SELECT event_id INTO last_id FROM audit_chain WHERE tenant = of_tenant AND position = head.position;
    FOR event IN
        SELECT * FROM audit_events WHERE tenant = of_tenant AND id > coalesce(last_id, 0) ORDER BY id LIMIT batch
    LOOP
        new_hash := audit_event_hash(head.hash, head.position + 1, event);
        INSERT INTO audit_chain (tenant, position, event_id, previous_hash, hash)
            VALUES (of_tenant, head.position + 1, event.id, head.hash, new_hash);
        head.position := head.position + 1;
        head.hash := new_hash;
        chained := chained + 1;
    END LOOP;
    UPDATE audit_heads SET position = head.position, hash = head.hash WHERE tenant = of_tenant;
    RETURN chained;
END
$$
"""
_REFUSE = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""
_TRIGGERS = (
    (
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
    ),
    (
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
    ),
    (
        "CREATE TRIGGER never_removed BEFORE DELETE OR TRUNCATE ON audit_heads "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
    ),
    (
        "CREATE TRIGGER only_forward BEFORE UPDATE ON audit_heads FOR EACH ROW "
        "WHEN (NEW.tenant <> OLD.tenant OR NEW.position <> OLD.position + 1) EXECUTE FUNCTION audit_refuse_change()"
    ),
    (
        "CREATE CONSTRAINT TRIGGER chained AFTER INSERT ON audit_events DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION audit_chain_event()"
    ),
)


def upgrade() -> None:
    op.create_table(
        "audit_heads",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_audit_heads")),
    )
    op.create_table(
        "audit_chain",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("previous_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "position", name=op.f("pk_audit_chain")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_chain_event_id")),
    )
    connection = op.get_bind()
    schema = connection.execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    for function in (_HASH, _CHAIN.format(schema=schema), _CHAIN_BACKLOG, _REFUSE):
        op.execute(function)
    op.execute("LOCK TABLE audit_events IN SHARE ROW EXCLUSIVE MODE")
    for tenant in connection.execute(sa.text("SELECT DISTINCT tenant FROM audit_events")).scalars().all():
        _chain_backlog(connection, tenant)
    op.execute("DROP FUNCTION audit_chain_backlog(text, bigint)")
    for trigger in _TRIGGERS:
        op.execute(trigger)


def downgrade() -> None:
    op.execute("DROP TRIGGER chained ON audit_events")
    op.execute("DROP TRIGGER append_only ON audit_events")
    op.drop_table("audit_chain")
    op.drop_table("audit_heads")
    op.execute("DROP FUNCTION audit_chain_event()")
    op.execute("DROP FUNCTION audit_refuse_change()")
    op.execute("DROP FUNCTION audit_event_hash(text, bigint, audit_events)")


def _chain_backlog(connection: sa.Connection, tenant: str) -> None:
    """Chain the events of before, in batches that each stay well within the statement timeout."""
    batch = sa.text("SELECT audit_chain_backlog(:tenant, :batch)")
    while connection.execute(batch, {"tenant": tenant, "batch": _BATCH}).scalar_one() == _BATCH:
        pass
