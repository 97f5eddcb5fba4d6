"""Request and response bodies of `/v1/webhooks`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from app.api.schemas.common import EXAMPLE_TIME, Strict, storable_text
from app.store.deliveries import Delivery
from app.store.enums import DeliveryStatus, EventType
from app.store.webhooks import Webhook


class WebhookRequest(Strict):
    """Where to send events."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2_000), AfterValidator(storable_text)] = Field(
        description="HTTPS, at a public address.", examples=["https://payments.example.com/broker-events"]
    )
    events: list[EventType] | None = Field(
        default_factory=list,
        max_length=50,
        description="Only these; without any, all, also those that later versions add.",
        examples=[["session.completed", "connection.reauthorization_required"]],
    )


class WebhookView(BaseModel):
    """Where events are sent."""

    id: str = Field(examples=["whk_2d4f6a8b0c1e3957b8d0f2a4"])
    url: str = Field(examples=["https://payments.example.com/broker-events"])
    events: list[str] = Field(examples=[["session.completed", "connection.reauthorization_required"]])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    previous_secret_until: datetime | None = Field(
        description="After a rotation: how long the old secret signs along.", examples=[None]
    )

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookView":
        """Show a webhook."""
        return cls.model_validate(webhook, from_attributes=True)


class NewWebhookView(WebhookView):
    """A webhook, and its secret: shown this once."""

    secret: str = Field(description="Verifies the signatures.", examples=["whsec_…"])


class DeliveryView(BaseModel):
    """One event on its way to one webhook."""

    id: str = Field(description="The event's; the header `webhook-id`.", examples=["evt_9c3e5a7b1d2f40618e0a2c4f"])
    type: str = Field(examples=["connection.refreshed"])
    data: dict[str, Any] = Field(
        examples=[{"connection_id": "con_0f5b1d7c9e3a4826b0d4f6a8", "version": 4, "reason": None}]
    )
    status: DeliveryStatus
    attempts: int = Field(examples=[3])
    last_status: int | None = Field(description="The receiver's HTTP status, if it answered.", examples=[503])
    last_error: str | None = Field(
        description="`refused`, `redirected`, `timed_out`, `unreachable`, `not_trusted`, `address_refused`, "
        "`broken_off` or `secret_unreadable`.",
        examples=["refused"],
    )
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryView":
        """Show a delivery."""
        return cls.model_validate(delivery, from_attributes=True)
