"""The third-party OpenID provider and the GraphQL server, and their control calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from interop.node import running_server
from interop.ports import free_port
from interop.variants import Variant

_RESOURCE_SECRET = "secret-of-the-resource-server"


@dataclass(frozen=True, slots=True)
class ThirdPartyServers:
    """A provider, and a GraphQL server that accepts its access tokens."""

    issuer: str
    graphql_url: str
    http: httpx.AsyncClient

    async def call_provider(self, call: str, **body: object) -> dict[str, Any]:
        """Make a control call: `ledger`, `lifetime`, `rotate-signing-key`, `expire-access-tokens`."""
        return await self._call(f"{self.issuer}/control/{call}", body)

    async def call_graphql_server(self, call: str) -> dict[str, Any]:
        """Make a control call: `ledger`, `rotate-nonce`."""
        return await self._call(f"{self.graphql_url.removesuffix('/graphql')}/control/{call}", {})

    async def is_active(self, token: str) -> bool:
        """Return whether the provider considers a token active (RFC 7662)."""
        response = await self.http.post(
            f"{self.issuer}/token/introspection", data={"token": token}, auth=("resource", _RESOURCE_SECRET)
        )
        return bool(response.json()["active"])

    async def _call(self, url: str, body: dict[str, object]) -> dict[str, Any]:
        response = await self.http.post(url, json=body)
        response.raise_for_status()
        members: dict[str, Any] = response.json()
        return members


@asynccontextmanager
async def running_servers(
    variants: list[Variant], redirect_uri: str, jwk: dict[str, object], directory: Path
) -> AsyncIterator[ThirdPartyServers]:
    """Run both servers with one registered client per variant; `fapi` must be the same for all variants."""
    resource_server = {
        "client_id": "resource",
        "client_secret": _RESOURCE_SECRET,
        "grant_types": [],
        "response_types": [],
        "redirect_uris": [],
    }
    clients = [*(variant.registration(redirect_uri, jwk) for variant in variants), resource_server]
    provider_settings = {"port": free_port(), "fapi": variants[0].fapi, "clients": clients}
    async with (
        running_server("provider.mjs", provider_settings, directory) as issuer,
        running_server(
            "graphql-server.mjs", {"port": free_port(), "issuer": issuer, "secret": _RESOURCE_SECRET}, directory
        ) as graphql_url,
        httpx.AsyncClient(timeout=30) as http,
    ):
        yield ThirdPartyServers(issuer, graphql_url, http)
