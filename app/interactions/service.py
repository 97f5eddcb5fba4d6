"""Interactions, as callers see them: a link to what the bank wants of its user, and what became of it."""

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

_ASK_AGAIN = 1.0
RETURN_PATH = "/connect/interactions"


@dataclass(frozen=True, slots=True)
class InteractionRequired:
    """What the bank's error says, and where the browser goes afterwards."""

    interaction_url: str
    interaction_id: str
    return_url: str | None = None


class InteractionService:
    """Starts and follows interactions."""

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

    async def start(self, caller: Admission, connection_id: str, wanted: InteractionRequired) -> Interaction:
        """Make a link to the bank's page. Raises UnprocessableRequest, ConnectionNotFound or Conflict."""
        new, ticket = new_id("int"), random_urlsafe_text()
        async with self._database.transaction(caller) as transaction:
            connection = await get_connection(transaction, caller.tenant, connection_id)
            if connection is None:
                raise ConnectionNotFound
            require_active(connection)
            url = interaction_address(
                wanted.interaction_url, issuer=self._issuer, redirect_uri=f"{self._base_url}{RETURN_PATH}"
            )
            if wanted.return_url is not None:
                self._return_urls.require(wanted.return_url)
            new_interaction = NewInteraction(
                id=new,
                tenant=caller.tenant,
                user_id=connection.user_id,
                connection_id=connection_id,
                interaction_id=wanted.interaction_id,
                bank_url=self._key_ring.encrypt(SecretStr(url), interaction_associated_data("bank_url", new)),
                ticket=self._key_ring.encrypt(SecretStr(ticket), interaction_associated_data("ticket", new)),
                ticket_digest=sha256_hex(ticket),
                return_url=wanted.return_url,
            )
            await insert_interaction(transaction, new_interaction, seconds_to_live=self._time_to_live)
            await audit.record(transaction, "interaction.started", of=new_interaction, actor=caller.id)
            started = await get_interaction(transaction, new)
        assert started is not None
        return started

    def link(self, interaction: Interaction) -> str | None:
        """Return the address that a pending interaction begins at. Raises DecryptionError."""
        if interaction.ended_at is not None or interaction.ticket is None:
            return None
        ticket = self._key_ring.decrypt(interaction.ticket, interaction_associated_data("ticket", interaction.id))
        return f"{self._base_url}{RETURN_PATH}/{ticket.get_secret_value()}"

    async def get(
        self,
        caller: Admission,
        connection_id: str,
        interaction: str,
        *,
        wait: float = 0,
        should_continue: ShouldContinue | None = None,
    ) -> Interaction:
        """Return an interaction; with `wait`, as soon as it has ended or after so many seconds. Raises NotFound."""
        deadline = self._clock.monotonic() + wait
        async with self._notifications.subscribed(interaction_topic(interaction)) as changed:
            while True:
                changed.clear()
                async with self._database.transaction(caller) as transaction:
                    found = await get_interaction(
                        transaction, interaction, tenant=caller.tenant, connection_id=connection_id
                    )
                if found is None:
                    raise NotFound("there is no such interaction", code="interaction_not_found")
                if found.ended_at is None and found.returned_at is not None and await self._outcomes.ask(found, caller):
                    continue
                left = deadline - self._clock.monotonic()
                if found.ended_at is not None or left <= 0 or self._shutdown.is_set:
                    return found
                # The bank tells nobody when it has decided.
                pause = left if found.returned_at is None else min(left, _ASK_AGAIN)
                if not await wait_for_change(self._notifications, changed, pause, should_continue):
                    return found
