"""The broker as a process, and its client."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from chaos.replicas import Replica
from interop.harness import Harness
from interop.report import expect

QUERY = "{ viewer { subject } }"


class BrokerClient:
    """A client of the broker's API. Every method raises CheckFailed if the response is not the expected one."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self.url = url
        self._http = http

    async def start_session(self, **members: object) -> dict[str, Any]:
        """Start a session; `members` are added to the request body."""
        return await self._call("POST", "/v1/sessions", {"user_id": "user-1", **members}, expected_status=201)

    async def wait_for_session(self, session_id: str) -> dict[str, Any]:
        """Return a session when it has ended, or after 20 seconds."""
        return await self._call("GET", f"/v1/sessions/{session_id}?wait=20")

    async def get_connection(self, connection_id: str) -> dict[str, Any]:
        """Return a connection."""
        return await self._call("GET", f"/v1/connections/{connection_id}")

    async def refresh(self, connection_id: str) -> dict[str, Any]:
        """Refresh the tokens of a connection."""
        return await self._call("POST", f"/v1/connections/{connection_id}/refresh", {})

    async def disconnect(self, connection_id: str) -> None:
        """Disconnect a connection."""
        response = await self._http.delete(f"/v1/connections/{connection_id}")
        expect(response.status_code == 204, f"DELETE returned {response.status_code}: {response.text}")

    async def query(self, connection_id: str) -> httpx.Response:
        """Send a query."""
        return await self._http.post(f"/v1/connections/{connection_id}/graphql", json={"query": QUERY})

    async def expect_answer(self, connection_id: str, *, subject: str, version: int) -> None:
        """Send a query, and check the subject in the response and the version of the token that was used."""
        response = await self.query(connection_id)
        expect(response.status_code == 200, f"the query returned {response.status_code}: {response.text}")
        expect(response.json() == {"data": {"viewer": {"subject": subject}}}, f"the query returned {response.text}")
        used_version = response.headers["broker-token-version"]
        expect(used_version == str(version), f"the query used token version {used_version} instead of {version}")

    async def expect_error(self, connection_id: str, code: str) -> None:
        """Send a query, and check that the broker rejects it with this error code."""
        response = await self.query(connection_id)
        expect(f'"{code}"' in response.text, f"the query returned {response.status_code}: {response.text}")

    async def _call(self, method: str, path: str, body: object = None, *, expected_status: int = 200) -> dict[str, Any]:
        response = await self._http.request(method, path, json=body)
        expect(
            response.status_code == expected_status, f"{method} {path} returned {response.status_code}: {response.text}"
        )
        members: dict[str, Any] = response.json()
        return members


@asynccontextmanager
async def running_broker(harness: Harness, environment: Mapping[str, str], port: int) -> AsyncIterator[BrokerClient]:
    """Run `broker serve` for the duration of the block, and yield a client of it."""
    process = Replica("broker", harness.directory, environment, port=port)
    try:
        await process.start()
        await process.wait_until_ready()
        headers = {"authorization": f"Bearer {harness.api_key.get_secret_value()}"}
        async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60) as http:
            yield BrokerClient(process.url, http)
    finally:
        await asyncio.shield(process.kill())
