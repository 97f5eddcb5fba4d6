"""Stitch's GraphQL scalars."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from sandbox.customers import CURRENCY


@dataclass(frozen=True)
class Money:
    """An amount in a response."""

    quantity: Decimal
    currency: str


@dataclass(frozen=True)
class MoneyInput:
    """An amount in a request."""

    quantity: Decimal
    currency: str


UInt = NewType("UInt", int)
Cursor = NewType("Cursor", str)


def money(quantity: Decimal) -> Money:
    """Return an amount in rand."""
    return Money(quantity, CURRENCY)


def _serialize_money(amount: Money) -> dict[str, str]:
    return {"quantity": f"{amount.quantity:.2f}", "currency": amount.currency}


def _parse_money(value: object) -> MoneyInput:
    if not isinstance(value, dict) or value.keys() != {"quantity", "currency"}:
        raise GraphQLError("A MoneyInput must have exactly the members quantity and currency.")
    try:
        quantity = Decimal(str(value["quantity"]))
    except InvalidOperation:
        raise GraphQLError("The quantity of a MoneyInput must be a decimal number.") from None
    if not quantity.is_finite() or quantity <= 0 or value["currency"] != CURRENCY:
        raise GraphQLError(f"A MoneyInput must be a positive quantity of {CURRENCY}.")
    return MoneyInput(quantity, CURRENCY)


def _parse_unsigned(value: object) -> UInt:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise GraphQLError("A UInt must be an integer of at least 0.")
    return UInt(value)


def _parse_cursor(value: object) -> Cursor:
    if not isinstance(value, str):
        raise GraphQLError("A Cursor must be a string.")
    return Cursor(value)


SCALARS: dict[object, ScalarDefinition] = {
    Money: strawberry.scalar(name="Money", serialize=_serialize_money),
    MoneyInput: strawberry.scalar(name="MoneyInput", parse_value=_parse_money),
    UInt: strawberry.scalar(name="UInt", parse_value=_parse_unsigned),
    Cursor: strawberry.scalar(name="Cursor", parse_value=_parse_cursor),
}
