"""Starts interactions for callers, which get a link for the user, and later the outcome."""

from dataclasses import dataclass

from pydantic import SecretStr

from app.base.hashing import sha256_hex
from app.base.randomness import new_id, random_urlsafe_text
from app.callers.admission import Admission
from app.core import Core
from app.errors import ConnectionNotFound, NotFound
from app.interactions.bank import interaction_address
from app.interactions.outcome import InteractionOutcomes
from app.login.return_urls import ReturnUrls
from app.refresh.connection_cache import require_active
from app.settings import Settings
from app.store import audit
from app.store.connections import get_connection
from app.store.interactions import (
    Interaction,
    NewInteraction,
    get_interaction,
    insert_interaction,
    interaction_associated_data,
)
from app.store.postgresql.notifications import interaction_topic
from app.store.postgresql.wait_for_change import ShouldContinue, wait_for_change

_POLLING_INTERVAL = 1.0  # seconds
RETURN_PATH = "/connect/interactions"


@dataclass(frozen=True, slots=True)
class RequiredInteraction:
    """The interaction that an error of the bank requires, and the address to which the browser goes afterwards."""

    interaction_url: str
    interaction_id: str
    return_url: str | None = None


class InteractionService:
    """Starts and reads interactions."""

    def __init__(
        self, core: Core, *, outcomes: InteractionOutcomes, return_urls: ReturnUrls, settings: Settings
    ) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._notifications = core.notifications
        self._shutdown = core.shutdown
        self._clock = core.clock
        self._outcomes = outcomes
        self._return_urls = return_urls
        self._issuer = settings.stitch_issuer
        self._base_url = settings.base_url
        self._time_to_live = settings.session_ttl

    async def start(self, caller: Admission, connection_id: str, required: RequiredInteraction) -> Interaction:
        """Create a link to the bank's page. Raises UnprocessableRequest, ConnectionNotFound or Conflict."""
        broker_id, ticket = new_id("int"), random_urlsafe_text()
        async with self._database.transaction(caller) as transaction:
            connection = await get_connection(transaction, caller.tenant, connection_id)
            if connection is None:
                raise ConnectionNotFound
            require_active(connection)
            url = interaction_address(
                required.interaction_url, issuer=self._issuer, redirect_uri=f"{self._base_url}{RETURN_PATH}"
            )
            if required.return_url is not None:
                self._return_urls.require(required.return_url)
            new_interaction = NewInteraction(
                id=broker_id,
                tenant=caller.tenant,
                user_id=connection.user_id,
                connection_id=connection_id,
                interaction_id=required.interaction_id,
                bank_url=self._key_ring.encrypt(SecretStr(url), interaction_associated_data("bank_url", broker_id)),
                ticket=self._key_ring.encrypt(SecretStr(ticket), interaction_associated_data("ticket", broker_id)),
                ticket_digest=sha256_hex(ticket),
                return_url=required.return_url,
            )
            await insert_interaction(transaction, new_interaction, seconds_to_live=self._time_to_live)
            await audit.record(transaction, "interaction.started", of=new_interaction, actor=caller.id)
            started = await get_interaction(transaction, broker_id)
        assert started is not None
        return started

    def link(self, interaction: Interaction) -> str | None:
        """Return the address at which a user starts a pending interaction. Raises DecryptionError."""
        if interaction.ended_at is not None or interaction.ticket is None:
            return None
        ticket = self._key_ring.decrypt(interaction.ticket, interaction_associated_data("ticket", interaction.id))
        return f"{self._base_url}{RETURN_PATH}/{ticket.get_secret_value()}"

    async def get(
        self,
        caller: Admission,
        connection_id: str,
        interaction_id: str,
        *,
        wait: float = 0,
        should_continue: ShouldContinue | None = None,
    ) -> Interaction:
        """Return an interaction; with `wait`, once it has ended, or after `wait` seconds. Raises NotFound."""
        deadline = self._clock.monotonic() + wait
        async with self._notifications.subscribed(interaction_topic(interaction_id)) as changed:
            while True:
                changed.clear()
                async with self._database.transaction(caller) as transaction:
                    interaction = await get_interaction(
                        transaction, interaction_id, tenant=caller.tenant, connection_id=connection_id
                    )
                if interaction is None:
                    raise interaction_not_found()
                has_ended, has_returned = interaction.ended_at is not None, interaction.returned_at is not None
                if not has_ended and has_returned and await self._outcomes.check(interaction, caller):
                    continue
                seconds_left = deadline - self._clock.monotonic()
                if has_ended or seconds_left <= 0 or self._shutdown.is_set:
                    return interaction
                # The bank does not notify the broker of the user's decision.
                pause = min(seconds_left, _POLLING_INTERVAL) if has_returned else seconds_left
                if not await wait_for_change(self._notifications, changed, pause, should_continue):
                    return interaction


def interaction_not_found() -> NotFound:
    """Return the error for the id of an interaction that the connection does not have."""
    return NotFound("there is no such interaction", code="interaction_not_found")
