"""The broker as a process, its caller, and a look into its database: what nobody but the harness may have."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from app.base.encryption import KeyRing
from app.callers.permissions import Permission
from app.callers.registry import CallerRegistry
from app.settings import Settings
from app.store.connections import TokenSet, get_connection_with_tokens
from app.store.postgresql.database import Database
from chaos.replicas import Replica
from interop.provider import OtherSide
from interop.report import expect
from interop.variants import CLIENT_SECRET, Variant

QUERY = "{ viewer { subject } }"


@dataclass(frozen=True, slots=True)
class Home:
    """What all brokers of a run share."""

    directory: Path
    database: Database
    database_url: SecretStr
    encryption_keys: str
    api_key: SecretStr
    key_file: Path
    key_id: str
    public_url: str

    def environment(self, variant: Variant, other_side: OtherSide) -> dict[str, str]:
        """Return the settings of a broker that is this kind of client. Nothing says `PAR` or `DPOP`: that is found."""
        settings = {
            "DATABASE_URL": self.database_url.get_secret_value(),
            "DATA_DIR": str(self.directory / variant.client_id),
            "PUBLIC_URL": self.public_url,
            "ENCRYPTION_KEYS": self.encryption_keys,
            "STITCH_ISSUER": other_side.issuer,
            "STITCH_GRAPHQL_URL": other_side.graphql_url,
            "STITCH_CLIENT_ID": variant.client_id,
            "STITCH_CLIENT_AUTH": variant.method,
            "STITCH_PROMPT": "consent",
        }
        if variant.method == "private_key_jwt":
            settings |= {"STITCH_PRIVATE_KEY_FILE": str(self.key_file), "STITCH_PRIVATE_KEY_ID": self.key_id}
        else:
            settings["STITCH_CLIENT_SECRET"] = CLIENT_SECRET
        return {f"BROKER_{name}": value for name, value in settings.items()}

    def settings(self, environment: Mapping[str, str]) -> Settings:
        """Return the same as the broker reads them."""
        return Settings(**{name.removeprefix("BROKER_").lower(): value for name, value in environment.items()})  # type: ignore[arg-type]

    async def tokens_of(self, connection_id: str) -> TokenSet:
        """Return the tokens of a connection, decrypted."""
        async with self.database.transaction() as transaction:
            held = await get_connection_with_tokens(
                transaction, KeyRing.parse(self.encryption_keys), "default", connection_id
            )
        assert held is not None
        assert held.tokens is not None
        return held.tokens


async def new_api_key(database: Database, encryption_keys: str) -> SecretStr:
    """Make the caller of the whole run."""
    _, api_key = await CallerRegistry(database, KeyRing.parse(encryption_keys)).create(
        tenant="default", name="interop", permissions=[permission.value for permission in Permission], actor="interop"
    )
    return api_key


class Broker:
    """What a caller sends to it."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self.url = url
        self._http = http

    async def start(self, **wanted: object) -> dict[str, Any]:
        """Start a session."""
        return await self._call("POST", "/v1/sessions", {"user_id": "user-1", **wanted}, expected=201)

    async def session(self, session_id: str) -> dict[str, Any]:
        """Return a session once it has ended."""
        return await self._call("GET", f"/v1/sessions/{session_id}?wait=20")

    async def connection(self, connection_id: str) -> dict[str, Any]:
        """Return a connection."""
        return await self._call("GET", f"/v1/connections/{connection_id}")

    async def refresh(self, connection_id: str) -> dict[str, Any]:
        """Have the token refreshed."""
        return await self._call("POST", f"/v1/connections/{connection_id}/refresh", {})

    async def disconnect(self, connection_id: str) -> None:
        """End a connection."""
        answer = await self._http.delete(f"/v1/connections/{connection_id}")
        expect(answer.status_code == 204, f"DELETE was answered {answer.status_code}: {answer.text}")

    async def query(self, connection_id: str) -> httpx.Response:
        """Send a query."""
        return await self._http.post(f"/v1/connections/{connection_id}/graphql", json={"query": QUERY})

    async def answers(self, connection_id: str, *, subject: str, version: int) -> None:
        """Send a query, and raise unless it is answered as `subject`, with a token of this version."""
        answer = await self.query(connection_id)
        expect(answer.status_code == 200, f"the query was answered {answer.status_code}: {answer.text}")
        expect(answer.json() == {"data": {"viewer": {"subject": subject}}}, f"the answer was {answer.text}")
        found = answer.headers["broker-token-version"]
        expect(found == str(version), f"it took the token of version {found}, not {version}")

    async def refuses(self, connection_id: str, code: str) -> None:
        """Send a query, and raise unless the broker refuses it with `code`."""
        answer = await self.query(connection_id)
        expect(f'"{code}"' in answer.text, f"the query was answered {answer.status_code}: {answer.text}")

    async def _call(self, method: str, path: str, body: object = None, *, expected: int = 200) -> dict[str, Any]:
        answer = await self._http.request(method, path, json=body)
        expect(answer.status_code == expected, f"{method} {path} was answered {answer.status_code}: {answer.text}")
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def running_broker(home: Home, environment: Mapping[str, str], port: int) -> AsyncIterator[Broker]:
    """Run `broker serve` for as long as the block."""
    process = Replica("broker", home.directory, environment, port=port)
    try:
        await process.start()
        await process.ready()
        headers = {"authorization": f"Bearer {home.api_key.get_secret_value()}"}
        async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60) as http:
            yield Broker(process.url, http)
    finally:
        await asyncio.shield(process.kill())
