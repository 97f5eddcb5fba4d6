from enum import StrEnum


class SessionStatus(StrEnum):
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    EXCHANGING = "exchanging"
    EXPIRED = "expired"
    FAILED = "failed"
    PENDING = "pending"

    def __str__(self) -> str:
        return str(self.value)
