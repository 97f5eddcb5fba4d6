"""A customer's walk through the bank's pages: choose a bank, log in, consent."""

import secrets
import time
from dataclasses import dataclass

from sandbox.customers import BankBranch, Customer
from sandbox.oidc.authorization_request import AuthorizationRequest
from sandbox.oidc.errors import InvalidParameterError


@dataclass(kw_only=True)
class Interaction:
    """How far one walk has come."""

    id: str
    request: AuthorizationRequest
    bank: BankBranch | None = None
    customer: Customer | None = None
    authenticated_at: int = 0

    def choose(self, bank: BankBranch) -> None:
        """Remember the bank; whoever had logged in before does so again."""
        self.bank = bank
        self.customer = None

    def log_in(self, customer: Customer) -> None:
        """Remember who it is, and since when."""
        self.customer = customer
        self.authenticated_at = int(time.time())


class Interactions:
    """The walks under way."""

    def __init__(self) -> None:
        self._interactions: dict[str, Interaction] = {}

    def begin(self, request: AuthorizationRequest) -> Interaction:
        """Start a walk."""
        interaction = Interaction(id=secrets.token_urlsafe(24), request=request)
        self._interactions[interaction.id] = interaction
        return interaction

    def find(self, interaction_id: str) -> Interaction:
        """Return a walk under way, or raise."""
        try:
            return self._interactions[interaction_id]
        except KeyError:
            raise InvalidParameterError("interaction", "Unknown interaction. Start again.") from None

    def end(self, interaction: Interaction) -> None:
        """End a walk: its pages work no more."""
        self._interactions.pop(interaction.id, None)
