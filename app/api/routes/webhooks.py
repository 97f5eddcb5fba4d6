"""`/v1/webhooks`: webhooks and their deliveries."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.dependencies import AuthenticatedRoute, Broker, Cursor, Limit, requires
from app.api.error_examples import problems
from app.api.schemas.common import PageView
from app.api.schemas.webhooks import DeliveryView, NewWebhookView, WebhookRequest, WebhookView
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.store.enums import DeliveryStatus
from app.store.postgresql.pagination import invalid_cursor
from app.webhooks.service import (
    delivery_not_found,
    too_many_webhooks,
    webhook_host_not_allowed,
    webhook_not_found,
)

router = APIRouter(prefix="/v1/webhooks", route_class=AuthenticatedRoute, tags=["Be told of events"])
Reader = Annotated[Admission, Depends(requires(Permission.WEBHOOKS_READ))]
Writer = Annotated[Admission, Depends(requires(Permission.WEBHOOKS_WRITE))]


@router.post(
    "", status_code=201, summary="Create a webhook", responses=problems(too_many_webhooks(), webhook_host_not_allowed())
)
async def create_webhook(caller: Writer, runtime: Broker, body: WebhookRequest, response: Response) -> NewWebhookView:
    """Send your tenant's events to an address, signed as Standard Webhooks defines.

    Verify the signature with the secret, which is shown only this once, and answer with any 2xx. An event may arrive
    more than once, with the same `webhook-id`. The events of one connection arrive in order.
    """
    webhook, secret = await runtime.webhooks.service.create(caller, body.url, body.events or [])
    response.headers["location"] = f"{runtime.settings.path_prefix}/v1/webhooks/{webhook.id}"
    response.headers["cache-control"] = "no-store"
    return NewWebhookView(**WebhookView.of(webhook).model_dump(), secret=secret.get_secret_value())


@router.get("", summary="List webhooks", responses=problems(invalid_cursor()))
async def list_webhooks(
    caller: Reader, runtime: Broker, limit: Limit = 50, cursor: Cursor = None
) -> PageView[WebhookView]:
    """List your tenant's webhooks, newest first."""
    page = await runtime.webhooks.service.page(caller, limit=limit, cursor=cursor)
    return PageView(items=[WebhookView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{webhook_id}", summary="Show a webhook", responses=problems(webhook_not_found()))
async def get_webhook(caller: Reader, runtime: Broker, webhook_id: str) -> WebhookView:
    """Show a webhook without its secret."""
    return WebhookView.of(await runtime.webhooks.service.get(caller, webhook_id))


@router.delete("/{webhook_id}", status_code=204, summary="Delete a webhook", responses=problems(webhook_not_found()))
async def delete_webhook(caller: Writer, runtime: Broker, webhook_id: str) -> None:
    """Stop sending events there, including those that are waiting."""
    await runtime.webhooks.service.delete(caller, webhook_id)


@router.post("/{webhook_id}/secret", summary="Rotate the secret", responses=problems(webhook_not_found()))
async def rotate_secret(caller: Writer, runtime: Broker, webhook_id: str, response: Response) -> NewWebhookView:
    """Create a new secret, shown only this once. For a day each delivery also has a signature by the old one."""
    webhook, secret = await runtime.webhooks.service.rotate_secret(caller, webhook_id)
    response.headers["cache-control"] = "no-store"
    return NewWebhookView(**WebhookView.of(webhook).model_dump(), secret=secret.get_secret_value())


@router.get(
    "/{webhook_id}/deliveries", summary="List deliveries", responses=problems(webhook_not_found(), invalid_cursor())
)
async def list_deliveries(
    *,
    caller: Reader,
    runtime: Broker,
    webhook_id: str,
    status: DeliveryStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageView[DeliveryView]:
    """List deliveries, newest first. They are removed seven days after they ended."""
    page = await runtime.webhooks.service.deliveries(caller, webhook_id, status=status, limit=limit, cursor=cursor)
    return PageView(items=[DeliveryView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Deliver again",
    responses=problems(webhook_not_found(), delivery_not_found()),
)
async def redeliver(caller: Writer, runtime: Broker, webhook_id: str, delivery_id: str) -> DeliveryView:
    """Send an event again, or now instead of later. It is retried for another day."""
    return DeliveryView.of(await runtime.webhooks.service.redeliver(caller, webhook_id, delivery_id))
