"""Waiting for what somebody else does, for somebody who may go away meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from app.store.postgresql.notifications import Notifications, wait_for

StillWanted: TypeAlias = Callable[[], Awaitable[bool]]
# How often the one who waits is looked after; how often the database is asked, though nothing was heard of a change,
# and how often where nothing would be. Seconds.
_SLICE = 1.0
_POLL_HEARING, _POLL_DEAF = 2.0, 1.0


async def wait_for_change(
    notifications: Notifications, changed: asyncio.Event, seconds: float, still_wanted: StillWanted | None
) -> bool:
    """Wait for `changed`, at most `seconds`, and tell whether it is still worth a look at what has become of it.

    `still_wanted` is asked now and then, and may raise.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + min(seconds, _POLL_HEARING if notifications.are_heard else _POLL_DEAF)
    while not changed.is_set() and (left := until - loop.time()) > 0:
        await wait_for(changed, min(left, _SLICE))
        if still_wanted is not None and not await still_wanted():
            return False
    return True
