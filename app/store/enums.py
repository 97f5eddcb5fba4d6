"""The values of the enumerated columns, stored as text."""

from enum import StrEnum


class SessionStatus(StrEnum):
    """The status of a login."""

    PENDING = "pending"
    EXCHANGING = "exchanging"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    EXPIRED = "expired"


class ConnectionStatus(StrEnum):
    """What a connection can be used for."""

    PENDING_CONFIRMATION = "pending_confirmation"
    ACTIVE = "active"
    REAUTHORIZATION_REQUIRED = "reauthorization_required"
    REVOKED = "revoked"


class InteractionStatus(StrEnum):
    """The status of an interaction."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


class RefreshCause(StrEnum):
    """Why a refresh was requested."""

    EXPIRED = "expired"
    REJECTED = "rejected"
    REQUESTED = "requested"


class RefreshOutcome(StrEnum):
    """How a refresh attempt ended. Only `invalid_grant` ends the connection."""

    REFRESHED = "refreshed"
    INVALID_GRANT = "invalid_grant"
    INVALID_GRANT_STORM = "invalid_grant_storm"
    OUTCOME_LOST = "refresh_outcome_lost"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    CLIENT_REFUSED = "invalid_client"
    RATE_LIMITED = "rate_limited"
    BANK_FAILED = "bank_failed"
    BAD_ANSWER = "bad_answer"
    REQUEST_REFUSED = "request_refused"
    SUPERSEDED = "superseded"
    SUBJECT_MISMATCH = "subject_mismatch"
    REVOKED = "revoked"


class EventType(StrEnum):
    """The events that webhooks can subscribe to."""

    SESSION_COMPLETED = "session.completed"
    SESSION_CANCELLED = "session.cancelled"
    SESSION_FAILED = "session.failed"
    SESSION_EXPIRED = "session.expired"
    CONNECTION_REFRESHED = "connection.refreshed"
    CONNECTION_REAUTHORIZATION_REQUIRED = "connection.reauthorization_required"
    CONNECTION_RECOVERED = "connection.recovered"
    CONNECTION_REVOKED = "connection.revoked"


class DeliveryStatus(StrEnum):
    """The status of a webhook delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
