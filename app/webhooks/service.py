"""Manages webhooks for their callers."""

from pydantic import SecretStr

from app.base.randomness import new_id
from app.base.urls import is_https_or_loopback
from app.callers.admission import Admission
from app.concurrency.keyed_lock import KeyedSemaphore
from app.core import Core
from app.errors import Conflict, NotFound, RateLimited, UnprocessableRequest
from app.store import audit
from app.store.deliveries import Delivery, get_delivery, list_deliveries, requeue_delivery
from app.store.enums import DeliveryStatus, EventType
from app.store.postgresql.database import Transaction
from app.store.postgresql.pagination import Page
from app.store.webhooks import (
    Webhook,
    count_webhooks,
    delete_webhook,
    get_webhook,
    insert_webhook,
    list_webhooks,
    replace_secret,
)
from app.webhooks.address_guard import AddressGuard, host_of
from app.webhooks.signing import new_secret

# An event is written once for each webhook, in the transaction that causes it.
MAX_WEBHOOKS = 20
# Short, so that no webhook is created long after its caller was revoked.
_LOCK_TIMEOUT_SECONDS = 2.0
# How long events are signed with the previous secret too.
SECRET_OVERLAP_SECONDS = 86_400.0


class WebhookService:
    """Creates, reads and deletes the webhooks of a tenant."""

    def __init__(self, core: Core, *, guard: AddressGuard) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._guard = guard
        # A DNS lookup may take long: one per tenant at a time, so that no tenant keeps all resolver threads busy.
        self._tenant_locks: KeyedSemaphore[str] = KeyedSemaphore()

    async def create(self, caller: Admission, url: str, events: list[EventType]) -> tuple[Webhook, SecretStr]:
        """Create a webhook, and return its secret this once. Raises RateLimited, UnprocessableRequest or Conflict."""
        await self._require_allowed_url(caller.tenant, url)
        webhook_id, secret = new_id("whk"), new_secret()
        async with self._database.transaction(caller) as transaction:
            if await count_webhooks(transaction, caller.tenant) >= MAX_WEBHOOKS:
                raise too_many_webhooks()
            webhook = await insert_webhook(
                transaction,
                self._key_ring,
                webhook_id=webhook_id,
                tenant=caller.tenant,
                url=url,
                events=[event.value for event in EventType if event in events],
                secret=secret,
            )
            await audit.record(transaction, "webhook.created", of=webhook, actor=caller.id)
        return webhook, secret

    async def page(self, caller: Admission, *, limit: int, cursor: str | None) -> Page[Webhook]:
        """Return a tenant's webhooks, newest first."""
        async with self._database.transaction(caller) as transaction:
            return await list_webhooks(transaction, caller.tenant, limit=limit, cursor=cursor)

    async def get(self, caller: Admission, webhook_id: str) -> Webhook:
        """Return a webhook. Raises NotFound."""
        async with self._database.transaction(caller) as transaction:
            return await _existing(transaction, caller.tenant, webhook_id)

    async def delete(self, caller: Admission, webhook_id: str) -> None:
        """Delete a webhook: it gets no more events. Raises NotFound."""
        async with self._database.transaction(caller) as transaction:
            webhook = await _existing(transaction, caller.tenant, webhook_id)
            await delete_webhook(transaction, webhook_id)
            await audit.record(transaction, "webhook.deleted", of=webhook, actor=caller.id)

    async def rotate_secret(self, caller: Admission, webhook_id: str) -> tuple[Webhook, SecretStr]:
        """Replace the secret, and return the new one this once. For a day both sign events. Raises NotFound."""
        secret = new_secret()
        async with self._database.transaction(caller) as transaction:
            webhook = await _existing(transaction, caller.tenant, webhook_id)
            await replace_secret(transaction, self._key_ring, webhook_id, secret, overlap=SECRET_OVERLAP_SECONDS)
            await audit.record(transaction, "webhook.secret_rotated", of=webhook, actor=caller.id)
            return await _existing(transaction, caller.tenant, webhook_id), secret

    async def deliveries(
        self, caller: Admission, webhook_id: str, *, status: DeliveryStatus | None, limit: int, cursor: str | None
    ) -> Page[Delivery]:
        """Return a webhook's deliveries, newest first. Raises NotFound."""
        async with self._database.transaction(caller) as transaction:
            await _existing(transaction, caller.tenant, webhook_id)
            return await list_deliveries(transaction, webhook_id, status=status, limit=limit, cursor=cursor)

    async def redeliver(self, caller: Admission, webhook_id: str, delivery_id: str) -> Delivery:
        """Send a delivery again, or retry a failed one now. Raises NotFound."""
        async with self._database.transaction(caller) as transaction:
            webhook = await _existing(transaction, caller.tenant, webhook_id)
            await requeue_delivery(transaction, caller.tenant, webhook_id, delivery_id)
            await audit.record(transaction, "webhook.redelivered", of=webhook, actor=caller.id, delivery_id=delivery_id)
            delivery = await get_delivery(transaction, webhook_id, delivery_id)
            if delivery is None:
                raise delivery_not_found()
        return delivery

    async def _require_allowed_url(self, tenant: str, url: str) -> None:
        if not is_https_or_loopback(url):
            raise UnprocessableRequest(
                "the url must begin with https:// and contain no spaces and no user name; http:// is for loopback only",
                code="webhook_url_not_allowed",
            )
        try:
            await self._tenant_locks.acquire(tenant, timeout_seconds=_LOCK_TIMEOUT_SECONDS)
        except TimeoutError as error:
            raise RateLimited(
                "other webhooks of this tenant are being created; try again in a few seconds", retry_after=2
            ) from error
        try:
            is_allowed = await self._guard.allows_host(host_of(url))
        finally:
            self._tenant_locks.release(tenant)
        if not is_allowed:
            raise webhook_host_not_allowed()


async def _existing(transaction: Transaction, tenant: str, webhook_id: str) -> Webhook:
    webhook = await get_webhook(transaction, tenant, webhook_id)
    if webhook is None:
        raise webhook_not_found()
    return webhook


def webhook_not_found() -> NotFound:
    """Return the error for the id of a webhook that the tenant does not have."""
    return NotFound("there is no such webhook", code="webhook_not_found")


def delivery_not_found() -> NotFound:
    """Return the error for the id of a delivery that the webhook does not have."""
    return NotFound("there is no such delivery, or no longer", code="delivery_not_found")


def too_many_webhooks() -> Conflict:
    """Return the error for a tenant that has all the webhooks it may have."""
    return Conflict(f"a tenant may have {MAX_WEBHOOKS} webhooks; delete one", code="too_many_webhooks")


def webhook_host_not_allowed() -> UnprocessableRequest:
    """Return the error for a URL that events must not be sent to."""
    return UnprocessableRequest(
        "the url's host is not a valid name, or its address is not public; ask the operator to allow its network with "
        "BROKER_WEBHOOK_PRIVATE_NETWORKS",
        code="webhook_url_not_allowed",
    )
