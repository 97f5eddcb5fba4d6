"""A model of the bank's token endpoint, simple enough to serve as the specification for the tests."""

from collections import Counter
from typing import Any

from pydantic import SecretStr

from app.bank.bank import Bank
from app.bank.circuit_breaker import CircuitBreaker
from app.bank.own_client import OwnClient
from app.base.clock import Clock
from app.errors import InvalidGrant
from app.oidc.provider import Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.token_response import TokenResponse
from tests.support.flights import Step, reach
from tests.support.rows import CLIENT


class ModelBank:
    """One grant. A refresh token works once; reuse revokes the grant, unless there is a grace (RFC 9700, 4.14.2)."""

    def __init__(self, *, grants_grace: bool) -> None:
        self._grants_grace = grants_grace
        self._issued = 1
        self.ended_by: str | None = None
        self.presented: Counter[str] = Counter()

    @property
    def current(self) -> str:
        """The refresh token that has not been used."""
        return f"refresh-{self._issued}"

    def withdraw(self) -> None:
        """Revoke the grant as the user does."""
        self.ended_by = self.ended_by or "user"

    def refresh(self, refresh_token: str) -> TokenResponse:
        """Use a refresh token, and return its successor. Raises InvalidGrant."""
        self.presented[refresh_token] += 1
        is_previous = refresh_token == f"refresh-{self._issued - 1}"
        if self.ended_by is None and refresh_token != self.current and not (is_previous and self._grants_grace):
            self.ended_by = "reuse"
        if self.ended_by is not None:
            raise InvalidGrant("the grant is unknown or revoked")
        self._issued += 1
        return TokenResponse(
            access_token=SecretStr(f"access-{self._issued}"),
            refresh_token=SecretStr(self.current),
            id_token=None,
            lifetime=900,
            token_type="Bearer",
            scopes=None,
        )


class ModelTokenEndpoint(TokenEndpoint):
    """Calls the model instead of a server, and stops before and after that."""

    def __init__(self, bank: ModelBank) -> None:
        self._bank = bank

    async def refresh(
        self, refresh_token: SecretStr, *, timeout_seconds: float, is_bound: bool = False
    ) -> TokenResponse:
        """Raises the error that a test passes to the flight at either stop."""
        presented = refresh_token.get_secret_value()
        await reach(Step.CLAIMED, sent_token=presented)
        try:
            response = self._bank.refresh(presented)
        except InvalidGrant:
            await reach(Step.REFRESHED)
            raise
        await reach(Step.REFRESHED, issued_token=self._bank.current)
        return response


class ModelProvider(Provider):
    """A provider whose metadata are always available."""

    def __init__(self) -> None:
        pass

    async def metadata(self) -> Any:
        """Return nothing: the refresh protocol only needs the call to succeed."""
        return None


def model_bank(bank: ModelBank, clock: Clock) -> Bank:
    """Return a client of the model bank, with the parts that a refresh uses."""
    unused: Any = None
    return Bank(
        own_client=OwnClient(CLIENT),
        provider=ModelProvider(),
        token_endpoint=ModelTokenEndpoint(bank),
        authorization_endpoint=unused,
        circuit_breaker=CircuitBreaker(clock),
        query_pool=unused,
        query_proofs=unused,
    )
