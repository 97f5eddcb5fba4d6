"""Lists in pages: a cursor names the last row seen, so rows that come or go between two pages repeat none."""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, Table, literal, tuple_

from app.base.strict_json import read_json, storable
from app.errors import InvalidRequest

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and the cursor of the next page or None after the last."""

    items: list[Item]
    next_cursor: str | None


def newest_first(query: Select[Any], table: Table, *, limit: int, cursor: str | None) -> Select[Any]:
    """Order by creation and take `limit` rows after `cursor`, and one more that tells whether a page follows."""
    if cursor is not None:
        created_at, identifier = _decode(cursor)
        position = tuple_(literal(created_at, table.c.created_at.type), literal(identifier))
        query = query.where(tuple_(table.c.created_at, table.c.id) < position)
    return query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)


def oldest_first(query: Select[Any], table: Table, *, limit: int, cursor: str | None) -> Select[Any]:
    """Do the same in the order of creation."""
    if cursor is not None:
        created_at, identifier = _decode(cursor)
        position = tuple_(literal(created_at, table.c.created_at.type), literal(identifier))
        query = query.where(tuple_(table.c.created_at, table.c.id) > position)
    return query.order_by(table.c.created_at, table.c.id).limit(limit + 1)


def cursor_after(created_at: datetime, identifier: str) -> str:
    """Return the cursor that continues after this row."""
    return base64.urlsafe_b64encode(json.dumps([created_at.isoformat(), identifier]).encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[datetime, str]:
    try:
        created_at, identifier = _pair(read_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))))
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None or not storable(identifier):
            raise ValueError(cursor)
        moment = moment.astimezone(UTC)
    except (binascii.Error, ValueError, OverflowError) as error:
        raise InvalidRequest("`cursor` must be a `next_cursor` of the same list", code="invalid_cursor") from error
    return moment, identifier


def _pair(value: object) -> tuple[str, str]:
    match value:
        case [str(created_at), str(identifier)]:
            return created_at, identifier
        case _:
            raise ValueError(value)
