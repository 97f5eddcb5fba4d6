"""A caller of the broker, which sends one query or hundreds at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from pydantic import SecretStr

from chaos.links import Link
from chaos.replicas import Replica

_QUERY = {"query": "{ user { __typename } }"}
# The codes after which a retry is useless.
_FINAL = ("REAUTHORIZATION_REQUIRED", "CONNECTION_REVOKED")


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a query. Status 0: the replica could not be reached, or disconnected."""

    status: int
    code: str = ""
    reason: str = ""
    version: int = 0
    retry_after: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether the bank's response was returned."""
        return self.status == 200 and not self.code

    @property
    def is_final(self) -> bool:
        """Whether a retry is useless."""
        return self.code in _FINAL


class Caller:
    """Sends requests with one API key to any replica."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def query(self, replica: Replica, link: Link) -> Answer:
        """Send one query."""
        url = f"{replica.url}/v1/connections/{link.id}/graphql"
        try:
            async with self._http.post(url, json=_QUERY) as response:
                body = await response.json()
                errors = body.get("errors") or [{}]
                extensions = errors[0].get("extensions") or body.get("extensions") or {}
                return Answer(
                    status=response.status,
                    code=str(extensions.get("code", "")),
                    reason=str(extensions.get("reason", "")),
                    version=int(response.headers.get("broker-token-version", 0)),
                    retry_after=float(response.headers.get("retry-after", 0)),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return Answer(0)

    async def disconnect(self, replica: Replica, link: Link) -> int:
        """Delete a connection and return the status."""
        async with self._http.delete(f"{replica.url}/v1/connections/{link.id}") as response:
            return response.status

    async def refresh(self, replica: Replica, link: Link, version: int) -> int:
        """Request a refresh of a version, and return the status, or 0 if the replica disconnected."""
        try:
            url = f"{replica.url}/v1/connections/{link.id}/refresh"
            async with self._http.post(url, json={"version": version}) as response:
                return response.status
        except (aiohttp.ClientError, OSError):
            return 0

    async def flood(self, replicas: Iterable[Replica], links: Iterable[Link], each: int) -> list[Answer]:
        """Send `each` queries for every connection to every replica, all at once."""
        queries = [(replica, link) for replica in replicas for link in links for _ in range(each)]
        return list(await asyncio.gather(*(self.query(replica, link) for replica, link in queries)))


def summary(answers: Iterable[Answer]) -> str:
    """Return how many answers of each kind there are, as text."""
    kinds = Counter(f"{answer.status} {answer.reason or answer.code}".strip() for answer in answers)
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common())


@asynccontextmanager
async def open_caller(api_key: SecretStr) -> AsyncIterator[Caller]:
    """Yield a caller."""
    async with aiohttp.ClientSession(
        headers={"authorization": f"Bearer {api_key.get_secret_value()}"},
        # One connection for each query. A reused one that the replica is just closing would look like a failed query.
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=120),
    ) as http:
        yield Caller(http)
