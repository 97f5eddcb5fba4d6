"""Long polling: waits for a change on behalf of a client that may disconnect meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from app.store.postgresql.notifications import Notifications, wait_for_event

ShouldContinue: TypeAlias = Callable[[], Awaitable[bool]]
_CLIENT_CHECK_INTERVAL_SECONDS = 1.0
# The caller reads the database again after this time even without a notification, and sooner if none can arrive.
_POLL_INTERVAL_SECONDS = 2.0
_POLL_INTERVAL_WITHOUT_NOTIFICATIONS_SECONDS = 1.0


async def wait_for_change(
    notifications: Notifications, changed: asyncio.Event, seconds: float, should_continue: ShouldContinue | None
) -> bool:
    """Wait for `changed`, for at most `seconds`, and return whether to look again. False if the client is gone.

    `should_continue` is called once a second, and may raise.
    """
    poll_interval = (
        _POLL_INTERVAL_SECONDS if notifications.is_listening else _POLL_INTERVAL_WITHOUT_NOTIFICATIONS_SECONDS
    )
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(seconds, poll_interval)
    while not changed.is_set() and (remaining := deadline - loop.time()) > 0:
        await wait_for_event(changed, min(remaining, _CLIENT_CHECK_INTERVAL_SECONDS))
        if should_continue is not None and not await should_continue():
            return False
    return True
