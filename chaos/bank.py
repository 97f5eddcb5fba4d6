"""The sandbox bank as a child process: sets its faults and reads its ledger."""

import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from chaos.processes import Child
from chaos.waiting import until

CLIENT_ID = "test-chaos"
# Contains characters that a client must form-encode.
CLIENT_SECRET = "a+wrong/encoding=shows"
SCOPES = "openid accounts balances transactions offline_access"


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token as the bank knows it."""

    digest: str
    generation: int
    presented: int


@dataclass(frozen=True, slots=True)
class Family:
    """All refresh tokens of one consent, in the order in which they were issued."""

    death_reason: str | None
    tokens: list[RefreshToken]

    @property
    def is_alive(self) -> bool:
        """Whether the bank would still accept a refresh."""
        return self.death_reason is None


class Bank:
    """The control API of the sandbox."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def grant(self, count: int) -> tuple[str, list[dict[str, Any]]]:
        """Let a customer consent `count` times, and return the customer's subject and the token responses."""
        subject: str = (await self._call("GET", "customers"))[0]["sub"]
        body = {"sub": subject, "scope": SCOPES, "count": count}
        return subject, list((await self._call("POST", "grants", body))["grants"])

    async def set_faults(self, **faults: object) -> None:
        """Set faults as in `PUT /sandbox/faults`. None clears a fault. A token fault only affects refreshes."""
        if isinstance(token := faults.get("token"), dict):
            faults["token"] = {"grant_type": "refresh_token", **token}
        await self._call("PUT", "faults", faults)

    async def clear_faults(self) -> None:
        """Clear every fault. The grace period for reuse is not a fault, so it stays."""
        await self.set_faults(token=None, revocation=None, graphql=None)

    async def families(self) -> dict[str, Family]:
        """Return all families by the digest of their first refresh token."""
        return {
            entry["refresh_tokens"][0]["digest"]: Family(
                entry["death_reason"],
                [
                    RefreshToken(token["digest"], token["generation"], token["presented"])
                    for token in entry["refresh_tokens"]
                ],
            )
            for entry in (await self._call("GET", "ledger"))["families"]
            if entry["refresh_tokens"]
        }

    async def total(self, name: str) -> Any:
        """Return one of the ledger's totals."""
        return (await self._call("GET", "ledger"))["totals"][name]

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        async with self._http.request(method, f"{self.url}/sandbox/{path}", json=body) as response:
            response.raise_for_status()
            return await response.json() if response.status == 200 else None


@asynccontextmanager
async def running_bank(log: Path) -> AsyncIterator[Bank]:
    """Run a sandbox on a free port during the block."""
    command = (sys.executable, "-m", "sandbox", "--port", "0")
    client = ("--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET)
    child = await Child.start(*command, *client, environment={}, log=log)
    try:
        await until("the bank to listen", lambda: "listening on" in child.last_output() or not child.is_alive)
        found = re.search(r"listening on (http://\S+)", child.last_output())
        if found is None:
            raise RuntimeError(f"the sandbox did not start: {child.last_output()}")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
            yield Bank(found[1], http)
    finally:
        await child.kill()
