"""A replica of the broker without its HTTP interface: the services of one process, on a given database and bank."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from app.bank.bank import open_bank
from app.base.encryption import KeyRing
from app.callers.admission import Admission
from app.callers.authentication import Caller
from app.callers.permissions import Permission
from app.concurrency.background_tasks import BackgroundTasks
from app.concurrency.shutdown import ShutdownSignal
from app.core import Core
from app.login.sessions import LoginRequest
from app.oidc.authorization_response import parse_authorization_response
from app.oidc.provider import CacheTimes
from app.oidc.transport import bank_client
from app.runtime import Runtime, RuntimeOptions, build_runtime
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.notifications import Notifications
from app.store.sessions import Session
from app.webhooks.dispatcher import DispatchTimes
from sandbox.browser import log_in_and_decide
from sandbox.client import SandboxClient
from tests.support.clock import AdjustableClock
from tests.support.eventually import eventually
from tests.support.settings import PUBLIC_URL, settings_for

BASE_URL = PUBLIC_URL
SCOPES = ("openid", "accounts", "offline_access")
# Long waits, so that a busy machine decides no test, and short pauses between deliveries.
OPTIONS = RuntimeOptions(
    browser_timeout=20,
    refresh_wait=20,
    dispatch_times=DispatchTimes(polling=0.1, after_error=0.1, initial_backoff=0.02, max_backoff=0.05),
)
# The browser gets a page at once, while the login continues.
IMPATIENT_BROWSER = replace(OPTIONS, browser_timeout=0)


class AlwaysAdmitted(Admission):
    """A caller that is in no database and always admitted."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def confirm(self, transaction: Transaction | None = None) -> None:
        """Do nothing."""


def caller_of(tenant: str, name: str = "tests") -> AlwaysAdmitted:
    """Return a caller that has all permissions in a tenant."""
    return AlwaysAdmitted(Caller(f"cal_{name}", tenant, name, frozenset(Permission), f"key_{name}", None))


CALLER = caller_of("default")
STRANGER = caller_of("elsewhere", "stranger")


@dataclass(frozen=True)
class Replica(Runtime):
    """A runtime in which only the notifications run by themselves, with shortcuts through a login."""

    @property
    def clock(self) -> AdjustableClock:
        """The clock, which the test can advance."""
        assert isinstance(self.core.clock, AdjustableClock)
        return self.core.clock

    async def start_login(
        self, *, user_id: str = "user-1", connection_id: str | None = None, require_confirmation: bool = False
    ) -> Session:
        """Start a session for CALLER."""
        request = LoginRequest(user_id, connection_id=connection_id, require_confirmation=require_confirmation)
        return await self.login.sessions.start(CALLER, request, None)

    def authorization_url(self, session: Session) -> str:
        """Return the address at the bank to which the user is sent."""
        url = self.login.sessions.links(session).authorization_url
        assert url is not None
        return url

    async def call_back(self, location: str, browser: str | None = None, new_browser: str = "new") -> Session:
        """Open the address to which the bank redirects, and return the session afterwards."""
        response = parse_authorization_response(parse_qsl(urlsplit(location).query))
        return (await self.login.callback.receive(response, browser, new_browser))[0]

    async def log_in(
        self,
        bank: SandboxClient,
        *,
        username: str = "thandi",
        connection_id: str | None = None,
        require_confirmation: bool = False,
    ) -> Session:
        """Link an account, from the start of the session to the callback."""
        session = await self.start_login(connection_id=connection_id, require_confirmation=require_confirmation)
        return await self.call_back(await consent(bank, self.authorization_url(session), username=username))

    async def ended(self, session: Session, *, wait: float = 20) -> Session:
        """Return a session once it has ended."""
        return await self.login.sessions.get(caller_of(session.tenant), session.id, wait=wait)


_BANKS = {"thandi": "fnb", "johan": "standard_bank", "naledi": "capitec"}


async def consent(
    bank: SandboxClient, url: str, *, username: str = "thandi", decision: str = "allow", scopes: list[str] | None = None
) -> str:
    """Send a user through the bank's pages, and return the address to which the bank redirects."""
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
    data_dir: Path,
    key_ring: KeyRing,
    clock: AdjustableClock,
    options: RuntimeOptions = OPTIONS,
    listens: bool = True,
    **changes: Any,
) -> AsyncIterator[Replica]:
    """Open a replica; `changes` are settings. Unless it `listens`, it gets no notifications from other replicas."""
    values = {
        "stitch_scopes": SCOPES,
        "stitch_par": "auto",
        "refresh_deadline": 5,
        "refresh_lease": 10,
        "webhook_timeout": 2,
        "bank_timeout": 5,
        **changes,
    }
    settings = settings_for(issuer, database_url, data_dir, **values)
    async with AsyncExitStack() as stack:
        database = Database(database_url)
        stack.push_async_callback(database.close)
        notifications, tasks = Notifications(database), BackgroundTasks()
        core = Core(database, key_ring, clock, notifications, tasks, ShutdownSignal())
        http = await stack.enter_async_context(bank_client())
        bank = await stack.enter_async_context(open_bank(settings, http, clock, cache_times=CacheTimes(min_keys_age=0)))
        runtime = await stack.enter_async_context(build_runtime(core, bank, settings, http, options))
        if listens:
            await stack.enter_async_context(running(notifications))
        stack.push_async_callback(tasks.drain, 0)
        yield Replica(**{field.name: getattr(runtime, field.name) for field in fields(Runtime)})


@asynccontextmanager
async def running(notifications: Notifications) -> AsyncIterator[None]:
    """Listen for notifications during the block."""

    async def is_listening() -> bool:
        return notifications.is_listening

    task = asyncio.create_task(notifications.run())
    try:
        await eventually(is_listening)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
