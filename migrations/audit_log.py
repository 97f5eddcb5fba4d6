"""The audit log's tables, and the functions and triggers that make it append-only and chain its events by their hashes.

This is part of the initial migration. A later migration that replaces a function contains the new text itself.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB

_TIMESTAMP = DateTime(timezone=True)
_NOW = text("now()")
_EMPTY = text("'{}'")

# Events younger than this are never deleted, so an account that may call the functions cannot hide what it just did.
_MINIMUM_AGE = "interval '30 days'"

_HASH = """
CREATE FUNCTION audit_event_hash(previous_hash text, at_position bigint, event audit_events) RETURNS text
LANGUAGE sql AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        previous_hash, at_position, event.id, event.tenant, extract(epoch FROM event.occurred_at), event.actor,
        event.action, event.session_id, event.connection_id, event.request_id, event.detail
    )::text, 'UTF8')), 'hex')
$$
"""
# Runs when the event's transaction commits. Like the functions below, it runs with the rights of the tables' owner, so
# that the broker's own role needs none on the chain. The fixed search path keeps temporary tables from taking over.
_CHAIN_EVENT = """
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
_REFUSE_CHANGE = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""
# Verifies the chain over what it deletes: evidence of a change must not disappear with the events.
_REMOVE_BEFORE = """
CREATE FUNCTION audit_remove_before(of_tenant text, cutoff timestamptz, batch bigint) RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    checkpoint audit_checkpoints;
    link record;
    last record;
BEGIN
    cutoff := least(cutoff, now() - {minimum_age});
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
        EXIT WHEN link.occurred_at >= cutoff;
        IF link.position <> last.position + 1 OR link.previous_hash <> last.hash
            OR link.computed IS DISTINCT FROM link.hash
        THEN
            RAISE EXCEPTION 'the audit log of % is broken at position %, so nothing is deleted',
                of_tenant, last.position + 1 USING ERRCODE = 'data_corrupted';
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
        RAISE EXCEPTION 'the audit log is append-only: DELETE of % is refused', TG_TABLE_NAME
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
            AND event.occurred_at < now() - {minimum_age}
    ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only: this checkpoint is refused' USING ERRCODE = 'restrict_violation';
END
$$
"""
_REFUSE = "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
_REFUSE_BEYOND_CHECKPOINT = (
    "REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_removal()"
)
_REFUSE_UNLESS_NEXT = (
    "FOR EACH ROW WHEN (NEW.tenant <> OLD.tenant OR NEW.position <> OLD.position + 1) "
    "EXECUTE FUNCTION audit_refuse_change()"
)
_TRIGGERS = (
    f"append_only BEFORE UPDATE OR TRUNCATE ON audit_events {_REFUSE}",
    f"append_only BEFORE UPDATE OR TRUNCATE ON audit_chain {_REFUSE}",
    f"never_removed BEFORE DELETE OR TRUNCATE ON audit_heads {_REFUSE}",
    f"never_removed BEFORE DELETE OR TRUNCATE ON audit_checkpoints {_REFUSE}",
    f"removed_only_before_the_checkpoint AFTER DELETE ON audit_events {_REFUSE_BEYOND_CHECKPOINT}",
    f"removed_only_before_the_checkpoint AFTER DELETE ON audit_chain {_REFUSE_BEYOND_CHECKPOINT}",
    f"only_forward BEFORE UPDATE ON audit_heads {_REFUSE_UNLESS_NEXT}",
    "only_forward BEFORE INSERT OR UPDATE ON audit_checkpoints FOR EACH ROW EXECUTE FUNCTION audit_check_checkpoint()",
)
_CHAIN_AT_COMMIT = (
    "CREATE CONSTRAINT TRIGGER chained AFTER INSERT ON audit_events DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION audit_chain_event()"
)


def create() -> None:
    """Create the tables, functions and triggers in the current schema."""
    _create_tables()
    schema = op.get_bind().execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    for function in (_HASH, _CHAIN_EVENT, _REFUSE_CHANGE, _REMOVE_BEFORE, _REFUSE_REMOVAL, _CHECK_CHECKPOINT):
        op.execute(function.format(schema=schema, minimum_age=_MINIMUM_AGE))
    for trigger in _TRIGGERS:
        op.execute(f"CREATE TRIGGER {trigger}")
    op.execute(_CHAIN_AT_COMMIT)


def drop() -> None:
    """Drop everything that `create` creates."""
    op.execute(
        "DROP FUNCTION audit_event_hash, audit_chain_event, audit_refuse_change, audit_remove_before, "
        "audit_refuse_removal, audit_check_checkpoint CASCADE"
    )
    op.execute("DROP TABLE audit_events, audit_chain, audit_heads, audit_checkpoints")


def _create_tables() -> None:
    op.create_table(
        "audit_events",
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("occurred_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("actor", Text, nullable=False),
        Column("action", Text, nullable=False),
        Column("session_id", Text),
        Column("connection_id", Text),
        Column("request_id", Text),
        Column("detail", JSONB, nullable=False, server_default=_EMPTY),
        Index("ix_audit_events_connection", "tenant", "connection_id", "id"),
        Index("ix_audit_events_tenant", "tenant", "id"),
    )
    op.create_table(
        "audit_chain",
        Column("tenant", Text, primary_key=True),
        Column("position", BigInteger, primary_key=True),
        Column("event_id", BigInteger, nullable=False, unique=True),
        Column("previous_hash", Text, nullable=False),
        Column("hash", Text, nullable=False),
    )
    op.create_table(
        "audit_heads",
        Column("tenant", Text, primary_key=True),
        Column("position", BigInteger, nullable=False),
        Column("hash", Text, nullable=False),
    )
    op.create_table(
        "audit_checkpoints",
        Column("tenant", Text, primary_key=True),
        Column("position", BigInteger, nullable=False),
        Column("hash", Text, nullable=False),
        Column("removed_at", _TIMESTAMP, nullable=False, server_default=_NOW),
    )
