"""initial schema

Revision: 0001
"""

from alembic import op
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from migrations import audit_log

revision = "0001"
down_revision = None

_TIMESTAMP = DateTime(timezone=True)
_NOW = text("now()")
_EMPTY = text("'{}'")


def upgrade() -> None:
    _create_callers()
    _create_sessions()
    _create_connections()
    _create_refreshes()
    _create_interactions()
    _create_webhooks()
    _create_deliveries()
    _create_job_leases()
    audit_log.create()


def downgrade() -> None:
    audit_log.drop()
    op.execute(
        "DROP TABLE callers, api_keys, hashing_keys, stitch_authorization_requests, connections, tokens, "
        "bank_clients, refresh_attempts, revocations, interactions, webhooks, webhook_queues, webhook_deliveries, "
        "job_leases"
    )


def _create_callers() -> None:
    op.create_table(
        "callers",
        Column("id", Text, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("permissions", ARRAY(Text), nullable=False, server_default=_EMPTY),
        Column("created_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("disabled_at", _TIMESTAMP),
        UniqueConstraint("tenant", "name"),
    )
    op.create_table(
        "api_keys",
        Column("id", Text, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("caller_id", Text, ForeignKey("callers.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("prefix", Text, nullable=False, unique=True),
        Column("keyed_hash", Text, nullable=False),
        Column("created_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("expires_at", _TIMESTAMP),
        Column("revoked_at", _TIMESTAMP),
        Column("last_used_at", _TIMESTAMP),
    )
    op.create_table(
        "hashing_keys",
        Column("name", Text, primary_key=True),
        Column("key", Text, nullable=False),
        Column("created_at", _TIMESTAMP, nullable=False, server_default=_NOW),
    )


def _create_sessions() -> None:
    op.create_table(
        "stitch_authorization_requests",
        Column("id", Text, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("issuer", Text, nullable=False),
        Column("client_id", Text, nullable=False),
        Column("caller_id", Text, nullable=False),
        Column("user_id", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("stitch_state", Text, nullable=False, unique=True, comment="SHA-256 of the state, in hexadecimal"),
        Column("nonce_digest", Text, nullable=False),
        Column("code_challenge", Text, nullable=False),
        Column("code_verifier", Text),
        Column("authorization_url", Text),
        Column("pushed_parameters", Text),
        Column("proof_key", Text),
        Column("ticket", Text),
        Column("ticket_digest", Text, nullable=False, unique=True),
        Column("browser_digest", Text),
        Column("token_response", Text),
        Column("confirmation_code", Text),
        Column("require_confirmation", Boolean, nullable=False, server_default=text("false")),
        Column("redirect_uri", Text, nullable=False),
        Column("return_url", Text),
        Column("renews_connection_id", Text),
        Column("connection_id", Text, index=True),
        Column("scopes", ARRAY(Text), nullable=False, server_default=_EMPTY),
        Column("error_code", Text),
        Column("error_detail", Text),
        Column("metadata", JSONB, nullable=False, server_default=_EMPTY),
        Column("idempotency_key", Text),
        Column("request_digest", Text),
        Column("lease_until", _TIMESTAMP),
        Column("created_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("expires_at", _TIMESTAMP, nullable=False),
        Column("exchanged_at", _TIMESTAMP),
        Column("ended_at", _TIMESTAMP),
        *_session_indexes(),
    )


def _session_indexes() -> list[Index]:
    return [
        Index("ix_stitch_authorization_requests_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index(
            "ix_stitch_authorization_requests_grants",
            "expires_at",
            postgresql_where=text("status IN ('exchanging', 'awaiting_confirmation')"),
        ),
        Index("ix_stitch_authorization_requests_list", "tenant", "created_at", "id"),
        Index(
            "ix_stitch_authorization_requests_pending",
            *("tenant", "expires_at"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_stitch_authorization_requests_status", "tenant", "status", "created_at", "id"),
        Index("ix_stitch_authorization_requests_user", "tenant", "user_id"),
        Index(
            "uq_stitch_authorization_requests_idempotency",
            *("tenant", "caller_id", "idempotency_key"),
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    ]


def _create_connections() -> None:
    op.create_table(
        "connections",
        Column("id", Text, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("issuer", Text, nullable=False),
        Column("client_id", Text, nullable=False),
        Column("user_id", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("scopes", ARRAY(Text), nullable=False, server_default=_EMPTY),
        Column("version", Integer, nullable=False),
        Column("refreshable", Boolean, nullable=False),
        Column("access_token_expires_at", _TIMESTAMP),
        Column("access_token_lifetime", Integer, nullable=False, comment="seconds, from the last token response"),
        Column("fence", BigInteger, nullable=False, server_default=text("0")),
        Column("lease_until", _TIMESTAMP),
        Column("retry_at", _TIMESTAMP),
        Column("failures", Integer, nullable=False, server_default=text("0")),
        Column("last_failure", Text),
        Column("reauthorization_reason", Text),
        Column("metadata", JSONB, nullable=False, server_default=_EMPTY),
        Column("created_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("last_refreshed_at", _TIMESTAMP),
        Column("last_used_at", _TIMESTAMP),
        Column("revoked_at", _TIMESTAMP),
        Index("ix_connections_list", "tenant", "created_at", "id"),
        Index("ix_connections_revoked", "revoked_at", postgresql_where=text("status = 'revoked'")),
        Index("ix_connections_status", "tenant", "status", "created_at", "id"),
        Index("ix_connections_user", "tenant", "user_id"),
    )
    op.create_table(
        "tokens",
        Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("version", Integer, nullable=False),
        Column("access_token", Text, nullable=False),
        Column("refresh_token", Text),
        Column("proof_key", Text),
        Column("refused_at", _TIMESTAMP),
        Index("ix_tokens_key", text("split_part(access_token, '.', 2)")),
        Index("ix_tokens_refused", "refused_at", postgresql_where=text("refused_at IS NOT NULL")),
    )


def _create_refreshes() -> None:
    op.create_table(
        "bank_clients",
        Column("issuer", Text, primary_key=True),
        Column("client_id", Text, primary_key=True),
        Column("storm_since", _TIMESTAMP, comment="set while invalid_grant is not believed"),
        Column("trial_at", _TIMESTAMP, comment="when the next trial refresh may be made"),
    )
    op.create_table(
        "refresh_attempts",
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False),
        Column("version", Integer, nullable=False, comment="the version whose refresh token is presented"),
        Column("fence", BigInteger, nullable=False),
        Column("cause", Text, nullable=False),
        Column("replica", Text, nullable=False),
        Column("started_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("ended_at", _TIMESTAMP),
        Column("outcome", Text, comment="null while in progress or after a crash"),
        UniqueConstraint("connection_id", "fence"),
        Index("ix_refresh_attempts_refused", "ended_at", postgresql_where=text("outcome = 'invalid_grant'")),
    )
    op.create_table(
        "revocations",
        Column("id", Text, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("issuer", Text, nullable=False),
        Column("client_id", Text, nullable=False),
        Column("connection_id", Text),
        Column("session_id", Text),
        Column("token", Text, nullable=False),
        Column("token_type_hint", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("created_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("next_attempt_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Index("ix_revocations_due", "tenant", "next_attempt_at"),
    )


def _create_interactions() -> None:
    op.create_table(
        "interactions",
        Column("id", Text, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("user_id", Text, nullable=False),
        Column("connection_id", Text, nullable=False),
        Column("interaction_id", Text, nullable=False, comment="the bank's id"),
        Column("status", Text, nullable=False),
        Column("bank_url", Text),
        Column("ticket", Text),
        Column("ticket_digest", Text, nullable=False, unique=True),
        Column("browser_digest", Text, index=True),
        Column("return_url", Text),
        Column("created_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("expires_at", _TIMESTAMP, nullable=False),
        Column("returned_at", _TIMESTAMP),
        Column("status_checked_at", _TIMESTAMP),
        Column("ended_at", _TIMESTAMP),
        Index("ix_interactions_connection", "tenant", "connection_id"),
        Index("ix_interactions_expiry", "expires_at"),
        Index("ix_interactions_user", "tenant", "user_id"),
    )


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        Column("id", Text, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("url", Text, nullable=False),
        Column("events", ARRAY(Text), nullable=False, server_default=_EMPTY),
        Column("secret", Text),
        Column("previous_secret", Text),
        Column("previous_secret_until", _TIMESTAMP),
        Column("created_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("deleted_at", _TIMESTAMP),
        Index("ix_webhooks_list", "tenant", "created_at", "id"),
    )
    op.create_table(
        "webhook_queues",
        Column("webhook_id", Text, primary_key=True),
        Column(
            "stream", Text, primary_key=True, comment="the id of a connection, or of a session that ended without one"
        ),
        Column("tenant", Text, nullable=False),
        Column("failures", Integer, nullable=False, server_default=text("0")),
        Column("next_attempt_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("lease", Text),
        Column("lease_until", _TIMESTAMP),
        Index("ix_webhook_queues_due", "tenant", "next_attempt_at"),
        Index("ix_webhook_queues_webhook", "webhook_id", "next_attempt_at"),
    )


def _create_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        Column("webhook_id", Text, primary_key=True),
        Column("id", Text, primary_key=True, comment="the event's id, the same for every webhook"),
        Column("position", BigInteger, Identity(always=True), nullable=False),
        Column("tenant", Text, nullable=False),
        Column("stream", Text, nullable=False),
        Column("user_id", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("data", JSONB, nullable=False, server_default=_EMPTY),
        Column("status", Text, nullable=False),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("last_status", Integer, comment="HTTP status"),
        Column("last_error", Text),
        Column("created_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("last_attempt_at", _TIMESTAMP),
        Column("give_up_at", _TIMESTAMP, nullable=False),
        Column("ended_at", _TIMESTAMP),
        Index("ix_webhook_deliveries_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index("ix_webhook_deliveries_list", "webhook_id", "created_at", "id"),
        Index(
            "ix_webhook_deliveries_pending",
            *("webhook_id", "stream", "position"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("ix_webhook_deliveries_status", "webhook_id", "status", "created_at", "id"),
        Index("ix_webhook_deliveries_user", "tenant", "user_id"),
    )


def _create_job_leases() -> None:
    op.create_table(
        "job_leases",
        Column("name", Text, primary_key=True),
        Column("due_at", _TIMESTAMP, nullable=False, server_default=_NOW),
        Column("finished_at", _TIMESTAMP),
        Column("result", JSONB, nullable=False, server_default=_EMPTY),
    )
