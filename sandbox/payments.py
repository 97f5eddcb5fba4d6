"""Payments, and the user's approval that some of them need."""

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
    """A requested payment. If the same order is repeated after its approval, it is executed."""

    family_id: str
    amount: Decimal
    currency: str
    payer_reference: str | None
    beneficiary_reference: str | None
    external_reference: str | None


@dataclass(frozen=True, kw_only=True)
class Payment:
    """An executed payment."""

    id: str
    sub: str
    order: PaymentOrder
    date: date


@dataclass(kw_only=True)
class Reauthorization:
    """A request for the user's approval of a payment."""

    id: str
    sub: str
    order: PaymentOrder
    status: ReauthorizationStatus = "pending"


@dataclass(kw_only=True)
class Payments:
    """Executes payments, or asks for the user's approval. Payments above `limit` need it."""

    limit: Decimal
    executed: dict[str, Payment] = field(default_factory=dict)
    reauthorizations: dict[str, Reauthorization] = field(default_factory=dict)
    _families_needing_approval: set[str] = field(default_factory=set)
    _approved: set[PaymentOrder] = field(default_factory=set)

    def require_approval_of_next_payment(self, family: TokenFamily) -> None:
        """Make the next payment of this family need approval, whatever its amount."""
        self._families_needing_approval.add(family.id)

    def initiate(self, order: PaymentOrder, *, sub: str, today: date) -> Payment | Reauthorization:
        """Execute the payment, or return the approval that it needs first. An approval is valid for one payment."""
        needs_approval = order.amount > self.limit or order.family_id in self._families_needing_approval
        if needs_approval and order not in self._approved:
            reauthorization = Reauthorization(id=node_id("reauthorization", str(uuid.uuid4())), sub=sub, order=order)
            self.reauthorizations[reauthorization.id] = reauthorization
            return reauthorization
        self._approved.discard(order)
        self._families_needing_approval.discard(order.family_id)
        payment = Payment(id=node_id("payment", str(uuid.uuid4())), sub=sub, order=order, date=today)
        self.executed[payment.id] = payment
        return payment

    def decide(self, reauthorization: Reauthorization, *, allow: bool) -> None:
        """Record the user's decision; only the first one counts."""
        if reauthorization.status != "pending":
            return
        reauthorization.status = "complete" if allow else "failed"
        if allow:
            self._approved.add(reauthorization.order)
