"""Payments, and the approvals on a page of the bank that some of them need."""

import uuid
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from sandbox.identifiers import node_id
from sandbox.tokens import TokenFamily

ReauthorizationStatus = Literal["pending", "complete", "failed"]


@dataclass(frozen=True, kw_only=True)
class PaymentOrder:
    """A payment as it was asked for; the same one, repeated after an approval, goes through."""

    family_id: str
    amount: Decimal
    currency: str
    payer_reference: str | None
    beneficiary_reference: str | None
    external_reference: str | None


@dataclass(frozen=True, kw_only=True)
class Payment:
    """A payment that was made."""

    id: str
    sub: str
    order: PaymentOrder
    date: date


@dataclass(kw_only=True)
class Reauthorization:
    """A request for the user's approval."""

    id: str
    sub: str
    order: PaymentOrder
    status: ReauthorizationStatus = "pending"


@dataclass(kw_only=True)
class Payments:
    """Makes payments or asks for approval."""

    limit: Decimal
    made: dict[str, Payment] = field(default_factory=dict)
    reauthorizations: dict[str, Reauthorization] = field(default_factory=dict)
    _families_to_ask: set[str] = field(default_factory=set)
    _approved: set[PaymentOrder] = field(default_factory=set)

    def ask_at_next_payment(self, family: TokenFamily) -> None:
        """Simulate that the bank wants to see the user again."""
        self._families_to_ask.add(family.id)

    def initiate(self, order: PaymentOrder, *, sub: str, today: date) -> Payment | Reauthorization:
        """Make the payment, or return what the user must approve first. An approval serves once."""
        wants_user = order.amount > self.limit or order.family_id in self._families_to_ask
        if wants_user and order not in self._approved:
            reauthorization = Reauthorization(id=node_id("reauthorization", str(uuid.uuid4())), sub=sub, order=order)
            self.reauthorizations[reauthorization.id] = reauthorization
            return reauthorization
        self._approved.discard(order)
        self._families_to_ask.discard(order.family_id)
        payment = Payment(id=node_id("payment", str(uuid.uuid4())), sub=sub, order=order, date=today)
        self.made[payment.id] = payment
        return payment

    def decide(self, reauthorization: Reauthorization, *, allow: bool) -> None:
        """Record what the user said; the first word stands."""
        if reauthorization.status != "pending":
            return
        reauthorization.status = "complete" if allow else "failed"
        if allow:
            self._approved.add(reauthorization.order)
