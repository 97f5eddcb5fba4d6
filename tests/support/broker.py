"""The broker as its users meet it: served by uvicorn over real HTTP, in this process, so that its lines are counted."""

import asyncio
import io
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn
from pydantic import SecretStr

from app.api.uvicorn_protocol import StrictHttpProtocol
from app.base.bank_client import BankClient
from app.base.encryption import KeyRing
from app.base.randomness import new_id
from app.callers.permissions import Permission
from app.callers.registry import CallerRegistry
from app.demo.customer import NAVIGATION_HEADERS
from app.main import create_app
from app.runtime import RuntimeOptions
from app.settings import Settings
from app.store.callers import CallerRecord
from app.store.postgresql.database import Database
from tests.support.eventually import eventually
from tests.support.rows import Rows
from tests.support.settings import ENCRYPTION_KEY, PUBLIC_URL, RETURN_URLS, settings_for

__all__ = ["ENCRYPTION_KEY", "PUBLIC_URL", "RETURN_URLS", "settings_for"]

EVERYTHING = tuple(Permission)
# A broker that takes longer to end hangs. Seconds.
_LONGEST_END = 60.0
# Making one is most of the cost of a client, and nothing here speaks TLS.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Api(httpx.AsyncClient):
    """What one caller sends."""

    def __init__(self, url: str, caller: CallerRecord, api_key: SecretStr) -> None:
        super().__init__(
            base_url=url,
            headers={"authorization": f"Bearer {api_key.get_secret_value()}"},
            verify=NO_TLS,
            timeout=30,
        )
        self.caller = caller
        self.api_key = api_key.get_secret_value()

    @property
    def tenant(self) -> str:
        """Whose rows it sees."""
        return self.caller.tenant

    async def start(self, **wanted: Any) -> dict[str, Any]:
        """Start a session."""
        answer = await self.post("/v1/sessions", json={"user_id": "user-1", **wanted})
        assert answer.status_code == 201, answer.text
        session: dict[str, Any] = answer.json()
        return session

    async def session(self, session_id: str, *, wait: int = 0) -> dict[str, Any]:
        """Return a session."""
        return await self._shown(f"/v1/sessions/{session_id}?wait={wait}")

    async def connection(self, connection_id: str) -> dict[str, Any]:
        """Return a connection."""
        return await self._shown(f"/v1/connections/{connection_id}")

    async def query(
        self, connection_id: str, query: str = "{ user { id } }", *, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """Send a GraphQL request."""
        return await self.post(
            f"/v1/connections/{connection_id}/graphql", json={"query": query, **more}, headers=headers
        )

    async def _shown(self, path: str) -> dict[str, Any]:
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown


class Browser(httpx.AsyncClient):
    """A user's browser: keeps cookies, follows nothing by itself, and reaches the broker at its public address.

    Each request is a navigation by its user.
    """

    def __init__(self, url: str, public_url: str) -> None:
        super().__init__(base_url=url, headers=NAVIGATION_HEADERS, verify=NO_TLS, timeout=30)
        self._public_url = public_url.rstrip("/")

    async def open(self, url: str, **options: Any) -> httpx.Response:
        """Open an address below PUBLIC_URL."""
        assert url.startswith(f"{self._public_url}/")
        return await self.get(url.removeprefix(self._public_url), **options)


@dataclass(frozen=True)
class Broker:
    """A running broker; `rows` works on its database, past it."""

    url: str
    settings: Settings
    database: Database
    rows: Rows
    registry: CallerRegistry

    async def sign_up(
        self, tenant: str | None = None, permissions: Collection[str] = EVERYTHING, name: str | None = None
    ) -> Api:
        """Make a caller, of a tenant of its own unless one is named."""
        caller, api_key = await self.registry.create(
            tenant=tenant or new_id("tenant"),
            name=name or new_id("caller"),
            permissions=list(permissions),
            actor="tests",
        )
        return Api(self.url, caller, api_key)

    def new_browser(self) -> Browser:
        """Open a browser without cookies."""
        return Browser(self.url, self.settings.public_url)

    @property
    def host(self) -> tuple[str, int]:
        """Where a socket connects to."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port


@asynccontextmanager
async def served(settings: Settings, options: RuntimeOptions = RuntimeOptions()) -> AsyncIterator[Broker]:
    """Serve a broker on a free port, as `broker serve` does, from a thread with a loop of its own."""
    assert settings.database_url is not None
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, options),
            log_config=None,
            access_log=False,
            http=StrictHttpProtocol,
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )
    loops: list[asyncio.AbstractEventLoop] = []

    def run() -> None:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            loops.append(runner.get_loop())
            runner.run(server.serve(sockets=[listening]))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    key_ring = KeyRing.parse(settings.encryption_keys.get_secret_value())
    database = Database(settings.database_url, through_pooler=settings.database_listen_url is not None)

    async def has_started() -> bool:
        assert thread.is_alive(), "the broker did not start"
        return server.started

    try:
        await eventually(has_started)
        yield Broker(
            url=f"http://127.0.0.1:{listening.getsockname()[1]}",
            settings=settings,
            database=database,
            rows=Rows(database, key_ring, BankClient(settings.stitch_issuer, settings.stitch_client_id)),
            registry=CallerRegistry(database, key_ring),
        )
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join, _LONGEST_END)
        await database.close()
        listening.close()
        assert not thread.is_alive(), f"the broker did not end: {_under_way(loops[0])}"


def _under_way(loop: asyncio.AbstractEventLoop) -> str:
    """Return where every task of a loop stands."""
    stacks = io.StringIO()
    for task in asyncio.all_tasks(loop):
        task.print_stack(file=stacks)
    return stacks.getvalue()
