"""Delivering events: at least once, in the order of each connection, again and again for a day."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC

import httpx

from app.concurrency.backoff import exponential_backoff, with_jitter
from app.concurrency.retry import retry_until_done
from app.core import Core
from app.errors import BrokerError
from app.observability.logs import get_logger
from app.observability.metrics import DELIVERIES, DELIVERIES_GIVEN_UP
from app.store.delivery_queue import (
    ClaimedDelivery,
    claim_delivery,
    record_delivery,
    record_failure,
    tenants_with_due_queues,
)
from app.store.postgresql.notifications import OUTBOX_TOPIC, wait_for_event
from app.webhooks.sending import Attempt, Result, post
from app.webhooks.signing import signed_headers

# How many are under way from this replica, in all, of one tenant and to one webhook: a slow receiver must hold up
# neither another tenant's nor its own tenant's others.
_MOST, _MOST_OF_TENANT, _MOST_OF_WEBHOOK = 40, 10, 5
_POLL = 2.0
_PAUSE_AFTER_FAULT = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 3_600.0
logger = get_logger(__name__)


class Dispatcher:
    """Runs on every replica; a queue that one works on is left alone by the others."""

    def __init__(self, core: Core, *, client: httpx.AsyncClient, timeout: float) -> None:
        """`timeout`: the seconds that a receiver may take."""
        self._database = core.database
        self._key_ring = core.key_ring
        self._notifications = core.notifications
        self._shutdown = core.shutdown
        self._tasks = core.tasks
        self._clock = core.clock
        self._client = client
        self._timeout = timeout
        # A replica that was lost keeps a queue waiting for so long.
        self._lease = 2 * timeout
        self._under_way: dict[asyncio.Task[None], ClaimedDelivery] = {}
        # Whose turn it was last.
        self._served = ""

    async def run(self) -> None:
        """Deliver until the broker is told to stop."""
        outage: str | None = None
        async with self._notifications.subscribed(OUTBOX_TOPIC) as changed:
            while not self._shutdown.is_set:
                changed.clear()
                pause = _POLL
                try:
                    has_begun = await self._begin_next(changed)
                    outage = None
                    if has_begun:
                        continue
                except BrokerError as error:
                    if error.code != outage:
                        logger.warning("dispatch_paused", code=error.code, reason=error.reason)
                    outage = error.code
                    pause = _PAUSE_AFTER_FAULT
                except Exception:
                    logger.exception("dispatch_failed")
                    pause = _PAUSE_AFTER_FAULT
                await wait_for_event(changed, with_jitter(pause))

    async def _begin_next(self, changed: asyncio.Event) -> bool:
        """Begin a delivery that is due, and tell whether there was one."""
        if len(self._under_way) >= _MOST:
            return False
        claimed_at = self._clock.monotonic()
        due = await self._claim_next()
        if due is None:
            return False
        task = self._tasks.spawn(self._deliver(due, claimed_at), f"delivery {due.id}")
        self._under_way[task] = due

        def ended(task: asyncio.Task[None]) -> None:
            del self._under_way[task]
            changed.set()

        task.add_done_callback(ended)
        return True

    async def _claim_next(self) -> ClaimedDelivery | None:
        """Claim a delivery of the tenant whose turn it is: none waits for another's, however many that one has."""
        busy_tenants = _busy((one.tenant for one in self._under_way.values()), _MOST_OF_TENANT)
        busy_webhooks = _busy((one.webhook_id for one in self._under_way.values()), _MOST_OF_WEBHOOK)
        async with self._database.transaction() as transaction:
            tenants = sorted(set(await tenants_with_due_queues(transaction)).difference(busy_tenants))
            for tenant in sorted(tenants, key=lambda tenant: tenant <= self._served):
                # Before: a tenant whose queues cannot be read must not have the next turn too.
                self._served = tenant
                due = await claim_delivery(
                    transaction, self._key_ring, lease=self._lease, tenant=tenant, excluded_webhooks=busy_webhooks
                )
                if due is not None:
                    return due
        return None

    async def _deliver(self, due: ClaimedDelivery, claimed_at: float) -> None:
        # Held up so long that the lease could end during the request, this replica leaves it to another.
        if self._clock.monotonic() - claimed_at > self._lease - self._timeout:
            return
        attempt = await self._attempt(due)
        given_up = await retry_until_done(lambda: self._record(due, attempt), about=due.id)
        DELIVERIES.labels(outcome=attempt.result).inc()
        DELIVERIES_GIVEN_UP.inc(given_up)
        if attempt.result is not Result.DELIVERED:
            logger.warning(
                "delivery_failed",
                webhook_id=due.webhook_id,
                delivery_id=due.id,
                reason=attempt.result,
                status=attempt.status,
                given_up=given_up,
            )

    async def _attempt(self, due: ClaimedDelivery) -> Attempt:
        if not due.secrets:
            return Attempt(Result.SECRET_UNREADABLE)
        occurred_at = due.occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        body = json.dumps({"type": due.type, "timestamp": occurred_at, "data": due.data}).encode()
        headers = signed_headers(due.secrets, due.id, int(self._clock.now().timestamp()), body)
        return await post(self._client, due.url, body, headers, deadline=self._timeout)

    async def _record(self, due: ClaimedDelivery, attempt: Attempt) -> int:
        async with self._database.transaction() as transaction:
            if attempt.result is Result.DELIVERED:
                await record_delivery(transaction, due, status=attempt.status)
                return 0
            pause = exponential_backoff(due.failures, initial=_FIRST_PAUSE, maximum=_LONGEST_PAUSE)
            return await record_failure(
                transaction,
                due,
                status=attempt.status,
                error=attempt.result,
                retry_in=max(pause, attempt.retry_after),
            )


def _busy(under_way: Iterable[str], most: int) -> list[str]:
    return [name for name, count in Counter(under_way).items() if count >= most]
