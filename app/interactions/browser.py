"""Sends a browser to the bank's page for an interaction, and handles its return."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.base.hashing import sha256_hex
from app.base.randomness import random_urlsafe_text
from app.core import Core
from app.errors import InvalidRequest
from app.interactions.outcome import InteractionOutcomes
from app.login.browser_binding import is_bound_to, link_unknown, link_unusable, opened_in_another_browser
from app.store.interactions import (
    Interaction,
    bind_interaction_to_browser,
    interaction_associated_data,
    interactions_of_browser,
    lock_interaction_by_ticket,
    mark_interaction_returned,
)

# One browser may have several interactions open, each with a cookie of its own.
COOKIE_PREFIX = "interaction-"


@dataclass(frozen=True, slots=True)
class OpenedInteraction:
    """Where the browser goes next, and the secret by which it is recognised when it returns."""

    bank_url: SecretStr
    name: str
    browser: str = field(repr=False)


class InteractionBrowserFlow:
    """Sends browsers to the bank, and handles their return."""

    def __init__(self, core: Core, *, outcomes: InteractionOutcomes) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._outcomes = outcomes

    async def open(
        self, ticket: str, secret_of: Callable[[str], str | None], *, may_bind: bool = True
    ) -> OpenedInteraction | None:
        """Bind the link to this browser. `secret_of` returns the browser's secret for a cookie name, if it has one.

        The first browser that opens the link keeps it. Without `may_bind`, returns None for a link that no browser has
        opened yet.

        Raises NotFound for an unknown ticket, InvalidRequest for one that was used, has expired or belongs to another
        browser.
        """
        async with self._database.transaction() as transaction:
            interaction = await lock_interaction_by_ticket(transaction, sha256_hex(ticket))
            if interaction is None:
                raise link_unknown()
            if interaction.ended_at is not None or interaction.bank_url is None:
                raise link_unusable("has been used or has expired")
            name = f"{COOKIE_PREFIX}{interaction.ticket_digest[:16]}"
            browser = secret_of(name)
            if interaction.browser_digest is None:
                if not may_bind:
                    return None
                browser = random_urlsafe_text()
                await bind_interaction_to_browser(transaction, interaction.id, sha256_hex(browser))
            elif browser is None or not is_bound_to(interaction.browser_digest, browser):
                raise opened_in_another_browser()
        url = self._key_ring.decrypt(interaction.bank_url, interaction_associated_data("bank_url", interaction.id))
        return OpenedInteraction(url, name, browser)

    async def handle_return(self, secrets: list[str]) -> Interaction | None:
        """Handle a browser that returns from the bank, and return the interaction that it was about.

        `secrets` are those of the browser's cookies. The redirect says nothing, so the bank is asked about each pending
        interaction. Returns None if the browser may return from interactions of several connections. Raises
        InvalidRequest if it has none.
        """
        digests = [sha256_hex(secret) for secret in secrets]
        async with self._database.transaction() as transaction:
            interactions = await interactions_of_browser(transaction, digests)
            pending = [interaction for interaction in interactions if interaction.ended_at is None]
            for interaction in pending:
                await mark_interaction_returned(transaction, interaction.id)
        if not interactions:
            raise InvalidRequest(
                "nothing was started in this browser; start again from the app that you came from",
                code="other_browser",
            )
        await asyncio.gather(*(self._outcomes.check(interaction) for interaction in pending))
        async with self._database.transaction() as transaction:
            current = await interactions_of_browser(transaction, digests)
        pending_ids = {interaction.id for interaction in pending}
        latest = [interaction for interaction in current if interaction.id in pending_ids] or current
        if not latest:
            raise InvalidRequest(
                "this was erased meanwhile; start again from the app that you came from", code="other_browser"
            )
        if len({interaction.connection_id for interaction in latest}) > 1:
            # One of the links may be another user's, which this browser was made to open: show none of them.
            return None
        return next((interaction for interaction in latest if interaction.ended_at is not None), latest[0])
