"""SQL expressions for times on the database's clock, which all replicas share."""

from datetime import datetime
from typing import TypeAlias

from sqlalchemy import ColumnElement, Float, Function, cast, extract, func, select

from app.store.postgresql.database import Transaction

# A time, or an SQL expression that the database computes one from.
TimeValue: TypeAlias = datetime | ColumnElement[datetime]


def seconds_from_now(seconds: float) -> ColumnElement[datetime]:
    """Return the time `seconds` from now. Unlike `now()`, it does not stand still during a transaction."""
    interval: Function[object] = func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    time: ColumnElement[datetime] = func.clock_timestamp() + interval
    return time


def seconds_from_transaction_start(seconds: float) -> ColumnElement[datetime]:
    """Return the time `seconds` after the start of the transaction, which is the `created_at` of its rows."""
    time: ColumnElement[datetime] = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return time


def seconds_until(time: ColumnElement[datetime]) -> ColumnElement[float]:
    """Return the seconds until `time`: 0 if it is null, negative if it has passed."""
    return func.coalesce(cast(extract("epoch", time - func.clock_timestamp()), Float), 0.0)


def at_least_seconds_from_now(time: datetime, seconds: float) -> ColumnElement[datetime]:
    """Return `time`, or the time `seconds` from now if that is later."""
    later: ColumnElement[datetime] = func.greatest(time, seconds_from_now(seconds))
    return later


async def clock_offset(transaction: Transaction, now: datetime) -> float:
    """Return the seconds by which `now` is ahead of the database's clock."""
    database_now: datetime = (await transaction.execute(select(func.clock_timestamp()))).scalar_one()
    return (now - database_now).total_seconds()
