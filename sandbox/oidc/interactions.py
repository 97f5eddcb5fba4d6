"""The state of a customer on the bank's pages: choose a bank, log in, consent."""

import secrets
import time
from dataclasses import dataclass

from sandbox.customers import BankBranch, Customer
from sandbox.oidc.authorization_request import AuthorizationRequest
from sandbox.oidc.errors import InvalidParameterError


@dataclass(kw_only=True)
class Interaction:
    """The progress of one authorization through the pages."""

    id: str
    request: AuthorizationRequest
    bank: BankBranch | None = None
    customer: Customer | None = None
    authenticated_at: int = 0

    def choose_bank(self, bank: BankBranch) -> None:
        """Set the bank; an earlier login no longer counts."""
        self.bank = bank
        self.customer = None

    def log_in(self, customer: Customer) -> None:
        """Set the customer and the time of the login."""
        self.customer = customer
        self.authenticated_at = int(time.time())


class InteractionStore:
    """The interactions in progress."""

    def __init__(self) -> None:
        self._interactions: dict[str, Interaction] = {}

    def start(self, request: AuthorizationRequest) -> Interaction:
        """Start an interaction."""
        interaction = Interaction(id=secrets.token_urlsafe(24), request=request)
        self._interactions[interaction.id] = interaction
        return interaction

    def find(self, interaction_id: str) -> Interaction:
        """Return the interaction with this identifier.

        Raises InvalidParameterError if it is unknown or over.
        """
        try:
            return self._interactions[interaction_id]
        except KeyError:
            raise InvalidParameterError("interaction", "Unknown interaction. Start again.") from None

    def end(self, interaction: Interaction) -> None:
        """End an interaction: its pages no longer work."""
        self._interactions.pop(interaction.id, None)
