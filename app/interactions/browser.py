"""A user's way to the bank's page and back, bound to one browser."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.base.hashing import constant_time_equal, sha256_hex
from app.base.randomness import random_urlsafe_text
from app.core import Core
from app.errors import InvalidRequest, NotFound
from app.interactions.outcome import InteractionOutcomes
from app.store.interactions import (
    Interaction,
    bind_interaction_to_browser,
    interaction_binding,
    interactions_of_browser,
    lock_interaction_by_ticket,
    mark_interaction_returned,
)

# One browser may have several open, each with a cookie of its own.
COOKIE_MARK = "interaction-"


@dataclass(frozen=True, slots=True)
class OpenedInteraction:
    """Where the browser goes on to, and the secret by which it is known when it comes back."""

    bank_url: SecretStr
    name: str
    browser: str = field(repr=False)


class InteractionBrowserFlow:
    """Leads browsers to the bank, and takes them back."""

    def __init__(self, core: Core, *, decisions: InteractionOutcomes) -> None:
        self._database = core.database
        self._key_ring = core.key_ring
        self._decisions = decisions

    async def open(self, ticket: str, known_as: Callable[[str], str | None]) -> OpenedInteraction:
        """Bind a browser to the interaction of a ticket; `known_as` tells the secret that it has there, if any.

        The first browser that opens the link keeps it. Raises NotFound for an unknown ticket, InvalidRequest for one
        that is used, expired or another browser's.
        """
        async with self._database.transaction() as transaction:
            found = await lock_interaction_by_ticket(transaction, sha256_hex(ticket))
            if found is None:
                raise NotFound("this link is not known; ask for a new one", code="ticket_unknown")
            if found.ended_at is not None or found.bank_url is None:
                raise InvalidRequest("this link has been used or has expired; ask for a new one", code="ticket_used")
            name = f"{COOKIE_MARK}{found.ticket_digest[:16]}"
            browser = known_as(name)
            if found.browser_digest is None:
                browser = random_urlsafe_text()
                await bind_interaction_to_browser(transaction, found.id, sha256_hex(browser))
            elif browser is None or not constant_time_equal(sha256_hex(browser), found.browser_digest):
                raise InvalidRequest(
                    "this link was opened in another browser; go on there, or ask for a new one", code="other_browser"
                )
        url = self._key_ring.decrypt(found.bank_url, interaction_binding("bank_url", found.id))
        return OpenedInteraction(url, name, browser)

    async def come_back(self, browsers: list[str]) -> Interaction | None:
        """Take a browser that comes back from the bank, by the secrets that it has, and return what it was about.

        The redirect tells nothing, so the bank is asked about each that is pending. None where it may have been about
        several connections. Raises InvalidRequest where nothing of this browser's is.
        """
        async with self._database.transaction() as transaction:
            found = await interactions_of_browser(transaction, [sha256_hex(browser) for browser in browsers])
            pending = [one for one in found if one.ended_at is None]
            for one in pending:
                await mark_interaction_returned(transaction, one.id)
        if not found:
            raise InvalidRequest(
                "nothing was begun in this browser; start again where you came from", code="other_browser"
            )
        await asyncio.gather(*(self._decisions.ask(one) for one in pending))
        async with self._database.transaction() as transaction:
            again = await interactions_of_browser(transaction, [sha256_hex(browser) for browser in browsers])
        asked = {one.id for one in pending}
        latest = [one for one in again if one.id in asked] or again
        if not latest:
            raise InvalidRequest("this was erased meanwhile; start again where you came from", code="other_browser")
        if len({one.connection_id for one in latest}) > 1:
            # Of several, perhaps another user's whose link this browser was led to, nobody can tell which it was.
            return None
        return next((one for one in latest if one.ended_at is not None), latest[0])
