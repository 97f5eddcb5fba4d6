"""Every table. Times are timestamptz; every row has its tenant; `*_digest` columns hold SHA-256 in hexadecimal."""

from typing import Any

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
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from app.encryption import Ciphertext

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Sealed(TypeDecorator[Ciphertext]):
    """A column that holds ciphertexts only; plain text does not fit its type."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Ciphertext | None, dialect: Dialect) -> str | None:
        """Store the text of the ciphertext."""
        return None if value is None else value.text

    def process_result_value(self, value: str | None, dialect: Dialect) -> Ciphertext | None:
        """Wrap what was stored, so that it does not print."""
        return None if value is None else Ciphertext(value)


def _moment(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True))


def _moment_given(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False)


def _created_at(name: str = "created_at") -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _words(name: str) -> Column[Any]:
    return Column(name, ARRAY(Text), nullable=False, server_default=text("'{}'"))


def _object(name: str) -> Column[Any]:
    return Column(name, JSONB, nullable=False, server_default=text("'{}'"))


callers = Table(
    "callers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    _words("permissions"),
    _created_at(),
    _moment("disabled_at"),
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
    _created_at(),
    _moment("expires_at"),
    _moment("revoked_at"),
    _moment("last_used_at"),
)

hashing_keys = Table(
    "hashing_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("key", Sealed, nullable=False),
    _created_at(),
)

sessions = Table(
    "stitch_authorization_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("caller_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("stitch_state", Text, nullable=False, unique=True, comment="SHA-256 of the state, in hexadecimal"),
    Column("nonce_digest", Text, nullable=False),
    Column("code_challenge", Text, nullable=False),
    Column("code_verifier", Sealed),
    Column("authorization_url", Sealed),
    Column("ticket", Sealed),
    Column("ticket_digest", Text, nullable=False, unique=True),
    Column("browser_digest", Text),
    Column("token_response", Sealed),
    Column("confirmation_code", Sealed),
    Column("require_confirmation", Boolean, nullable=False, server_default=false()),
    Column("redirect_uri", Text, nullable=False),
    Column("return_url", Text),
    Column("renews_connection_id", Text),
    Column("connection_id", Text, index=True),
    _words("scopes"),
    Column("error_code", Text),
    Column("error_detail", Text),
    _object("metadata"),
    Column("idempotency_key", Text),
    Column("request_digest", Text),
    _moment("lease_until"),
    _created_at(),
    _moment_given("expires_at"),
    _moment("exchanged_at"),
    _moment("ended_at"),
    Index("ix_stitch_authorization_requests_list", "tenant", "created_at", "id"),
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
        "ix_stitch_authorization_requests_open",
        "expires_at",
        postgresql_where=text("ended_at IS NULL"),
    ),
)

connections = Table(
    "connections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("subject", Text, nullable=False),
    _words("scopes"),
    Column("version", Integer, nullable=False),
    Column("refreshable", Boolean, nullable=False),
    _moment("access_token_expires_at"),
    Column("access_token_lifetime", Integer, nullable=False, comment="seconds, as the bank last gave it"),
    Column("fence", BigInteger, nullable=False, server_default=text("0")),
    _moment("lease_until"),
    _moment("retry_at"),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("last_failure", Text),
    Column("reauthorization_reason", Text),
    _object("metadata"),
    _created_at(),
    _moment("last_refreshed_at"),
    _moment("last_used_at"),
    Index("ix_connections_list", "tenant", "created_at", "id"),
    Index("ix_connections_user", "tenant", "user_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("access_token", Sealed, nullable=False),
    Column("refresh_token", Sealed),
)

refresh_attempts = Table(
    "refresh_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("connection_id", Text, ForeignKey("connections.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False, comment="the version whose refresh token was to be presented"),
    Column("fence", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
    Column("replica", Text, nullable=False),
    _created_at("started_at"),
    _moment("ended_at"),
    Column("outcome", Text, comment="null while under way, or after a crash"),
    UniqueConstraint("connection_id", "fence"),
)

revocations = Table(
    "revocations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("connection_id", Text),
    Column("session_id", Text),
    Column("token", Sealed, nullable=False),
    Column("token_type_hint", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _created_at(),
    _created_at("next_attempt_at"),
    Index("ix_revocations_due", "next_attempt_at"),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    _created_at("occurred_at"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("session_id", Text),
    Column("connection_id", Text),
    Column("request_id", Text),
    _object("detail"),
    Index("ix_audit_events_tenant", "tenant", "id"),
    Index("ix_audit_events_connection", "tenant", "connection_id", "id"),
)

# A trigger adds to the next two when a transaction that wrote events commits; nothing else writes them.
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
