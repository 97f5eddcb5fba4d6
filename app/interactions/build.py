"""Builds the interaction services."""

from dataclasses import dataclass

from app.core import Core
from app.interactions.browser import InteractionBrowserFlow
from app.interactions.outcome import InteractionOutcomes, SendQuery
from app.interactions.service import InteractionService
from app.login.return_urls import ReturnUrls
from app.settings import Settings

# How long a request waits for the bank's response about an interaction.
OUTCOME_TIMEOUT = 8.0  # seconds


@dataclass(frozen=True, slots=True)
class InteractionServices:
    """Interactions, as seen by callers and by browsers."""

    service: InteractionService
    browser: InteractionBrowserFlow


def build(core: Core, settings: Settings, return_urls: ReturnUrls, send_query: SendQuery) -> InteractionServices:
    """Build the services; `send_query` sends a query with a connection's token."""
    outcomes = InteractionOutcomes(core, send_query=send_query, timeout=OUTCOME_TIMEOUT)
    return InteractionServices(
        InteractionService(core, outcomes=outcomes, return_urls=return_urls, settings=settings),
        InteractionBrowserFlow(core, outcomes=outcomes),
    )
