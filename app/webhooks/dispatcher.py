"""Delivers events to webhooks: at least once, in order for each connection, and with retries for a day."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
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
from app.webhooks.sending import Attempt, AttemptOutcome, post
from app.webhooks.signing import signed_headers

# How many deliveries this replica makes at a time: in total, for one tenant, and to one webhook. A slow receiver must
# delay neither other tenants nor the other webhooks of its tenant.
_MAX_DELIVERIES, _MAX_OF_TENANT, _MAX_OF_WEBHOOK = 40, 10, 5
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DispatchTimes:
    """Pauses in seconds. The one after a failed attempt doubles from `initial_backoff` to `max_backoff`."""

    polling: float = 2.0
    after_error: float = 5.0
    initial_backoff: float = 5.0
    max_backoff: float = 3_600.0


class Dispatcher:
    """Runs on every replica. A queue that one replica works on is skipped by the others."""

    def __init__(
        self, core: Core, *, client: httpx.AsyncClient, timeout: float, times: DispatchTimes = DispatchTimes()
    ) -> None:
        """`timeout`: how many seconds a receiver may take."""
        self._database = core.database
        self._key_ring = core.key_ring
        self._notifications = core.notifications
        self._shutdown = core.shutdown
        self._tasks = core.tasks
        self._clock = core.clock
        self._client = client
        self._timeout = timeout
        self._times = times
        # After a crash of this replica, its queues wait this long for another replica.
        self._lease = 2 * timeout
        self._running: dict[asyncio.Task[None], ClaimedDelivery] = {}
        self._last_tenant = ""

    async def run(self) -> None:
        """Deliver until the broker shuts down."""
        logged_code: str | None = None
        async with self._notifications.subscribed(OUTBOX_TOPIC) as changed:
            while not self._shutdown.is_set:
                changed.clear()
                pause = self._times.polling
                try:
                    has_started = await self._start_next(changed)
                    logged_code = None
                    if has_started:
                        continue
                except BrokerError as error:
                    if error.code != logged_code:
                        logger.warning("dispatch_paused", code=error.code, reason=error.reason)
                    logged_code = error.code
                    pause = self._times.after_error
                except Exception:
                    logger.exception("dispatch_failed")
                    pause = self._times.after_error
                await wait_for_event(changed, with_jitter(pause))

    async def _start_next(self, changed: asyncio.Event) -> bool:
        """Start a delivery that is due. Return False if there is none, or too many are running."""
        if len(self._running) >= _MAX_DELIVERIES:
            return False
        claimed_at = self._clock.monotonic()
        delivery = await self._claim_next()
        if delivery is None:
            return False
        task = self._tasks.spawn(self._deliver(delivery, claimed_at), f"delivery {delivery.id}")
        self._running[task] = delivery

        def on_done(task: asyncio.Task[None]) -> None:
            del self._running[task]
            changed.set()

        task.add_done_callback(on_done)
        return True

    async def _claim_next(self) -> ClaimedDelivery | None:
        """Claim a delivery, tenant by tenant, so that none waits for another tenant's deliveries, however many."""
        running = self._running.values()
        busy_tenants = _busy((delivery.tenant for delivery in running), _MAX_OF_TENANT)
        busy_webhooks = _busy((delivery.webhook_id for delivery in running), _MAX_OF_WEBHOOK)
        async with self._database.transaction() as transaction:
            tenants = sorted(set(await tenants_with_due_queues(transaction)).difference(busy_tenants))
            # First the tenants after the last one.
            for tenant in sorted(tenants, key=lambda tenant: tenant <= self._last_tenant):
                # Set before the claim: a tenant whose queues cannot be read must not be next again.
                self._last_tenant = tenant
                delivery = await claim_delivery(
                    transaction, self._key_ring, lease=self._lease, tenant=tenant, excluded_webhooks=busy_webhooks
                )
                if delivery is not None:
                    return delivery
        return None

    async def _deliver(self, delivery: ClaimedDelivery, claimed_at: float) -> None:
        # After a delay so long that the lease could end during the request, another replica makes the delivery.
        if self._clock.monotonic() - claimed_at > self._lease - self._timeout:
            return
        attempt = await self._attempt(delivery)
        given_up = await retry_until_done(lambda: self._record(delivery, attempt), about=delivery.id)
        DELIVERIES.labels(outcome=attempt.outcome).inc()
        DELIVERIES_GIVEN_UP.inc(given_up)
        if attempt.outcome is not AttemptOutcome.DELIVERED:
            logger.warning(
                "delivery_failed",
                webhook_id=delivery.webhook_id,
                delivery_id=delivery.id,
                reason=attempt.outcome,
                status=attempt.status,
                given_up=given_up,
            )

    async def _attempt(self, delivery: ClaimedDelivery) -> Attempt:
        if not delivery.secrets:
            return Attempt(AttemptOutcome.SECRET_UNREADABLE)
        occurred_at = delivery.occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        body = json.dumps({"type": delivery.type, "timestamp": occurred_at, "data": delivery.data}).encode()
        headers = signed_headers(delivery.secrets, delivery.id, int(self._clock.now().timestamp()), body)
        return await post(self._client, delivery.url, body, headers, timeout_seconds=self._timeout)

    async def _record(self, delivery: ClaimedDelivery, attempt: Attempt) -> int:
        """Record the attempt, and return how many deliveries were given up."""
        async with self._database.transaction() as transaction:
            if attempt.outcome is AttemptOutcome.DELIVERED:
                await record_delivery(transaction, delivery, status=attempt.status)
                return 0
            pause = exponential_backoff(
                delivery.failures, initial=self._times.initial_backoff, maximum=self._times.max_backoff
            )
            return await record_failure(
                transaction,
                delivery,
                status=attempt.status,
                error=attempt.outcome,
                retry_in=max(pause, attempt.retry_after),
            )


def _busy(names: Iterable[str], limit: int) -> list[str]:
    """Return the names that occur at least `limit` times."""
    return [name for name, count in Counter(names).items() if count >= limit]
