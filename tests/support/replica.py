"""A replica of the broker without its HTTP edge: the services of one process, on the database and the bank given."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from app.bank.circuit_breaker import Breaker
from app.base.encryption import KeyRing
from app.callers.authentication import Caller, CallerAuthenticator, Permission
from app.callers.registry import CallerRegistry
from app.concurrency.background_tasks import BackgroundTasks
from app.concurrency.shutdown import Stopping
from app.connections.disconnect import Disconnecting
from app.connections.revocation_worker import Revoker
from app.connections.service import Connections
from app.login.build import callback_services
from app.login.callback import Completion
from app.login.confirmation import Confirmations
from app.login.connect_links import ConnectLinks
from app.login.link_account import Linking
from app.login.return_urls import ReturnUrls
from app.login.sessions import LoginRequest, Logins
from app.login.token_response import Answers
from app.maintenance.housekeeping import Housekeeping
from app.oidc.authorization import parse_authorization_response
from app.oidc.authorization_url import FrontChannel
from app.oidc.back_channel import BackChannel
from app.oidc.client_authentication import ClientSecret
from app.oidc.provider import EndpointOverrides, Extensions, Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.transport import bank_client
from app.refresh.refresher import Refresher, Timing
from app.refresh.tokens import Tokens
from app.settings import is_acceptable_address
from app.spool.refreshes import Spool
from app.store.last_used import Usage
from app.store.postgresql.database import Database
from app.store.postgresql.notifications import Notifications
from app.store.sessions import Session
from app.webhooks.address_guard import AddressGuard
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.sending import webhook_client
from app.webhooks.service import Webhooks
from sandbox.browser import log_in_and_decide
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID, CLIENT_SECRET
from tests.support.clock import SteerableClock
from tests.support.eventually import eventually

BASE_URL = "http://127.0.0.1:8000"
SCOPES = ("openid", "accounts", "offline_access")
CALLER = Caller(
    id="cal_tests",
    tenant="default",
    name="tests",
    permissions=frozenset(Permission),
    key_id="key_tests",
    expires_at=None,
)
STRANGER = Caller(
    id="cal_stranger",
    tenant="elsewhere",
    name="stranger",
    permissions=frozenset(Permission),
    key_id="key_stranger",
    expires_at=None,
)


@dataclass(frozen=True)
class Replica:
    """The services, wired as `app.runtime` does it; housekeeping and dispatcher run only when a test calls them."""

    database: Database
    key_ring: KeyRing
    clock: SteerableClock
    notifications: Notifications
    tasks: BackgroundTasks
    usage: Usage
    stopping: Stopping
    provider: Provider
    token_endpoint: TokenEndpoint
    spool: Spool
    refresher: Refresher
    tokens: Tokens
    authenticator: CallerAuthenticator
    registry: CallerRegistry
    logins: Logins
    links: ConnectLinks
    linking: Linking
    answers: Answers
    completion: Completion
    confirmations: Confirmations
    connections: Connections
    revoker: Revoker
    disconnecting: Disconnecting
    housekeeping: Housekeeping
    webhooks: Webhooks
    dispatcher: Dispatcher

    async def start_login(
        self, *, user_id: str = "user-1", connection_id: str | None = None, require_confirmation: bool = False
    ) -> Session:
        """Start a session of CALLER's."""
        wanted = LoginRequest(user_id, connection_id=connection_id, require_confirmation=require_confirmation)
        return await self.logins.start(CALLER, wanted, None)

    def authorization_url(self, session: Session) -> str:
        """Return where the user is sent."""
        url = self.logins.links(session).authorization_url
        assert url is not None
        return url

    async def call_back(self, location: str, browser: str | None = None, new_browser: str = "new") -> Session:
        """Open the address that the bank redirects to, and return what became of the session."""
        response = parse_authorization_response(parse_qsl(urlsplit(location).query))
        return (await self.completion.receive(response, browser, new_browser))[0]

    async def log_in(
        self,
        bank: SandboxClient,
        *,
        username: str = "thandi",
        connection_id: str | None = None,
        require_confirmation: bool = False,
    ) -> Session:
        """Link an account from the start to the callback."""
        session = await self.start_login(connection_id=connection_id, require_confirmation=require_confirmation)
        return await self.call_back(await consent(bank, self.authorization_url(session), username=username))

    async def ended(self, session: Session, *, wait: float = 20) -> Session:
        """Return a session once it has ended."""
        return await self.logins.get(session.tenant, session.id, wait=wait)


_BANKS = {"thandi": "fnb", "johan": "standard_bank", "naledi": "capitec"}


async def consent(
    bank: SandboxClient, url: str, *, username: str = "thandi", decision: str = "allow", scopes: list[str] | None = None
) -> str:
    """Send a user through the bank's pages, and return the redirect that ends them."""
    return await log_in_and_decide(
        bank.http,
        url,
        bank=_BANKS[username],
        username=username,
        password=f"{username}-123",
        scopes=scopes,
        decision=decision,
    )


