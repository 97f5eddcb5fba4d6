"""Keeps this broker from using grants that were made with another client of the bank."""

from app.base.bank_client import BankClient
from app.errors import BankClientMismatch
from app.observability.logs import get_logger
from app.observability.metrics import BANK_CLIENT_MISMATCHES

logger = get_logger(__name__)


class OwnClient:
    """The client that this broker is configured with, and a check that a grant belongs to it."""

    def __init__(self, identity: BankClient) -> None:
        self.identity = identity
        self._reported: set[BankClient] = set()

    def require_connection(self, linked_by: BankClient) -> None:
        """Raise BankClientMismatch if a connection was linked by another client."""
        if linked_by != self.identity:
            self._report(linked_by)
            raise BankClientMismatch(
                "this broker is configured with another client or issuer than the one that linked the account; "
                "the operator must correct BROKER_STITCH_CLIENT_ID or BROKER_STITCH_ISSUER"
            )

    def require_session(self, started_by: BankClient) -> None:
        """Raise BankClientMismatch if a login was started by another client. Nothing of the login is used up."""
        if started_by != self.identity:
            self._report(started_by)
            raise BankClientMismatch(
                "this login was started with another client or issuer than this broker is configured with; "
                "try again in a moment",
                retry_after=5,
            )

    def _report(self, other: BankClient) -> None:
        BANK_CLIENT_MISMATCHES.inc()
        if other not in self._reported:
            self._reported.add(other)
            logger.error(
                "bank_client_mismatch",
                issuer=other.issuer,
                client_id=other.client_id,
                configured_issuer=self.identity.issuer,
                configured_client_id=self.identity.client_id,
            )
