"""Revokes tokens at the bank, with retries until the bank confirms it."""

from app.bank.bank import Bank
from app.concurrency.backoff import exponential_backoff
from app.core import Core
from app.errors import BankError
from app.observability.logs import get_logger
from app.observability.metrics import REVOCATIONS
from app.oidc.oauth_errors import REVOCATION_IMPOSSIBLE
from app.store.postgresql.database import Requester
from app.store.revocations import Revocation, claim_due_revocations, delete_revocation, postpone_revocation

_TIMEOUT = 5.0  # seconds
_BATCH_SIZE = 10
# Longer than all revocations of one batch can take.
_LEASE = 60.0  # seconds
_INITIAL_PAUSE, _MAX_PAUSE = 1.0, 600.0  # seconds
logger = get_logger(__name__)


class RevocationWorker:
    """Sends the queued revocations that are due."""

    def __init__(self, core: Core, bank: Bank) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._client = bank.own_client.identity
        self._token_endpoint = bank.token_endpoint
        self._lacks_endpoint = False

    async def revoke_due(self, connection_ids: list[str] | None = None, *, requester: Requester | None = None) -> int:
        """Send one batch of this client's due revocations, and return its size.

        `connection_ids` limits it to these connections. A revocation that fails becomes due again later, unless it can
        never succeed. While the bank has no revocation endpoint, all of them wait.
        """
        async with self._database.transaction(requester) as transaction:
            due = await claim_due_revocations(
                transaction,
                self._key_ring,
                client=self._client,
                lease=_LEASE,
                limit=_BATCH_SIZE,
                connection_ids=connection_ids,
            )
        if due and await self._must_wait():
            async with self._database.transaction() as transaction:
                for revocation in due:
                    await postpone_revocation(transaction, revocation.id, _MAX_PAUSE)
            return len(due)
        for revocation in due:
            await self._revoke(revocation)
        return len(due)

    async def _must_wait(self) -> bool:
        """Return whether the bank has no revocation endpoint, and log it the first time."""
        try:
            lacks_endpoint = not await self._token_endpoint.can_revoke()
        except BankError:
            return False  # an outage, after which the attempt is repeated
        if lacks_endpoint and not self._lacks_endpoint:
            logger.warning("revocation_endpoint_missing", about="BROKER_STITCH_REVOCATION_ENDPOINT")
        self._lacks_endpoint = lacks_endpoint
        return lacks_endpoint

    async def _revoke(self, revocation: Revocation) -> None:
        try:
            await self._token_endpoint.revoke(revocation.token, revocation.token_type_hint, timeout_seconds=_TIMEOUT)
        except BankError as error:
            if error.code == REVOCATION_IMPOSSIBLE:
                await self._abandon(revocation, error)
                return
            pause = exponential_backoff(revocation.attempts, initial=_INITIAL_PAUSE, maximum=_MAX_PAUSE)
            pause = max(pause, error.retry_after or 0.0)
            logger.warning("revocation_postponed", revocation_id=revocation.id, code=error.code, seconds=round(pause))
            REVOCATIONS.labels(outcome=error.code).inc()
            async with self._database.transaction() as transaction:
                await postpone_revocation(transaction, revocation.id, pause)
            return
        async with self._database.transaction() as transaction:
            await delete_revocation(transaction, revocation.id)
        REVOCATIONS.labels(outcome="revoked").inc()

    async def _abandon(self, revocation: Revocation, error: BankError) -> None:
        logger.error("revocation_abandoned", revocation_id=revocation.id, reason=error.detail)
        REVOCATIONS.labels(outcome=error.code).inc()
        async with self._database.transaction() as transaction:
            await delete_revocation(transaction, revocation.id)
