"""The state of the sandbox bank, and the FastAPI dependency that returns it."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Request

from sandbox.customers import Customer
from sandbox.faults import Faults
from sandbox.ledger import Ledger, LedgerReport, family_entry
from sandbox.oidc.authorization_codes import AuthorizationCodeStore
from sandbox.oidc.client_authentication import ClientAuthenticator
from sandbox.oidc.dpop import ProofValidator
from sandbox.oidc.interactions import InteractionStore
from sandbox.oidc.pushed_request_store import PushedRequestStore
from sandbox.oidc.signing import SigningKeys
from sandbox.payments import Payments
from sandbox.seed import create_customers
from sandbox.settings import SandboxSettings
from sandbox.tokens import TokenStore


class Bank:
    """The state of one sandbox, from its start until it is reset."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.signing_keys = SigningKeys()
        self.customers: Mapping[str, Customer] = {customer.sub: customer for customer in create_customers()}
        self._clear_state()

    def _clear_state(self) -> None:
        self.faults = Faults()
        self.ledger = Ledger()
        self.interactions = InteractionStore()
        self.pushed_requests = PushedRequestStore()
        self.codes = AuthorizationCodeStore(ttl=self.settings.authorization_code_ttl)
        self.tokens = TokenStore(access_token_ttl=self.settings.access_token_ttl)
        self.payments = Payments(limit=self.settings.payment_limit)
        self.proofs = ProofValidator()
        self.clients = ClientAuthenticator(self.settings)

    def reset(self) -> None:
        """Restore the initial state, with the same first signing key: clients may have cached it."""
        self.signing_keys.reset()
        self._clear_state()

    @property
    def assertion_audiences(self) -> list[str]:
        """The accepted `aud` of client assertions: the token endpoint and, with PAR, the issuer (RFC 9126)."""
        issuer = self.settings.issuer
        return [f"{issuer}/connect/token"] + ([issuer] if self.faults.pushed_requests != "none" else [])

    @property
    def refresh_reuse_grace(self) -> float:
        """For how many seconds a used refresh token is still accepted."""
        overridden = self.faults.refresh_reuse_grace
        return self.settings.refresh_reuse_grace if overridden is None else overridden

    def report(self) -> LedgerReport:
        """Return the ledger: every token family, and the request counts."""
        return LedgerReport(
            families=[family_entry(family) for family in self.tokens.families.values()],
            totals=self.ledger.totals(),
        )


def get_bank(request: Request) -> Bank:
    """Return the bank that the application factory created."""
    bank: Bank = request.app.state.bank
    return bank


BankDependency = Annotated[Bank, Depends(get_bank)]
