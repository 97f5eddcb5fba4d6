"""All that the bank remembers, in one object."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Request

from sandbox.customers import Customer
from sandbox.faults import Faults
from sandbox.ledger import Ledger, LedgerReport, family_entry
from sandbox.oidc.client_authentication import ClientAuthenticator
from sandbox.oidc.codes import CodeStore
from sandbox.oidc.dpop import ProofChecker
from sandbox.oidc.interactions import Interactions
from sandbox.oidc.pushed_store import PushedRequests
from sandbox.oidc.signing import SigningKeys
from sandbox.payments import Payments
from sandbox.seed import seeded_customers
from sandbox.settings import SandboxSettings
from sandbox.tokens import TokenStore


class Bank:
    """The state of one sandbox, from its start until it is reset."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.signing_keys = SigningKeys()
        self.customers: Mapping[str, Customer] = {customer.sub: customer for customer in seeded_customers()}
        self._forget()

    def _forget(self) -> None:
        self.faults = Faults()
        self.ledger = Ledger()
        self.interactions = Interactions()
        self.pushed_requests = PushedRequests()
        self.codes = CodeStore(ttl=self.settings.authorization_code_ttl)
        self.tokens = TokenStore(access_token_ttl=self.settings.access_token_ttl)
        self.payments = Payments(limit=self.settings.payment_limit)
        self.proofs = ProofChecker()
        self.clients = ClientAuthenticator(self.settings)

    def reset(self) -> None:
        """Return to the start state. The signing keys of the start stay: clients may remember them."""
        self.signing_keys.reset()
        self._forget()

    @property
    def assertion_audiences(self) -> list[str]:
        """How client assertions may call the bank: by its token endpoint, with PAR by its issuer too (RFC 9126)."""
        issuer = self.settings.issuer
        return [f"{issuer}/connect/token"] + ([issuer] if self.faults.pushed_requests != "none" else [])

    @property
    def refresh_reuse_grace(self) -> float:
        """Seconds during which a used refresh token still yields a fresh pair."""
        asked_for = self.faults.refresh_reuse_grace
        return self.settings.refresh_reuse_grace if asked_for is None else asked_for

    def report(self) -> LedgerReport:
        """Return what the bank counted."""
        return LedgerReport(
            families=[family_entry(family) for family in self.tokens.families.values()],
            totals=self.ledger.totals(),
        )


def current_bank(request: Request) -> Bank:
    """Return the bank that the application factory made."""
    bank: Bank = request.app.state.bank
    return bank


BankDependency = Annotated[Bank, Depends(current_bank)]
