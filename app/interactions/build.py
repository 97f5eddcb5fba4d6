"""Puts the services of interactions together."""

from dataclasses import dataclass

from app.core import Core
from app.interactions.browser import InteractionPages
from app.interactions.outcome import Decisions, SendQuery
from app.interactions.service import Interactions
from app.login.return_urls import ReturnUrls
from app.settings import Settings

# How long the bank's answer about an interaction is waited for, in seconds.
OUTCOME_TIMEOUT = 8.0


@dataclass(frozen=True, slots=True)
class InteractionServices:
    """Interactions as callers see them, and as browsers do."""

    service: Interactions
    browser: InteractionPages


def build(core: Core, settings: Settings, return_urls: ReturnUrls, send_query: SendQuery) -> InteractionServices:
    """Build the services; `send_query` sends a query with a connection's token."""
    decisions = Decisions(core, send_query=send_query, timeout=OUTCOME_TIMEOUT)
    return InteractionServices(
        Interactions(core, decisions=decisions, return_urls=return_urls, settings=settings),
        InteractionPages(core, decisions=decisions),
    )
