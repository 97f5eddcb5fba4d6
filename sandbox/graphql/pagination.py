"""Pagination with Relay connections (GraphQL Cursor Connections Specification)."""

import base64
import binascii
from collections.abc import Sequence
from typing import Generic, TypeVar

import strawberry
from graphql import GraphQLError

from sandbox.graphql.scalars import Cursor, UInt

DEFAULT_PAGE_SIZE = 500

Item = TypeVar("Item")


@strawberry.type
class PageInfo:
    """The position of a page in its list."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: Cursor | None
    end_cursor: Cursor | None


@strawberry.type
class Edge(Generic[Item]):
    """One item with its cursor."""

    cursor: Cursor
    node: Item


@strawberry.type
class Connection(Generic[Item]):
    """One page of a list."""

    page_info: PageInfo
    edges: list[Edge[Item]]


def paginate(items: Sequence[Item], first: UInt | None, after: Cursor | None) -> Connection[Item]:
    """Return the page of up to `first` items after the cursor `after`."""
    start = 0 if after is None else _position(after) + 1
    end = start + (DEFAULT_PAGE_SIZE if first is None else first)
    edges = [Edge(cursor=_cursor(start + offset), node=item) for offset, item in enumerate(items[start:end])]
    return Connection(
        page_info=PageInfo(
            has_next_page=end < len(items),
            has_previous_page=start > 0,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        edges=edges,
    )


def _cursor(position: int) -> Cursor:
    return Cursor(base64.b64encode(f"position:{position}".encode()).decode())


def _position(cursor: Cursor) -> int:
    try:
        return int(base64.b64decode(cursor, validate=True).decode().removeprefix("position:"))
    except (binascii.Error, ValueError):
        raise GraphQLError("The cursor is malformed.") from None
