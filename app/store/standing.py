"""Whether the caller of a request is still let in, asked in each transaction that the request begins after a wait.

A request may wait long for its tenant's share of the connections, or for the bank. What it does then is done by its
caller then: one whose key was revoked meanwhile must not make itself another.
"""

import asyncio
import time
from contextvars import ContextVar
from typing import Any, NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import UnauthorizedCaller
from app.store.tables import api_keys, callers

# Within so many seconds a refusal of a caller is promised to be heard of.
SOON = 0.5


class _Deed(NamedTuple):
    key_id: str
    task: asyncio.Task[Any] | None
    admitted_at: float


_deed: ContextVar[_Deed | None] = ContextVar("deed", default=None)


def act_with(key_id: str | None) -> None:
    """Have the transactions of this request looked at so. Not those of tasks that it begins, which outlive it."""
    _deed.set(None if key_id is None else _Deed(key_id, asyncio.current_task(), time.perf_counter()))


async def require_standing(transaction: AsyncConnection) -> None:
    """Raise UnauthorizedCaller where the caller's key was refused since its request was let in."""
    deed = _deed.get()
    if deed is None or time.perf_counter() - deed.admitted_at < SOON or deed.task is not asyncio.current_task():
        return
    is_alive = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now())
    query = (
        select(api_keys.c.id)
        .join_from(api_keys, callers)
        .where(api_keys.c.id == deed.key_id, api_keys.c.revoked_at.is_(None), is_alive, callers.c.disabled_at.is_(None))
    )
    if (await transaction.execute(query)).first() is None:
        raise UnauthorizedCaller("the API key was revoked, or has expired, while the request waited")
