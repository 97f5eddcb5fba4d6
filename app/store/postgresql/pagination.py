"""Lists in pages. A cursor names the last row of a page, so rows inserted or deleted between two pages repeat none."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Row, Select, Table, literal, tuple_

from app.base.strict_json import is_storable_in_postgresql, parse_json
from app.errors import InvalidRequest
from app.store.postgresql.database import Transaction
from app.store.postgresql.records import Record, to_record

Item = TypeVar("Item")
Position = TypeVar("Position")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and the cursor of the next page. The cursor is None on the last page."""

    items: list[Item]
    next_cursor: str | None


async def fetch_page(
    transaction: Transaction,
    query: Select[Any],
    table: Table,
    record: type[Record],
    *,
    limit: int,
    cursor: str | None,
    newest_first: bool = True,
) -> Page[Record]:
    """Return the next `limit` rows of `query` in the order of `table.created_at`. Raises InvalidRequest."""
    order = (table.c.created_at, table.c.id)
    if cursor is not None:
        created_at, row_id = decode_cursor(cursor, row_position)
        after = tuple_(literal(created_at, table.c.created_at.type), literal(row_id))
        query = query.where(tuple_(*order) < after if newest_first else tuple_(*order) > after)
    query = query.order_by(*(column.desc() if newest_first else column for column in order))
    rows = (await transaction.execute(query.limit(limit + 1))).all()
    return page_of(rows, record, limit=limit, position=lambda row: [row.created_at.isoformat(), row.id])


def page_of(
    rows: Sequence[Row[Any]], record: type[Record], *, limit: int, position: Callable[[Row[Any]], object]
) -> Page[Record]:
    """Return the first `limit` rows as a page; one row more than that shows that another page follows.

    `position` returns what the cursor says of the last row, as a JSON value.
    """
    has_more = len(rows) > limit
    items = [to_record(record, row) for row in rows[:limit]]
    return Page(items, encode_cursor(position(rows[limit - 1])) if has_more else None)


def decode_cursor(cursor: str, parse: Callable[[object], Position]) -> Position:
    """Return the position in a cursor. `parse` raises ValueError if it is none. Raises InvalidRequest."""
    try:
        return parse(parse_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))))
    except (binascii.Error, ValueError, OverflowError) as error:
        raise invalid_cursor() from error


def encode_cursor(position: object) -> str:
    """Return the cursor of a position, which is any JSON value."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def row_position(value: object) -> tuple[datetime, str]:
    """Return the time of creation and the id in a decoded cursor. Raises ValueError."""
    match value:
        case [str(created_at), str(row_id)] if is_storable_in_postgresql(row_id):
            time = datetime.fromisoformat(created_at)
            if time.tzinfo is None:
                raise ValueError(value)
            return time.astimezone(UTC), row_id
        case _:
            raise ValueError(value)


def invalid_cursor() -> InvalidRequest:
    """Return the error for a cursor that does not belong to the list."""
    return InvalidRequest("`cursor` must be a `next_cursor` of the same list", code="invalid_cursor")
