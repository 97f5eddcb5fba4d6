"""One refresh, however many want it.

However many calls notice at once that a token has expired, one refresh happens: within the process they share one
task, and across replicas one of them wins the claim while the others wait for its result.
"""

import asyncio

from app.core import Core
from app.errors import BankTimeout, BrokerError, Conflict, ReauthorizationRequired
from app.observability.metrics import REFRESH_WAIT_SECONDS
from app.observability.tracing import child_span
from app.refresh.connection_cache import MOST_REMEMBERED, CachedConnection, ConnectionCache, UsableToken
from app.refresh.refresher import Refresher, failure_of
from app.store import audit
from app.store.connections import (
    ConnectionWithTokens,
    change_connection,
    erase_tokens,
    lock_connection,
    publish_connection_event,
)
from app.store.enums import ConnectionStatus, EventType, RefreshCause, RefreshOutcome
from app.store.postgresql.database import ForTenant
from app.store.postgresql.notifications import connection_topic, wait_for
from app.store.refresh_attempts import rejections_within

_POLL = 1.0
_PAUSE = 0.2
# A bank that refuses each new token must not be asked for ever more of them.
_MOST_REJECTIONS, _REJECTIONS_WINDOW = 5, 60.0


class RefreshCoordinator:
    """Has connections refreshed, and lets all who want it wait for the same end."""

    def __init__(self, core: Core, *, connections: ConnectionCache, refresher: Refresher, longest_wait: float) -> None:
        """`longest_wait`: the seconds after which who waits is told to come again."""
        self._database = core.database
        self._notifications = core.notifications
        self._tasks = core.tasks
        self._connections = connections
        self._refresher = refresher
        self._longest_wait = longest_wait
        self._under_way: dict[tuple[str, str, int], asyncio.Task[CachedConnection | None]] = {}
        # The latest version of each connection that the bank first took: what it refuses of these has expired since.
        self._accepted: dict[str, int] = {}

    def was_accepted(self, token: UsableToken) -> None:
        """Note that the bank took a token, given in place of one that it had refused."""
        if len(self._accepted) >= MOST_REMEMBERED:
            del self._accepted[next(iter(self._accepted))]
        self._accepted[token.connection_id] = max(token.version, self._accepted.get(token.connection_id, 0))

    async def refreshed(
        self, tenant: str, connection_id: str, version: int, cause: RefreshCause
    ) -> CachedConnection | None:
        """Return the connection once it has moved on from `version`; None where it shall not.

        Raises what `ConnectionCache.get` raises, BankError, Conflict or DatabaseUnavailable.
        """
        key = (tenant, connection_id, version)
        task = self._under_way.get(key)
        if task is None:
            work = self._until_moved_on(tenant, connection_id, version, cause)
            task = self._under_way[key] = self._tasks.spawn(work, f"refresh of {connection_id}")
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        with REFRESH_WAIT_SECONDS.time(), child_span("wait for refresh"):
            try:
                async with asyncio.timeout(self._longest_wait):
                    return await asyncio.shield(task)
            except TimeoutError as error:
                raise BankTimeout(
                    "the refresh has not ended yet; it goes on, so try again", code="refresh_under_way", retry_after=2
                ) from error

    async def _until_moved_on(
        self, tenant: str, connection_id: str, version: int, cause: RefreshCause
    ) -> CachedConnection | None:
        """Win the claim and refresh, or wait until whoever holds it has done so or lost it."""
        async with self._notifications.subscribed(connection_topic(connection_id)) as changed:
            while True:
                changed.clear()
                self._connections.forget(connection_id)
                known = await self._connections.get(tenant, connection_id)
                held = known.held
                if held.connection.version != version:
                    return known
                if not held.connection.refreshable:
                    if held.seconds_left > 0 and cause is not RefreshCause.REJECTED:
                        raise Conflict("the user did not grant offline_access: no refresh", code="not_refreshable")
                    await self._end_unrefreshable(tenant, connection_id, version)
                if held.seconds_until_retry > 0:
                    raise _backing_off(held)
                if held.seconds_leased > 0:
                    await wait_for(changed, min(_POLL, held.seconds_leased))
                    continue
                if cause is RefreshCause.REJECTED and await self._is_refused_again_and_again(
                    tenant, connection_id, version
                ):
                    return None
                claim = await self._refresher.claim(
                    tenant=tenant, connection_id=connection_id, version=version, cause=cause
                )
                if claim is None:
                    await wait_for(changed, _PAUSE)
                else:
                    await self._refresher.carry_out(claim)

    async def _is_refused_again_and_again(self, tenant: str, connection_id: str, version: int) -> bool:
        if self._accepted.get(connection_id) == version:
            return False
        async with self._database.transaction(ForTenant(tenant)) as transaction:
            recent = await rejections_within(transaction, connection_id, _REJECTIONS_WINDOW)
        return recent >= _MOST_REJECTIONS

    async def _end_unrefreshable(self, tenant: str, connection_id: str, version: int) -> None:
        """End the consent with its access token, as there is no refresh token. Raises ReauthorizationRequired.

        Where the connection has moved on meanwhile, nothing happens.
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


def _backing_off(held: ConnectionWithTokens) -> BrokerError:
    """Return the error that the last attempt ended with, for those who come before the next one."""
    failure = held.connection.last_failure
    detail = (
        "the bank did not answer a refresh, which is tried again when it can no longer be under way"
        if failure == RefreshOutcome.UNKNOWN
        else f"the last refresh failed ({failure}) and is tried again later"
    )
    return failure_of(failure)(detail, retry_after=held.seconds_until_retry)
