"""The two servers of the other side, as the harness steers them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from interop.node import running_server
from interop.ports import free_port
from interop.variants import Variant

_RESOURCE_SECRET = "the-resource-server-asks-about-tokens"


@dataclass(frozen=True, slots=True)
class OtherSide:
    """A provider, and a GraphQL server that accepts its tokens."""

    issuer: str
    graphql_url: str
    http: httpx.AsyncClient

    async def provider(self, call: str, **body: object) -> dict[str, Any]:
        """Call the provider's control: `ledger`, `lifetime`, `rotate-signing-key`, `expire-access-tokens`."""
        return await self._call(f"{self.issuer}/control/{call}", body)

    async def resource(self, call: str) -> dict[str, Any]:
        """Call the GraphQL server's control: `ledger`, `rotate-nonce`."""
        return await self._call(f"{self.graphql_url.removesuffix('/graphql')}/control/{call}", {})

    async def is_active(self, token: str) -> bool:
        """Ask the provider whether a token is good (RFC 7662)."""
        answer = await self.http.post(
            f"{self.issuer}/token/introspection", data={"token": token}, auth=("resource", _RESOURCE_SECRET)
        )
        return bool(answer.json()["active"])

    async def _call(self, url: str, body: dict[str, object]) -> dict[str, Any]:
        answer = await self.http.post(url, json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def running_other_side(
    variants: list[Variant], redirect_uri: str, jwk: dict[str, object], directory: Path
) -> AsyncIterator[OtherSide]:
    """Run both, for clients of these variants, which are all of one kind."""
    resource = {
        "client_id": "resource",
        "client_secret": _RESOURCE_SECRET,
        "grant_types": [],
        "response_types": [],
        "redirect_uris": [],
    }
    clients = [*(variant.registration(redirect_uri, jwk) for variant in variants), resource]
    told = {"port": free_port(), "fapi": variants[0].fapi, "clients": clients}
    async with (
        running_server("provider.mjs", told, directory) as issuer,
        running_server(
            "resource.mjs", {"port": free_port(), "issuer": issuer, "secret": _RESOURCE_SECRET}, directory
        ) as graphql_url,
        httpx.AsyncClient(timeout=30) as http,
    ):
        yield OtherSide(issuer, graphql_url, http)
