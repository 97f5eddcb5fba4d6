"""GraphQL mutations: payments."""

from datetime import UTC, date, datetime
from typing import Self
from urllib.parse import quote

import strawberry
from graphql import GraphQLError

from sandbox.graphql.context import GraphQLInfo
from sandbox.graphql.node import Node
from sandbox.graphql.scalars import Money, MoneyInput, money
from sandbox.payments import Payment, PaymentOrder, Reauthorization


@strawberry.type
class PaymentInitiationCompleted:
    """The status of an executed payment."""

    date: date


@strawberry.type
class PaymentInitiation(Node):
    """An executed payment."""

    amount: Money
    date: date
    payer_reference: str | None
    beneficiary_reference: str | None
    external_reference: str | None
    status: PaymentInitiationCompleted


@strawberry.type
class ReauthorizationRequired(Node):
    """A request for the user's approval on a page of the bank."""

    status: str
    user_interaction_url: str

    @classmethod
    def of(cls, info: GraphQLInfo, reauthorization: Reauthorization) -> Self:
        """Convert a reauthorization to its GraphQL type."""
        return cls(
            id=strawberry.ID(reauthorization.id),
            status=reauthorization.status,
            user_interaction_url=_user_interaction_url(info, reauthorization),
        )


@strawberry.type
class UserInitiatePaymentPayload:
    """The result of `userInitiatePayment`."""

    payment_initiation: PaymentInitiation


@strawberry.input
class UserInitiatePaymentInput:
    """The requested payment."""

    amount: MoneyInput
    payer_reference: str | None = None
    beneficiary_reference: str | None = None
    external_reference: str | None = None


@strawberry.type
class Mutation:
    """The root type of mutations."""

    @strawberry.mutation
    async def user_initiate_payment(
        self,
        info: GraphQLInfo,
        input: UserInitiatePaymentInput,  # noqa: A002
    ) -> UserInitiatePaymentPayload:
        """Execute a payment, or fail with USER_INTERACTION_REQUIRED until the user has approved it."""
        info.context.require("paymentinitiationrequest")
        order = PaymentOrder(
            family_id=info.context.access_token.family.id,
            amount=input.amount.quantity,
            currency=input.amount.currency,
            payer_reference=input.payer_reference,
            beneficiary_reference=input.beneficiary_reference,
            external_reference=input.external_reference,
        )
        result = info.context.bank.payments.initiate(
            order, sub=info.context.customer.sub, today=datetime.now(UTC).date()
        )
        if isinstance(result, Reauthorization):
            raise GraphQLError(
                "User interaction is required to proceed",
                extensions={
                    "code": "USER_INTERACTION_REQUIRED",
                    "id": result.id,
                    "userInteractionUrl": _user_interaction_url(info, result),
                },
            )
        info.context.bank.ledger.payments += 1
        return UserInitiatePaymentPayload(payment_initiation=payment_initiation(result))

    @strawberry.mutation
    async def test_user_trigger_simulated_reauthorization(self, info: GraphQLInfo) -> bool:
        """Make the next payment under this consent need the user's approval, whatever its amount."""
        info.context.bank.payments.require_approval_of_next_payment(info.context.access_token.family)
        return True


def payment_initiation(payment: Payment) -> PaymentInitiation:
    """Convert a payment to its GraphQL type."""
    return PaymentInitiation(
        id=strawberry.ID(payment.id),
        amount=money(payment.order.amount),
        date=payment.date,
        payer_reference=payment.order.payer_reference,
        beneficiary_reference=payment.order.beneficiary_reference,
        external_reference=payment.order.external_reference,
        status=PaymentInitiationCompleted(date=payment.date),
    )


def _user_interaction_url(info: GraphQLInfo, reauthorization: Reauthorization) -> str:
    return f"{info.context.bank.settings.issuer}/approval?id={quote(reauthorization.id, safe='')}"
