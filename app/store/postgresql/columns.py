"""Column types, and shorthands for columns that many tables have."""

from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import ARRAY, Column, DateTime, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from app.base.encryption import Ciphertext

_Member = TypeVar("_Member", bound=StrEnum)


class Encrypted(TypeDecorator[Ciphertext]):
    """A column of ciphertexts. Plain text has another type and is not accepted."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Ciphertext | None, dialect: Dialect) -> str | None:
        """Store the text of the ciphertext."""
        return None if value is None else value.text

    def process_result_value(self, value: str | None, dialect: Dialect) -> Ciphertext | None:
        """Wrap the stored text, so that it is never printed by accident."""
        return None if value is None else Ciphertext(value)


class EnumText(TypeDecorator[_Member], Generic[_Member]):
    """A column that stores the value of an enum's member as text, and returns the member."""

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[_Member]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: _Member | None, dialect: Dialect) -> str | None:
        """Store the member's value. Raises ValueError for a text that is no member's value."""
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> _Member | None:
        """Return the member."""
        return None if value is None else self.enum(value)


def timestamp(name: str) -> Column[Any]:
    """Return a column for a time that may be null."""
    return Column(name, DateTime(timezone=True))


def required_timestamp(name: str) -> Column[Any]:
    """Return a column for a time that is never null."""
    return Column(name, DateTime(timezone=True), nullable=False)


def inserted_at(name: str) -> Column[Any]:
    """Return a column for the time at which the row was inserted, on the database's clock."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def text_array(name: str) -> Column[Any]:
    """Return a column for a list of texts, empty by default."""
    return Column(name, ARRAY(Text), nullable=False, server_default=text("'{}'"))


def json_object(name: str) -> Column[Any]:
    """Return a column for a JSON object, empty by default."""
    return Column(name, JSONB, nullable=False, server_default=text("'{}'"))
