from enum import StrEnum


class ConnectionStatus(StrEnum):
    ACTIVE = "active"
    PENDING_CONFIRMATION = "pending_confirmation"
    REAUTHORIZATION_REQUIRED = "reauthorization_required"
    REVOKED = "revoked"

    def __str__(self) -> str:
        return str(self.value)
