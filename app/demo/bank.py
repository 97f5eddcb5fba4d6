"""The sandbox bank's control API: what no real bank has. Its reference is sandbox/README.md."""

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
    """Asks the bank what it saw, and has it let tokens expire."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = open_client(url, transport=transport)

    def logins(self, step: Step) -> list[Login]:
        """Return who can log in."""
        found = exchange(step, self._client, "GET", "/sandbox/customers")
        return [
            Login(
                subject=found.member(number, "sub"),
                bank=found.member(number, "bank"),
                username=found.member(number, "username"),
                password=found.member(number, "password"),
            )
            for number in range(len(found.member()))
        ]

    def expire_tokens(self, step: Step) -> int:
        """Let every access token expire now, and return how many there were."""
        return int(exchange(step, self._client, "POST", "/sandbox/expire", body={}).member("affected"))

    def codes_exchanged(self, step: Step) -> int:
        """Count the authorization codes that were exchanged for tokens."""
        return int(self._ledger(step, "totals", "codes_exchanged"))

    def refreshes(self, step: Step) -> dict[str, int]:
        """Return how often the bank answered refreshes, by answer: `ok` or an error code."""
        requests = dict(self._ledger(step, "totals", "token_requests"))
        return dict(requests.get("refresh_token", {}))

    def family_of(self, step: Step, subject: str) -> dict[str, Any]:
        """Return what became of the tokens of a customer's latest consent."""
        families = [one for one in self._ledger(step, "families") if one["sub"] == subject]
        return dict(families[-1]) if families else {}

    def _ledger(self, step: Step, *path: str) -> Any:  # noqa: ANN401 - JSON
        return exchange(step, self._client, "GET", "/sandbox/ledger").member(*path)