@asynccontextmanager
async def open_replica(
    *,
    database_url: SecretStr,
    issuer: str,
    spool: Path,
    key_ring: KeyRing,
    clock: SteerableClock,
    deadline: float = 5,
    lease: float = 10,
    cache_ttl: float = 5,
    patience: float = 10,
    longest_wait: float = 20,
    webhook_timeout: float = 2,
    listens: bool = True,
    overrides: EndpointOverrides | None = None,
    extensions: Extensions | None = None,
) -> AsyncIterator[Replica]:
    """Open a replica. Times are in seconds; one that does not listen hears nothing of the others."""
    async with AsyncExitStack() as stack:
        database = Database(database_url)
        stack.push_async_callback(database.close)
        notifications = Notifications(database)
        client = await stack.enter_async_context(bank_client())
        tasks, usage, stopping = BackgroundTasks(), Usage(), Stopping()
        provider = Provider(
            client,
            clock,
            issuer=issuer,
            overrides=overrides or EndpointOverrides(),
            extensions=extensions or Extensions(),
            timeout=5,
            is_allowed=is_acceptable_address,
        )
        authentication = ClientSecret(CLIENT_ID, SecretStr(CLIENT_SECRET), "client_secret_post")
        back_channel = BackChannel(client, provider, authentication, clock)
        token_endpoint = TokenEndpoint(back_channel)
        front_channel = FrontChannel(back_channel, client_id=CLIENT_ID, timeout=5)
        kept = Spool(spool, key_ring)
        refresher = Refresher(
            database=database,
            key_ring=key_ring,
            provider=provider,
            token_endpoint=token_endpoint,
            spool=kept,
            breaker=Breaker(clock),
            clock=clock,
            timing=Timing(deadline=deadline, lease=lease),
        )
        tokens = Tokens(
            database=database,
            key_ring=key_ring,
            notifications=notifications,
            refresher=refresher,
            tasks=tasks,
            usage=usage,
            clock=clock,
            cache_ttl=cache_ttl,
            longest_wait=longest_wait,
        )
        callback = callback_services(
            database=database,
            key_ring=key_ring,
            provider=provider,
            token_endpoint=token_endpoint,
            client_id=CLIENT_ID,
            spool=spool,
            tasks=tasks,
            clock=clock,
            patience=patience,
        )
        revoker = Revoker(database=database, key_ring=key_ring, token_endpoint=token_endpoint)
        authenticator = CallerAuthenticator(database, key_ring, usage, clock, cache_ttl=cache_ttl)
        guard = AddressGuard(("127.0.0.0/8",))

        def heed(topic: str | None) -> None:
            kind, _, identifier = (topic or "").partition(":")
            if topic is None:
                tokens.forget_all()
                authenticator.forget_all()
            elif kind == "connection":
                tokens.forget(identifier)
            elif kind == "caller":
                authenticator.forget(identifier)

        notifications.observe(heed)
        if listens:
            await stack.enter_async_context(running(notifications))
        stack.push_async_callback(tasks.drain, 0)
        yield Replica(
            database=database,
            key_ring=key_ring,
            clock=clock,
            notifications=notifications,
            tasks=tasks,
            usage=usage,
            stopping=stopping,
            provider=provider,
            token_endpoint=token_endpoint,
            spool=kept,
            refresher=refresher,
            tokens=tokens,
            authenticator=authenticator,
            registry=CallerRegistry(database, key_ring),
            logins=Logins(
                database=database,
                key_ring=key_ring,
                notifications=notifications,
                stopping=stopping,
                front_channel=front_channel,
                return_urls=ReturnUrls((f"{BASE_URL}/done", "https://shop.example/*")),
                clock=clock,
                base_url=BASE_URL,
                scopes=SCOPES,
                session_ttl=900,
            ),
            links=ConnectLinks(database=database, key_ring=key_ring, front_channel=front_channel, clock=clock),
            linking=callback.linking,
            answers=callback.answers,
            completion=callback.completion,
            confirmations=callback.confirmations,
            connections=Connections(database=database, tokens=tokens),
            revoker=revoker,
            disconnecting=Disconnecting(database=database, key_ring=key_ring, revoker=revoker, tasks=tasks),
            housekeeping=Housekeeping(
                database=database,
                completion=callback.completion,
                confirmations=callback.confirmations,
                revoker=revoker,
                tasks=tasks,
                usage=usage,
            ),
            webhooks=Webhooks(database=database, key_ring=key_ring, guard=guard),
            dispatcher=Dispatcher(
                database=database,
                key_ring=key_ring,
                notifications=notifications,
                stopping=stopping,
                tasks=tasks,
                client=await stack.enter_async_context(webhook_client(guard)),
                clock=clock,
                timeout=webhook_timeout,
            ),
        )


@asynccontextmanager
async def running(notifications: Notifications) -> AsyncIterator[None]:
    """Listen for as long as the block, and from its beginning on."""

    async def connected() -> bool:
        return notifications.are_heard

    task = asyncio.create_task(notifications.run())
    try:
        await eventually(connected)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
