"""A model of the bank's token endpoint, small enough to be read as the truth that the broker is compared with."""

from collections import Counter
from typing import Any

from pydantic import SecretStr

from app.bank.bank import Bank
from app.bank.circuit_breaker import CircuitBreaker
from app.base.clock import Clock
from app.errors import InvalidGrant
from app.oidc.provider import Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.token_response import TokenResponse
from tests.support.flights import Step, reach


class ModelBank:
    """One consent: refresh tokens work once; the second use ends all, unless there is a grace (RFC 9700, 4.14.2)."""

    def __init__(self, *, grants_grace: bool) -> None:
        self._grants_grace = grants_grace
        self._issued = 1
        self.ended_by: str | None = None
        self.presented: Counter[str] = Counter()

    @property
    def current(self) -> str:
        """The one refresh token that is not used up."""
        return f"refresh-{self._issued}"

    def withdraw(self) -> None:
        """Let the user withdraw the consent."""
        self.ended_by = self.ended_by or "user"

    def work(self, refresh_token: str) -> TokenResponse:
        """Use a token up and answer with its successor. Raises InvalidGrant."""
        self.presented[refresh_token] += 1
        is_previous = refresh_token == f"refresh-{self._issued - 1}"
        if self.ended_by is None and refresh_token != self.current and not (is_previous and self._grants_grace):
            self.ended_by = "reuse"
        if self.ended_by is not None:
            raise InvalidGrant("the model bank knows no such grant")
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
    """Asks the model instead of a server, and stops before and after its work."""

    def __init__(self, bank: ModelBank) -> None:
        self._bank = bank

    async def refresh(
        self, refresh_token: SecretStr, *, timeout_seconds: float, is_bound: bool = False
    ) -> TokenResponse:
        """The fault that a test puts in at either stop is raised from here."""
        presented = refresh_token.get_secret_value()
        await reach(Step.CLAIMED, presents=presented)
        try:
            answer = self._bank.work(presented)
        except InvalidGrant:
            await reach(Step.WORKED)
            raise
        await reach(Step.WORKED, brings=self._bank.current)
        return answer


class ModelProvider(Provider):
    """Is always discovered."""

    def __init__(self) -> None:
        pass

    async def metadata(self) -> Any:
        """Nothing that the protocol looks at."""
        return None


def model_bank(bank: ModelBank, clock: Clock) -> Bank:
    """Return a bank client of the model, with what a refresh needs."""
    unused: Any = None
    return Bank(
        client_id="model",
        provider=ModelProvider(),
        token_endpoint=ModelTokenEndpoint(bank),
        authorization_endpoint=unused,
        circuit_breaker=CircuitBreaker(clock),
        query_pool=unused,
        query_proofs=unused,
    )
