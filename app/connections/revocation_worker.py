"""Telling the bank to revoke tokens, until it has said yes."""

from app.bank.bank import Bank
from app.concurrency.backoff import exponential_backoff
from app.core import Core
from app.errors import BankError
from app.observability.logs import get_logger
from app.observability.metrics import REVOCATIONS
from app.store.postgresql.database import Requester
from app.store.revocations import Revocation, claim_due_revocations, delete_revocation, postpone_revocation

_TIMEOUT = 5.0
# Longer than all revocations of one round can take.
_LEASE = 60.0
_BATCH = 10
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 600.0
logger = get_logger(__name__)


class RevocationWorker:
    """Works off the revocations that are due."""

    def __init__(self, core: Core, bank: Bank) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._token_endpoint = bank.token_endpoint

    async def revoke_due(self, connection_ids: list[str] | None = None, *, requester: Requester | None = None) -> int:
        """Send what is due, of these connections if any are named, and return how many there were.

        A bank that fails is asked again later.
        """
        async with self._database.transaction(requester) as transaction:
            due = await claim_due_revocations(
                transaction, self._key_ring, lease=_LEASE, limit=_BATCH, connection_ids=connection_ids
            )
        for revocation in due:
            await self._revoke(revocation)
        return len(due)

    async def _revoke(self, revocation: Revocation) -> None:
        try:
            await self._token_endpoint.revoke(revocation.token, revocation.token_type_hint, timeout_seconds=_TIMEOUT)
        except BankError as error:
            pause = exponential_backoff(revocation.attempts, initial=_FIRST_PAUSE, maximum=_LONGEST_PAUSE)
            pause = max(pause, error.retry_after or 0.0)
            logger.warning("revocation_postponed", revocation_id=revocation.id, code=error.code, seconds=round(pause))
            REVOCATIONS.labels(outcome=error.code).inc()
            async with self._database.transaction() as transaction:
                await postpone_revocation(transaction, revocation.id, pause)
            return
        async with self._database.transaction() as transaction:
            await delete_revocation(transaction, revocation.id)
        REVOCATIONS.labels(outcome="revoked").inc()
