"""The sandbox bank's control API, which real banks do not have. See sandbox/README.md."""

from dataclasses import dataclass
from typing import Any

import httpx

from app.demo.exchange import exchange, open_client
from app.demo.printing import Step


@dataclass(frozen=True)
class Login:
    """A customer who can log in at the bank."""

    subject: str
    bank: str
    username: str
    password: str


class SandboxBank:
    """Reads what the bank has counted, and makes tokens expire."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = open_client(url, transport=transport)

    def logins(self, step: Step) -> list[Login]:
        """Return the customers who can log in."""
        response = exchange(step, self._client, "GET", "/sandbox/customers")
        return [
            Login(
                subject=response.member(number, "sub"),
                bank=response.member(number, "bank"),
                username=response.member(number, "username"),
                password=response.member(number, "password"),
            )
            for number in range(len(response.member()))
        ]

    def expire_tokens(self, step: Step) -> int:
        """Make every access token expire now, and return how many there were."""
        return int(exchange(step, self._client, "POST", "/sandbox/expire", body={}).member("affected"))

    def codes_exchanged(self, step: Step) -> int:
        """Return how many authorization codes were exchanged for tokens."""
        return int(self._ledger(step, "totals", "codes_exchanged"))

    def refreshes(self, step: Step) -> dict[str, int]:
        """Return the number of refreshes for each response of the bank: `ok` or an error code."""
        requests = dict(self._ledger(step, "totals", "token_requests"))
        return dict(requests.get("refresh_token", {}))

    def family_of(self, step: Step, subject: str) -> dict[str, Any]:
        """Return the state of the tokens from a customer's last consent, or an empty dictionary."""
        families = [family for family in self._ledger(step, "families") if family["sub"] == subject]
        return dict(families[-1]) if families else {}

    def _ledger(self, step: Step, *path: str) -> Any:  # noqa: ANN401 - JSON
        return exchange(step, self._client, "GET", "/sandbox/ledger").member(*path)
