"""A broker that uvicorn serves over HTTP, in a thread of this process, so that its coverage is measured."""

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
# A broker that takes longer to stop hangs.
_STOP_TIMEOUT_SECONDS = 60.0
# To create a TLS context is most of the cost of a client, and no test uses TLS.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Api(httpx.AsyncClient):
    """The HTTP client of one caller."""

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
        """The tenant of the caller."""
        return self.caller.tenant

    async def start(self, **request: Any) -> dict[str, Any]:
        """Start a session."""
        response = await self.post("/v1/sessions", json={"user_id": "user-1", **request})
        assert response.status_code == 201, response.text
        session: dict[str, Any] = response.json()
        return session

    async def session(self, session_id: str, *, wait: int = 0) -> dict[str, Any]:
        """Return a session."""
        return await self._get_json(f"/v1/sessions/{session_id}?wait={wait}")

    async def connection(self, connection_id: str) -> dict[str, Any]:
        """Return a connection."""
        return await self._get_json(f"/v1/connections/{connection_id}")

    async def query(
        self, connection_id: str, query: str = "{ user { id } }", *, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """Send a GraphQL request."""
        return await self.post(
            f"/v1/connections/{connection_id}/graphql", json={"query": query, **more}, headers=headers
        )

    async def _get_json(self, path: str) -> dict[str, Any]:
        response = await self.get(path)
        assert response.status_code == 200, response.text
        content: dict[str, Any] = response.json()
        return content


class Browser(httpx.AsyncClient):
    """A user's browser: keeps cookies, follows no redirects, and reaches the broker by its public URL.

    Each request has the headers of a navigation by the user.
    """

    def __init__(self, url: str, public_url: str) -> None:
        super().__init__(base_url=url, headers=NAVIGATION_HEADERS, verify=NO_TLS, timeout=30)
        self._public_url = public_url.rstrip("/")

    async def open(self, url: str, **options: Any) -> httpx.Response:
        """Open a URL below PUBLIC_URL."""
        assert url.startswith(f"{self._public_url}/")
        return await self.get(url.removeprefix(self._public_url), **options)


@dataclass(frozen=True)
class Broker:
    """A running broker. `rows` works directly on its database."""

    url: str
    settings: Settings
    database: Database
    rows: Rows
    registry: CallerRegistry

    async def sign_up(
        self, tenant: str | None = None, permissions: Collection[str] = EVERYTHING, name: str | None = None
    ) -> Api:
        """Create a caller, in a new tenant unless one is named."""
        caller, api_key = await self.registry.create(
            tenant=tenant or new_id("tenant"),
            name=name or new_id("caller"),
            permissions=list(permissions),
            actor="tests",
        )
        return Api(self.url, caller, api_key)

    def new_browser(self) -> Browser:
        """Return a browser without cookies."""
        return Browser(self.url, self.settings.public_url)

    @property
    def host(self) -> tuple[str, int]:
        """The host and port that it listens on."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port


@asynccontextmanager
async def served(settings: Settings, options: RuntimeOptions = RuntimeOptions()) -> AsyncIterator[Broker]:
    """Serve a broker on a free port, as `broker serve` does, in a thread with its own event loop."""
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
        await asyncio.to_thread(thread.join, _STOP_TIMEOUT_SECONDS)
        await database.close()
        listening.close()
        assert not thread.is_alive(), f"the broker did not stop: {_stacks(loops[0])}"


def _stacks(loop: asyncio.AbstractEventLoop) -> str:
    """Return the stack of every task of an event loop."""
    stacks = io.StringIO()
    for task in asyncio.all_tasks(loop):
        task.print_stack(file=stacks)
    return stacks.getvalue()
