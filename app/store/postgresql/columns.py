"""The kinds of columns that tables have."""

from typing import Any

from sqlalchemy import ARRAY, Column, DateTime, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from app.base.encryption import Ciphertext


class Sealed(TypeDecorator[Ciphertext]):
    """A column that holds ciphertexts only; plain text does not fit its type."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Ciphertext | None, dialect: Dialect) -> str | None:
        """Store the text of the ciphertext."""
        return None if value is None else value.text

    def process_result_value(self, value: str | None, dialect: Dialect) -> Ciphertext | None:
        """Wrap what was stored, so that it does not print."""
        return None if value is None else Ciphertext(value)


def moment(name: str) -> Column[Any]:
    """Make a column for a moment that may not have come."""
    return Column(name, DateTime(timezone=True))


def moment_given(name: str) -> Column[Any]:
    """Make a column for a moment that there always is."""
    return Column(name, DateTime(timezone=True), nullable=False)


def created_at(name: str = "created_at") -> Column[Any]:
    """Make a column for the moment at which a row is inserted."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def words(name: str) -> Column[Any]:
    """Make a column for a list of words."""
    return Column(name, ARRAY(Text), nullable=False, server_default=text("'{}'"))


def json_object(name: str) -> Column[Any]:
    """Make a column for an object."""
    return Column(name, JSONB, nullable=False, server_default=text("'{}'"))
