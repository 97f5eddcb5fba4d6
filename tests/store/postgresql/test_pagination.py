import base64
import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.store import audit
from app.store.connections import list_connections
from app.store.enums import ConnectionStatus
from app.store.postgresql.database import Database
from app.store.postgresql.pagination import decode_cursor, encode_cursor, row_position
from tests.support.rows import TENANT, Rows


async def pages_of(database: Database, *, limit: int, **filters: Any) -> list[list[str]]:
    """Return the ids on each page of connections."""
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        async with database.transaction() as transaction:
            page = await list_connections(
                transaction,
                TENANT,
                **{"user_id": None, "status": None, **filters},
                limit=limit,
                cursor=cursor,
            )
        pages.append([connection.id for connection in page.items])
        if (cursor := page.next_cursor) is None:
            return pages


async def test_pages_have_every_row_once_newest_first(database: Database, rows: Rows) -> None:
    made = [(await rows.insert()).id for _ in range(5)]
    for limit, sizes in ((1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (200, [5])):
        pages = await pages_of(database, limit=limit)
        assert [len(page) for page in pages] == sizes
        assert [row_id for page in pages for row_id in page] == made[::-1]


async def test_rows_with_equal_times_are_neither_lost_nor_repeated(database: Database, rows: Rows) -> None:
    made = {(await rows.insert()).id for _ in range(5)}
    for connection_id in made:
        await rows.change_connection(connection_id, created_at=datetime(2025, 1, 1, tzinfo=UTC))
    pages = await pages_of(database, limit=2)
    assert sorted(row_id for page in pages for row_id in page) == sorted(made)


async def test_rows_inserted_between_two_pages_repeat_none(database: Database, rows: Rows) -> None:
    made = [(await rows.insert()).id for _ in range(3)]
    async with database.transaction() as transaction:
        first = await list_connections(transaction, TENANT, user_id=None, status=None, limit=2, cursor=None)
    await rows.insert()
    async with database.transaction() as transaction:
        second = await list_connections(
            transaction, TENANT, user_id=None, status=None, limit=2, cursor=first.next_cursor
        )
    assert [connection.id for connection in (*first.items, *second.items)] == made[::-1]


async def test_lists_are_filtered_by_tenant_user_and_status(database: Database, rows: Rows) -> None:
    mine, other = await rows.insert(user_id="a"), await rows.insert(user_id="b")
    await rows.insert(user_id="a", tenant="elsewhere")
    await rows.change_connection(other.id, status=ConnectionStatus.REVOKED)
    assert await pages_of(database, limit=9, user_id="a") == [[mine.id]]
    assert await pages_of(database, limit=9, status=ConnectionStatus.REVOKED) == [[other.id]]
    assert await pages_of(database, limit=9) == [[other.id, mine.id]]


def read_cursor(cursor: str) -> None:
    decode_cursor(cursor, row_position)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


NOW = "2025-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "!", "é", encoded(1), encoded([]), encoded([NOW]), encoded([NOW, 1]), encoded([1, "a"])),
        *(encoded([NOW, "a\x00"]), encoded([NOW, "a", "b"]), encoded(["", "a"])),
    ],
)
def test_a_malformed_cursor_is_rejected(cursor: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_cursor(cursor)
    assert refused.value.code == "invalid_cursor"


@given(st.text())
def test_any_text_as_cursor_is_accepted_or_rejected(text: str) -> None:
    for cursor in (text, base64.urlsafe_b64encode(text.encode()).decode(), encoded([NOW, text]), encoded([text, "a"])):
        with contextlib.suppress(InvalidRequest):
            read_cursor(cursor)


@pytest.mark.parametrize(
    "cursor",
    [
        base64.urlsafe_b64encode(b"[" * 50_000).decode(),
        encoded([NOW, "\ud800"]),
        encoded(["0001-01-01T00:00:00+23:59", "a"]),
        encoded(["9999-12-31T23:59:59-23:59", "a"]),
    ],
    ids=["nested", "surrogate", "too early", "too late"],
)
async def test_a_cursor_that_the_database_cannot_store_is_rejected(database: Database, cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        async with database.transaction() as transaction:
            await list_connections(transaction, TENANT, user_id=None, status=None, limit=1, cursor=cursor)


def test_a_cursor_is_decoded_to_its_position() -> None:
    created_at = datetime(2025, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
    assert decode_cursor(encode_cursor([created_at.isoformat(), "con_1"]), row_position) == (created_at, "con_1")


async def test_the_audit_log_is_listed_oldest_first(database: Database) -> None:
    async with database.transaction() as transaction:
        for number in range(5):
            await audit.record(
                transaction,
                "tested",
                tenant=TENANT,
                actor="cal_1",
                connection_id=f"con_{number % 2}",
                number=number,
            )
        await audit.record(transaction, "tested", tenant="elsewhere", actor="cal_1")
    found: list[object] = []
    cursor: str | None = None
    async with database.transaction() as transaction:
        while True:
            page = await audit.list_events(transaction, TENANT, connection_id=None, limit=2, cursor=cursor)
            found += [event.detail["number"] for event in page.items]
            if (cursor := page.next_cursor) is None:
                break
        odd = await audit.list_events(transaction, TENANT, connection_id="con_1", limit=9, cursor=None)
    assert found == [0, 1, 2, 3, 4]
    assert [event.detail["number"] for event in odd.items] == [1, 3]


@pytest.mark.parametrize("cursor", ["x", "é", "LTE", base64.urlsafe_b64encode(str(2**63).encode()).decode()])
async def test_a_malformed_cursor_of_the_audit_log_is_rejected(database: Database, cursor: str) -> None:
    async with database.transaction() as transaction:
        with pytest.raises(InvalidRequest):
            await audit.list_events(transaction, TENANT, connection_id=None, limit=2, cursor=cursor)
