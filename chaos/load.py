"""A caller of the broker: queries, one at a time or hundreds at once."""

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
# What a caller is told that need not come back.
_FINAL = ("REAUTHORIZATION_REQUIRED", "CONNECTION_REVOKED")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query came back with. Status 0: the replica was not there, or went away."""

    status: int
    code: str = ""
    reason: str = ""
    version: int = 0
    retry_after: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether the bank's answer came through."""
        return self.status == 200 and not self.code

    @property
    def is_final(self) -> bool:
        """Whether asking again is of no use."""
        return self.code in _FINAL


class Caller:
    """One API key, used on any replica."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def query(self, replica: Replica, link: Link) -> Answer:
        """Send one query."""
        url = f"{replica.url}/v1/connections/{link.id}/graphql"
        try:
            async with self._http.post(url, json=_QUERY) as answer:
                body = await answer.json()
                errors = body.get("errors") or [{}]
                extensions = errors[0].get("extensions") or body.get("extensions") or {}
                return Answer(
                    status=answer.status,
                    code=str(extensions.get("code", "")),
                    reason=str(extensions.get("reason", "")),
                    version=int(answer.headers.get("broker-token-version", 0)),
                    retry_after=float(answer.headers.get("retry-after", 0)),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return Answer(0)

    async def disconnect(self, replica: Replica, link: Link) -> int:
        """Delete a connection and return the status."""
        async with self._http.delete(f"{replica.url}/v1/connections/{link.id}") as answer:
            return answer.status

    async def refresh(self, replica: Replica, link: Link, version: int) -> int:
        """Have a version refreshed and return the status; 0 where the replica went away."""
        try:
            url = f"{replica.url}/v1/connections/{link.id}/refresh"
            async with self._http.post(url, json={"version": version}) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError):
            return 0

    async def flood(self, replicas: Iterable[Replica], links: Iterable[Link], each: int) -> list[Answer]:
        """Send `each` queries for every connection to every replica, all at once."""
        queries = [(replica, link) for replica in replicas for link in links for _ in range(each)]
        return list(await asyncio.gather(*(self.query(replica, link) for replica, link in queries)))


def summary(answers: Iterable[Answer]) -> str:
    """Say how many answers of which kind there were."""
    kinds = Counter(f"{one.status} {one.reason or one.code}".strip() for one in answers)
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common())


@asynccontextmanager
async def open_caller(api_key: SecretStr) -> AsyncIterator[Caller]:
    """Give a caller for as long as the block."""
    async with aiohttp.ClientSession(
        headers={"authorization": f"Bearer {api_key.get_secret_value()}"},
        # One connection for each query: one that a replica closes as it is used again would look like a failed query.
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=120),
    ) as http:
        yield Caller(http)
