"""Makes sure that each version is refreshed once, however many requests notice that its token has expired.

Within a process all of them share one task. Across replicas one wins the claim, and the others wait for its result.
"""

import asyncio

from app.core import Core
from app.errors import BankTimeout, BrokerError, Conflict, ReauthorizationRequired
from app.observability.metrics import REFRESH_WAIT_SECONDS
from app.observability.tracing import child_span
from app.refresh.connection_cache import MAX_CACHED_CONNECTIONS, CachedConnection, ConnectionCache, UsableToken
from app.refresh.refresher import Refresher, error_of
from app.store import audit
from app.store.bank_clients import invalid_grant_storm
from app.store.connections import (
    ConnectionWithTokens,
    change_connection,
    erase_tokens,
    lock_connection,
    publish_connection_event,
)
from app.store.enums import ConnectionStatus, EventType, RefreshCause, RefreshOutcome
from app.store.postgresql.database import ForTenant
from app.store.postgresql.notifications import connection_topic, wait_for_event
from app.store.refresh_attempts import count_recent_rejections

# How often a replica looks for the result of another one, in case it misses the notification, in seconds.
_POLL_INTERVAL = 1.0
_LOST_CLAIM_PAUSE = 0.2  # seconds
# If the bank rejects every new token, refreshing goes on no faster than this: each refresh is a banking session.
_MAX_REJECTIONS, _REJECTIONS_WINDOW_SECONDS = 5, 60.0


class RefreshCoordinator:
    """Starts refreshes, and lets concurrent requests wait for the same one."""

    def __init__(self, core: Core, *, connections: ConnectionCache, refresher: Refresher, max_wait: float) -> None:
        """`max_wait`: how many seconds a request waits for a refresh."""
        self._database = core.database
        self._notifications = core.notifications
        self._tasks = core.tasks
        self._connections = connections
        self._refresher = refresher
        self._max_wait = max_wait
        self._tasks_by_version: dict[tuple[str, str, int], asyncio.Task[CachedConnection | None]] = {}
        # The latest version of each connection the bank has accepted. If it rejects that one, it has expired.
        self._accepted: dict[str, int] = {}

    def record_acceptance(self, token: UsableToken) -> None:
        """Note that the bank accepted a token that replaced a rejected one."""
        if len(self._accepted) >= MAX_CACHED_CONNECTIONS:
            del self._accepted[next(iter(self._accepted))]
        self._accepted[token.connection_id] = max(token.version, self._accepted.get(token.connection_id, 0))

    async def refresh_once(
        self, tenant: str, connection_id: str, version: int, cause: RefreshCause
    ) -> CachedConnection | None:
        """Return the connection once it has a later version; None if refreshing it again would not help.

        Raises what `ConnectionCache.get` raises, BankError, Conflict or DatabaseUnavailable.
        """
        key = (tenant, connection_id, version)
        task = self._tasks_by_version.get(key)
        if task is None:
            work = self._until_refreshed(tenant, connection_id, version, cause)
            task = self._tasks_by_version[key] = self._tasks.spawn(work, f"refresh of {connection_id}")
            task.add_done_callback(lambda _: self._tasks_by_version.pop(key, None))
        with REFRESH_WAIT_SECONDS.time(), child_span("wait for refresh"):
            try:
                async with asyncio.timeout(self._max_wait):
                    return await asyncio.shield(task)
            except TimeoutError as error:
                raise refresh_under_way() from error

    async def _until_refreshed(
        self, tenant: str, connection_id: str, version: int, cause: RefreshCause
    ) -> CachedConnection | None:
        """Win the claim and refresh, or wait until the replica that holds it has refreshed or lost it."""
        async with self._notifications.subscribed(connection_topic(connection_id)) as changed:
            while True:
                changed.clear()
                self._connections.invalidate(connection_id)
                connection = await self._connections.get(tenant, connection_id)
                held = connection.row
                if held.connection.version != version:
                    return connection
                if not held.connection.refreshable:
                    if held.seconds_left > 0 and cause is not RefreshCause.REJECTED:
                        raise not_refreshable()
                    await self._end_unrefreshable(tenant, connection_id, version)
                if held.seconds_until_retry > 0:
                    raise _last_error(held)
                if held.seconds_leased > 0:
                    await wait_for_event(changed, min(_POLL_INTERVAL, held.seconds_leased))
                    continue
                if cause is RefreshCause.REJECTED and await self._is_rejected_repeatedly(
                    tenant, connection_id, version
                ):
                    return None
                claim = await self._refresher.claim(
                    tenant=tenant, connection_id=connection_id, version=version, cause=cause
                )
                if claim is None:
                    await wait_for_event(changed, _LOST_CLAIM_PAUSE)
                else:
                    await self._refresher.carry_out(claim)

    async def _is_rejected_repeatedly(self, tenant: str, connection_id: str, version: int) -> bool:
        if self._accepted.get(connection_id) == version:
            return False
        async with self._database.transaction(ForTenant(tenant)) as transaction:
            recent = await count_recent_rejections(transaction, connection_id, _REJECTIONS_WINDOW_SECONDS)
        return recent >= _MAX_REJECTIONS

    async def _end_unrefreshable(self, tenant: str, connection_id: str, version: int) -> None:
        """End a connection whose access token has expired and that has no refresh token.

        Raises ReauthorizationRequired, unless the connection has changed meanwhile.
        """
        async with self._database.transaction(ForTenant(tenant)) as transaction:
            connection = await lock_connection(transaction, tenant, connection_id)
            if connection is None or (connection.version, connection.status) != (version, ConnectionStatus.ACTIVE):
                return
            await erase_tokens(transaction, connection_id)
            await change_connection(
                transaction,
                connection_id,
                status=ConnectionStatus.REAUTHORIZATION_REQUIRED,
                reauthorization_reason="not_refreshable",
                access_token_expires_at=None,
            )
            await publish_connection_event(
                transaction,
                EventType.CONNECTION_REAUTHORIZATION_REQUIRED,
                connection,
                version=version,
                reason="not_refreshable",
            )
            await audit.record(
                transaction, "connection.reauthorization_required", of=connection, reason="not_refreshable"
            )
        raise ReauthorizationRequired(
            "the access token has expired and the user did not grant offline_access; "
            "start a session with this connection_id"
        )


def _last_error(held: ConnectionWithTokens) -> BrokerError:
    """Return the error of the last attempt, for requests that come before the next one."""
    failure = held.connection.last_failure
    if failure == RefreshOutcome.INVALID_GRANT_STORM:
        return invalid_grant_storm(held.seconds_until_retry)
    detail = (
        "the bank did not answer the last refresh; it is tried again once that one can no longer be running"
        if failure == RefreshOutcome.UNKNOWN
        else f"the last refresh failed ({failure}); it is tried again later"
    )
    return error_of(failure)(detail, retry_after=held.seconds_until_retry)


def refresh_under_way() -> BankTimeout:
    """Return the error for a request that has waited for a refresh as long as it may."""
    return BankTimeout("the refresh is still running; try again", code="refresh_under_way", retry_after=2)


def not_refreshable() -> Conflict:
    """Return the error for a connection without a refresh token."""
    return Conflict("the user did not grant offline_access, so there is no refresh token", code="not_refreshable")
