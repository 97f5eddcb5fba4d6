"""Every table. `*_digest` columns hold SHA-256 in hexadecimal.

Event types and failure reasons are plain text: a later version may write values that this one does not know, and this
one must still be able to read the rows.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)

from app.store.enums import (
    ConnectionStatus,
    DeliveryStatus,
    InteractionStatus,
    RefreshCause,
    RefreshOutcome,
    SessionStatus,
)
from app.store.postgresql.columns import (
    Encrypted,
    EnumText,
    inserted_at,
    json_object,
    required_timestamp,
    text_array,
    timestamp,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


callers = Table(
    "callers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    text_array("permissions"),
    inserted_at("created_at"),
    timestamp("disabled_at"),
    UniqueConstraint("tenant", "name"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("caller_id", Text, ForeignKey("callers.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("prefix", Text, nullable=False, unique=True),
    Column("keyed_hash", Text, nullable=False),
    inserted_at("created_at"),
    timestamp("expires_at"),
    timestamp("revoked_at"),
    timestamp("last_used_at"),
)

hashing_keys = Table(
    "hashing_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key", Encrypted, nullable=False),
    inserted_at("created_at"),
)

sessions = Table(
    "stitch_authorization_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("caller_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("status", EnumText(SessionStatus), nullable=False),
    Column("stitch_state", Text, nullable=False, unique=True, comment="SHA-256 of the state, in hexadecimal"),
    Column("nonce_digest", Text, nullable=False),
    Column("code_challenge", Text, nullable=False),
    Column("code_verifier", Encrypted),
    Column("authorization_url", Encrypted),
    Column("pushed_parameters", Encrypted),
    Column("proof_key", Encrypted),
    Column("ticket", Encrypted),
    Column("ticket_digest", Text, nullable=False, unique=True),
    Column("browser_digest", Text),
    Column("token_response", Encrypted),
    Column("confirmation_code", Encrypted),
    Column("require_confirmation", Boolean, nullable=False, server_default=false()),
    Column("redirect_uri", Text, nullable=False),
    Column("return_url", Text),
    Column("renews_connection_id", Text),
    Column("connection_id", Text, index=True),
    text_array("scopes"),
    Column("error_code", Text),
    Column("error_detail", Text),
    json_object("metadata"),
    Column("idempotency_key", Text),
    Column("request_digest", Text),
    timestamp("lease_until"),
    inserted_at("created_at"),
    required_timestamp("expires_at"),
    timestamp("exchanged_at"),
    timestamp("ended_at"),
    Index("ix_stitch_authorization_requests_list", "tenant", "created_at", "id"),
    Index("ix_stitch_authorization_requests_status", "tenant", "status", "created_at", "id"),
    Index("ix_stitch_authorization_requests_user", "tenant", "user_id"),
    Index(
        "uq_stitch_authorization_requests_idempotency",
        "tenant",
        "caller_id",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    Index(
        "ix_stitch_authorization_requests_grants",
        "expires_at",
        postgresql_where=text("status IN ('exchanging', 'awaiting_confirmation')"),
    ),
    Index(
        "ix_stitch_authorization_requests_pending",
        *("tenant", "expires_at"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_stitch_authorization_requests_ended",
        "ended_at",
        postgresql_where=text("ended_at IS NOT NULL"),
    ),
)

connections = Table(
    "connections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("status", EnumText(ConnectionStatus), nullable=False),
    Column("subject", Text, nullable=False),
    text_array("scopes"),
    Column("version", Integer, nullable=False),
    Column("refreshable", Boolean, nullable=False),
    timestamp("access_token_expires_at"),
    Column("access_token_lifetime", Integer, nullable=False, comment="seconds, from the last token response"),
    Column("fence", BigInteger, nullable=False, server_default=text("0")),
    timestamp("lease_until"),
    timestamp("retry_at"),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("last_failure", Text),
    Column("reauthorization_reason", Text),
    json_object("metadata"),
    inserted_at("created_at"),
    timestamp("last_refreshed_at"),
    timestamp("last_used_at"),
    timestamp("revoked_at"),
    Index("ix_connections_list", "tenant", "created_at", "id"),
    Index("ix_connections_status", "tenant", "status", "created_at", "id"),
    Index("ix_connections_user", "tenant", "user_id"),
    Index("ix_connections_revoked", "revoked_at", postgresql_where=text("status = 'revoked'")),
)

tokens = Table(
    "tokens",
    metadata,
    # By the id of the encryption key. All ciphertexts of a row have the same one.
    Index("ix_tokens_key", text("split_part(access_token, '.', 2)")),
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("access_token", Encrypted, nullable=False),
    Column("refresh_token", Encrypted),
    Column("proof_key", Encrypted),
    timestamp("refused_at"),
    Index("ix_tokens_refused", "refused_at", postgresql_where=text("refused_at IS NOT NULL")),
)

bank_clients = Table(
    "bank_clients",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("client_id", Text, primary_key=True),
    Column("storm_since", DateTime(timezone=True), comment="set while invalid_grant is not believed"),
    Column("trial_at", DateTime(timezone=True), comment="when the next trial refresh may be made"),
)

refresh_attempts = Table(
    "refresh_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False, comment="the version whose refresh token is presented"),
    Column("fence", BigInteger, nullable=False),
    Column("cause", EnumText(RefreshCause), nullable=False),
    Column("replica", Text, nullable=False),
    inserted_at("started_at"),
    timestamp("ended_at"),
    Column("outcome", EnumText(RefreshOutcome), comment="null while in progress or after a crash"),
    UniqueConstraint("connection_id", "fence"),
    Index("ix_refresh_attempts_refused", "ended_at", postgresql_where=text("outcome = 'invalid_grant'")),
)

revocations = Table(
    "revocations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("connection_id", Text),
    Column("session_id", Text),
    Column("token", Encrypted, nullable=False),
    Column("token_type_hint", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    inserted_at("created_at"),
    inserted_at("next_attempt_at"),
    Index("ix_revocations_due", "tenant", "next_attempt_at"),
)

interactions = Table(
    "interactions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("connection_id", Text, nullable=False),
    Column("interaction_id", Text, nullable=False, comment="the bank's id"),
    Column("status", EnumText(InteractionStatus), nullable=False),
    Column("bank_url", Encrypted),
    Column("ticket", Encrypted),
    Column("ticket_digest", Text, nullable=False, unique=True),
    Column("browser_digest", Text, index=True),
    Column("return_url", Text),
    inserted_at("created_at"),
    required_timestamp("expires_at"),
    timestamp("returned_at"),
    timestamp("status_checked_at"),
    timestamp("ended_at"),
    Index("ix_interactions_connection", "tenant", "connection_id"),
    Index("ix_interactions_expiry", "expires_at"),
    Index("ix_interactions_user", "tenant", "user_id"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("url", Text, nullable=False),
    text_array("events"),
    Column("secret", Encrypted),
    Column("previous_secret", Encrypted),
    timestamp("previous_secret_until"),
    inserted_at("created_at"),
    timestamp("deleted_at"),
    Index("ix_webhooks_list", "tenant", "created_at", "id"),
)

# One queue for each webhook and stream. Only the oldest delivery of a queue is sent, so events keep their order.
webhook_queues = Table(
    "webhook_queues",
    metadata,
    Column("webhook_id", Text, primary_key=True),
    Column("stream", Text, primary_key=True, comment="the id of a connection, or of a session that ended without one"),
    Column("tenant", Text, nullable=False),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    inserted_at("next_attempt_at"),
    Column("lease", Text),
    timestamp("lease_until"),
    Index("ix_webhook_queues_due", "tenant", "next_attempt_at"),
    Index("ix_webhook_queues_webhook", "webhook_id", "next_attempt_at"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("webhook_id", Text, primary_key=True),
    Column("id", Text, primary_key=True, comment="the event's id, the same for every webhook"),
    Column("position", BigInteger, Identity(always=True), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    json_object("data"),
    Column("status", EnumText(DeliveryStatus), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_status", Integer, comment="HTTP status"),
    Column("last_error", Text),
    inserted_at("created_at"),
    timestamp("last_attempt_at"),
    required_timestamp("give_up_at"),
    timestamp("ended_at"),
    Index("ix_webhook_deliveries_list", "webhook_id", "created_at", "id"),
    Index("ix_webhook_deliveries_status", "webhook_id", "status", "created_at", "id"),
    Index("ix_webhook_deliveries_user", "tenant", "user_id"),
    Index(
        "ix_webhook_deliveries_pending",
        *("webhook_id", "stream", "position"),
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index("ix_webhook_deliveries_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    inserted_at("occurred_at"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("session_id", Text),
    Column("connection_id", Text),
    Column("request_id", Text),
    json_object("detail"),
    Index("ix_audit_events_tenant", "tenant", "id"),
    Index("ix_audit_events_connection", "tenant", "connection_id", "id"),
)

# The next two tables are written only by a trigger, when a transaction that inserted events commits.
audit_chain = Table(
    "audit_chain",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("event_id", BigInteger, nullable=False, unique=True),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

# The last deleted position of each tenant's audit log, and its hash, from which the rest of the chain continues.
audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("removed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# Periodic work that one replica does for all of them, and when it is next due.
job_leases = Table(
    "job_leases",
    metadata,
    Column("name", Text, primary_key=True),
    inserted_at("due_at"),
    timestamp("finished_at"),
    json_object("result"),
)
