"""Times on the database's clock, which is the one that all replicas share."""

from datetime import datetime
from typing import TypeAlias

from sqlalchemy import ColumnElement, Float, Function, cast, extract, func, select

from app.store.postgresql.database import Transaction

# A time, or an SQL expression that the database computes one from.
TimeValue: TypeAlias = datetime | ColumnElement[datetime]


def seconds_from_now(seconds: float) -> ColumnElement[datetime]:
    """Return the moment `seconds` from now, on the running clock: a transaction may have begun long before."""
    interval: Function[object] = func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    moment: ColumnElement[datetime] = func.clock_timestamp() + interval
    return moment


def seconds_from_transaction_start(seconds: float) -> ColumnElement[datetime]:
    """Return the moment `seconds` from the start of the transaction, which is when its rows say they were made."""
    moment: ColumnElement[datetime] = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return moment


def seconds_until(moment: ColumnElement[datetime]) -> ColumnElement[float]:
    """Return the seconds until `moment`; 0 where there is none, negative where it has passed."""
    return func.coalesce(cast(extract("epoch", moment - func.clock_timestamp()), Float), 0.0)


def at_least_seconds_from_now(moment: datetime, seconds: float) -> ColumnElement[datetime]:
    """Return `moment`, or the moment `seconds` from now where that is later."""
    later: ColumnElement[datetime] = func.greatest(moment, seconds_from_now(seconds))
    return later


async def clock_offset(transaction: Transaction, now: datetime) -> float:
    """Return the seconds by which `now` is ahead of the database's clock."""
    database_now: datetime = (await transaction.execute(select(func.clock_timestamp()))).scalar_one()
    return (now - database_now).total_seconds()
