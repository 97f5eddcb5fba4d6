"""Request and response bodies of `/v1/connections/{id}/interactions`."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from app.api.schemas.common import EXAMPLE_TIME, Name, Strict, storable_text
from app.interactions.service import RequiredInteraction
from app.store.enums import InteractionStatus
from app.store.interactions import Interaction

Address = Annotated[str, StringConstraints(min_length=1, max_length=2_000), AfterValidator(storable_text)]


class InteractionRequest(Strict):
    """What the bank's error USER_INTERACTION_REQUIRED says in its `extensions`."""

    interaction_url: Address = Field(
        description="`userInteractionUrl`: a page of the bank's, as it came.",
        examples=["https://secure.stitch.money/connect/payment-initiation?id=reauthorization%2F7f3c"],
    )
    interaction_id: Name = Field(description="`id`.", examples=["reauthorization/7f3c"])
    return_url: Address | None = Field(
        default=None,
        description="Where the browser goes afterwards, with `interaction` and `status`; must be on the allow-list.",
        examples=[None],
    )

    def demand(self) -> RequiredInteraction:
        """Return it as the service takes it."""
        return RequiredInteraction(**self.model_dump())


class InteractionError(BaseModel):
    """Why an interaction failed."""

    code: str = Field(examples=["interaction_expired"])
    detail: str


class InteractionView(BaseModel):
    """A user's visit at the bank."""

    id: str = Field(examples=["int_4e6f8a0b2c1d3957c8e0f2a6"])
    status: InteractionStatus
    connection_id: str = Field(examples=["con_0f5b1d7c9e3a4826b0d4f6a8"])
    interaction_id: str = Field(description="The bank's id.", examples=["reauthorization/7f3c"])
    connect_url: str | None = Field(
        description="Send the user there; null once it has ended.",
        examples=["https://broker.example.com/connect/interactions/Zk3…"],
    )
    return_url: str | None
    error: InteractionError | None
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    expires_at: datetime = Field(examples=["2026-03-01T09:45:00Z"])
    ended_at: datetime | None

    @classmethod
    def of(cls, interaction: Interaction, connect_url: str | None) -> "InteractionView":
        """Show an interaction."""
        return cls(
            id=interaction.id,
            status=interaction.status,
            connection_id=interaction.connection_id,
            interaction_id=interaction.interaction_id,
            connect_url=connect_url,
            return_url=interaction.return_url,
            error=_error(interaction),
            created_at=interaction.created_at,
            expires_at=interaction.expires_at,
            ended_at=interaction.ended_at,
        )


def _error(interaction: Interaction) -> InteractionError | None:
    if interaction.has_expired:
        return InteractionError(
            code="interaction_expired", detail="the user did not come back in time; the bank may know more"
        )
    if interaction.status is InteractionStatus.FAILED:
        return InteractionError(code="interaction_failed", detail="the user declined, or the bank refused")
    return None
