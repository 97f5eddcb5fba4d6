"""A usable token for a connection: remembered, read, waited for, or refreshed, in that order.

However many calls notice at once that a token has expired, one refresh happens: within the process they share one
task, and across replicas one of them wins the claim while the others wait for its result.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import SecretStr

from app.clock import Clock
from app.encryption import KeyRing
from app.errors import (
    BankError,
    BankTimeout,
    BrokerError,
    Conflict,
    ConnectionNotFound,
    ConnectionNotReady,
    ConnectionRevoked,
    DatabaseUnavailable,
    ReauthorizationRequired,
)
from app.metrics import REFRESH_WAIT_SECONDS
from app.services.background import BackgroundTasks
from app.services.memory import Memory
from app.services.refresh import Refresher
from app.services.usage import Usage
from app.store import audit
from app.store.connections import ConnectionStatus, Held, change_connection, erase_tokens, hold, lock_connection
from app.store.database import Database
from app.store.notifications import Notifications, connection_topic, wait_for
from app.store.refreshes import Outcome, rejections_within
from app.wire import HeaderLines, header_lines

# Product: a token with less than this is refreshed before it is used. Seconds.
MARGIN = 30.0
_MEMORY_SIZE = 20_000
_POLL = 1.0
_PAUSE = 0.2
# A bank that refuses each new token must not be asked for ever more of them.
_MOST_REJECTIONS, _REJECTIONS_WINDOW = 5, 60.0


class Cause(StrEnum):
    """Why a refresh was asked for."""

    EXPIRED = "expired"
    REJECTED = "rejected"
    REQUESTED = "requested"


@dataclass(frozen=True, slots=True)
class UsableToken:
    """An access token that the bank should accept. `good_until` is on this process's monotonic clock."""

    connection_id: str
    version: int
    scopes: list[str]
    expires_at: datetime | None
    lifetime: int
    good_until: float
    access_token: SecretStr = field(repr=False)
    authorization: HeaderLines = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of a connection, and its token made ready, once for all queries that use it."""

    held: Held
    token: UsableToken | None


class Tokens:
    """Gives out access tokens, and knows when one must be refreshed first."""

    def __init__(
        self,
        *,
        database: Database,
        key_ring: KeyRing,
        notifications: Notifications,
        refresher: Refresher,
        tasks: BackgroundTasks,
        usage: Usage,
        clock: Clock,
        cache_ttl: float,
        longest_wait: float,
    ) -> None:
        self._database = database
        self._key_ring = key_ring
        self._notifications = notifications
        self._refresher = refresher
        self._tasks = tasks
        self._usage = usage
        self._clock = clock
        self._longest_wait = longest_wait
        self._memory: Memory[str, _Known] = Memory(lifetime=cache_ttl, size=_MEMORY_SIZE, clock=clock)
        self._under_way: dict[tuple[str, str, int], asyncio.Task[_Known | None]] = {}

    async def usable(self, tenant: str, connection_id: str, *, min_ttl: float = 0.0) -> UsableToken:
        """Return a token with enough time left, refreshing it where needed.

        Raises ConnectionNotFound, ConnectionNotReady, ConnectionRevoked, ReauthorizationRequired, BankError or
        DatabaseUnavailable. While the bank cannot refresh, a token that is still good is given out all the same.
        """
        known = await self._known(tenant, connection_id)
        token = _token(known)
        if not self._has_enough(token, min_ttl):
            known = await self._refresh_or_keep(tenant, known)
            token = _token(known)
        self._usage.connection_used(connection_id)
        return token

    async def instead_of(self, tenant: str, rejected: UsableToken) -> UsableToken | None:
        """Return the successor of a token that the bank has refused; None where there shall be none.

        N calls that report the same version make one refresh. Raises as `usable` does.
        """
        known: _Known | None = await self._known(tenant, rejected.connection_id)
        if known is not None and known.held.connection.version <= rejected.version:
            known = await self._refreshed(tenant, rejected.connection_id, rejected.version, Cause.REJECTED)
        return _token(known) if known is not None else None

    async def refresh(self, tenant: str, connection_id: str, version: int | None) -> None:
        """Refresh on request; with `version`, only if that is still the current one. Raises as `usable` does."""
        self.forget(connection_id)
        known = await self._known(tenant, connection_id)
        current = known.held.connection.version
        if version is None or version == current:
            await self._refreshed(tenant, connection_id, current, Cause.REQUESTED)

    def forget(self, connection_id: str) -> None:
        """Read the connection again at its next use."""
        self._memory.forget(connection_id)

    def forget_all(self) -> None:
        """Read every connection again."""
        self._memory.forget_all()

    async def _known(self, tenant: str, connection_id: str) -> _Known:
        known = self._memory.get(connection_id)
        if known is None:
            known = await self._memory.read(connection_id, lambda: self._read(connection_id))
        # What is remembered serves every tenant's calls, and is another tenant's for all but one of them.
        if known.held.connection.tenant != tenant:
            raise ConnectionNotFound("there is no such connection")
        _check_usable(known.held)
        return known

    async def _read(self, connection_id: str) -> _Known:
        read_at = self._clock.monotonic()
        async with self._database.transaction() as transaction:
            held = await hold(transaction, self._key_ring, connection_id)
        if held is None:
            raise ConnectionNotFound("there is no such connection")
        return _Known(held, _usable(held, read_at))

    def _has_enough(self, token: UsableToken, min_ttl: float) -> bool:
        # A token of short life would otherwise never have enough, and each use would cost the user a refresh.
        margin = min(MARGIN, token.lifetime / 2)
        wanted = max(margin, min(min_ttl, token.lifetime - margin))
        return token.good_until - self._clock.monotonic() >= wanted

    async def _refresh_or_keep(self, tenant: str, known: _Known) -> _Known:
        """Refresh; where the bank cannot, keep a token that is still good."""
        connection = known.held.connection
        is_good = _token(known).good_until > self._clock.monotonic()
        if is_good and not connection.refreshable:
            return known
        try:
            return await self._refreshed(tenant, connection.id, connection.version, Cause.EXPIRED) or known
        except (BankError, DatabaseUnavailable):
            if _token(known).good_until > self._clock.monotonic():
                return known
            raise

    async def _refreshed(self, tenant: str, connection_id: str, version: int, cause: Cause) -> _Known | None:
        """Return the connection once it has moved on from `version`; None where it shall not."""
        key = (tenant, connection_id, version)
        task = self._under_way.get(key)
        if task is None:
            work = self._until_moved_on(tenant, connection_id, version, cause)
            task = self._under_way[key] = self._tasks.spawn(work, f"refresh of {connection_id}")
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        with REFRESH_WAIT_SECONDS.time():
            try:
                async with asyncio.timeout(self._longest_wait):
                    return await asyncio.shield(task)
            except TimeoutError as error:
                raise BankTimeout(
                    "the refresh has not ended yet; it goes on, so try again", code="refresh_under_way", retry_after=2
                ) from error

    async def _until_moved_on(self, tenant: str, connection_id: str, version: int, cause: Cause) -> _Known | None:
        """Win the claim and refresh, or wait until whoever holds it has done so or lost it."""
        async with self._notifications.subscribed(connection_topic(connection_id)) as changed:
            while True:
                changed.clear()
                self.forget(connection_id)
                known = await self._known(tenant, connection_id)
                held = known.held
                if held.connection.version != version:
                    return known
                if not held.connection.refreshable:
                    if held.seconds_left > 0 and cause is not Cause.REJECTED:
                        raise Conflict("the user did not grant offline_access: no refresh", code="not_refreshable")
                    await self._end_unrefreshable(tenant, connection_id, version)
                if held.seconds_until_retry > 0:
                    raise _backing_off(held)
                if held.seconds_leased > 0:
                    await wait_for(changed, min(_POLL, held.seconds_leased))
                    continue
                if cause is Cause.REJECTED and await self._is_refused_again_and_again(connection_id):
                    return None
                claim = await self._refresher.claim(
                    tenant=tenant, connection_id=connection_id, version=version, cause=cause
                )
                if claim is None:
                    await wait_for(changed, _PAUSE)
                else:
                    await self._refresher.carry_out(claim)

    async def _is_refused_again_and_again(self, connection_id: str) -> bool:
        async with self._database.transaction() as transaction:
            recent = await rejections_within(transaction, connection_id, _REJECTIONS_WINDOW)
        return recent >= _MOST_REJECTIONS

    async def _end_unrefreshable(self, tenant: str, connection_id: str, version: int) -> None:
        """Without a refresh token, the end of the access token is the end of the consent. Raises always."""
        async with self._database.transaction() as transaction:
            connection = await lock_connection(transaction, tenant, connection_id)
            if connection and connection.version == version and connection.status is ConnectionStatus.ACTIVE:
                await erase_tokens(transaction, connection_id)
                await change_connection(
                    transaction,
                    connection_id,
                    status=ConnectionStatus.REAUTHORIZATION_REQUIRED,
                    reauthorization_reason="not_refreshable",
                    access_token_expires_at=None,
                )
                await audit.record(
                    transaction,
                    tenant=tenant,
                    actor=audit.BROKER,
                    action="connection.reauthorization_required",
                    connection_id=connection_id,
                    reason="not_refreshable",
                )
        raise ReauthorizationRequired(
            "the access token has expired and the user did not grant offline_access; "
            "start a session with this connection_id"
        )


def _usable(held: Held, read_at: float) -> UsableToken | None:
    if held.tokens is None:
        return None
    access_token = held.tokens.access_token
    return UsableToken(
        connection_id=held.connection.id,
        version=held.connection.version,
        scopes=held.connection.scopes,
        expires_at=held.connection.access_token_expires_at,
        lifetime=held.connection.access_token_lifetime,
        good_until=read_at + held.seconds_left,
        access_token=access_token,
        authorization=header_lines([(b"authorization", b"Bearer " + access_token.get_secret_value().encode())]),
    )


def _token(known: _Known) -> UsableToken:
    # Whatever has passed `_check_usable` has tokens.
    assert known.token is not None
    return known.token


def _check_usable(held: Held) -> None:
    status = held.connection.status
    if status is ConnectionStatus.PENDING_CONFIRMATION:
        raise ConnectionNotReady("the link awaits its confirmation; POST /v1/sessions/{id}/confirm")
    if status is ConnectionStatus.REVOKED:
        raise ConnectionRevoked("the connection was disconnected; link the account anew")
    if status is ConnectionStatus.REAUTHORIZATION_REQUIRED:
        raise ReauthorizationRequired(
            f"the user must consent again ({held.connection.reauthorization_reason}); "
            "start a session with this connection_id"
        )


def _backing_off(held: Held) -> BrokerError:
    """Return the error that the last attempt ended with, for those who come before the next one."""
    seconds, failure = held.seconds_until_retry, held.connection.last_failure
    code = f"refresh_{failure}"
    if failure == Outcome.UNKNOWN:
        return BankTimeout(
            "the bank did not answer a refresh, which is tried again when it can no longer be under way",
            code=code,
            retry_after=seconds,
        )
    return BankError(f"the last refresh failed ({failure}) and is tried again later", code=code, retry_after=seconds)
