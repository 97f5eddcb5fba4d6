"""Rows as frozen dataclasses whose fields are named like the columns."""

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, FromClause, Row, Select

from app.store.postgresql.database import Transaction

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


def columns_of(record: type[Record], table: FromClause, **computed: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Return what to select for the fields of `record`: the expression in `computed`, or else the table's column."""
    return [computed[name].label(name) if name in computed else table.c[name] for name in record.__dataclass_fields__]


def to_record(record: type[Record], row: Row[*tuple[Any, ...]]) -> Record:
    """Return a row as a `record`. Columns that the record has no field for are ignored."""
    values = row._mapping
    return record(**{name: values[name] for name in record.__dataclass_fields__})


def values_of(record: "DataclassInstance") -> dict[str, Any]:
    """Return the fields of a record as the values of an INSERT."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


async def fetch_first(transaction: Transaction, query: Select[Any], record: type[Record]) -> Record | None:
    """Return the first row of `query` as a `record`. None if there is no row."""
    row = (await transaction.execute(query)).first()
    return None if row is None else to_record(record, row)


async def fetch_all(transaction: Transaction, query: Select[Any], record: type[Record]) -> list[Record]:
    """Return every row of `query` as a `record`."""
    return [to_record(record, row) for row in await transaction.execute(query)]
