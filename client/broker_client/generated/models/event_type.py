from enum import StrEnum


class EventType(StrEnum):
    CONNECTION_REAUTHORIZATION_REQUIRED = "connection.reauthorization_required"
    CONNECTION_RECOVERED = "connection.recovered"
    CONNECTION_REFRESHED = "connection.refreshed"
    CONNECTION_REVOKED = "connection.revoked"
    SESSION_CANCELLED = "session.cancelled"
    SESSION_COMPLETED = "session.completed"
    SESSION_EXPIRED = "session.expired"
    SESSION_FAILED = "session.failed"

    def __str__(self) -> str:
        return str(self.value)
