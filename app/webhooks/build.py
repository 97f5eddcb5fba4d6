"""Builds the webhook services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.core import Core
from app.settings import Settings
from app.webhooks.address_guard import AddressGuard
from app.webhooks.dispatcher import Dispatcher, DispatchTimes
from app.webhooks.sending import webhook_client
from app.webhooks.service import WebhookService


@dataclass(frozen=True, slots=True)
class WebhookServices:
    """Managing webhooks, and delivering events to them."""

    service: WebhookService
    dispatcher: Dispatcher


@asynccontextmanager
async def build(
    core: Core, settings: Settings, *, dispatch_times: DispatchTimes = DispatchTimes()
) -> AsyncIterator[WebhookServices]:
    """Build the services, and close their HTTP client afterwards."""
    guard = AddressGuard(settings.webhook_private_networks)
    async with webhook_client(guard) as client:
        yield WebhookServices(
            WebhookService(core, guard=guard),
            Dispatcher(core, client=client, timeout=settings.webhook_timeout, times=dispatch_times),
        )
