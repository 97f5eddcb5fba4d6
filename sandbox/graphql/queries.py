"""GraphQL queries."""

import strawberry

from sandbox.graphql.accounts import BankAccount, bank_account, transaction
from sandbox.graphql.context import GraphQLInfo
from sandbox.graphql.mutations import ReauthorizationRequired, payment_initiation
from sandbox.graphql.node import Node
from sandbox.identifiers import node_id
from sandbox.seed import BANKS


@strawberry.type
class PaymentAuthorization:
    """The account that payments are made from."""

    bank_account: BankAccount
    status: str


@strawberry.type
class User(Node):
    """The customer who consented."""

    scopes: list[str]

    @strawberry.field
    async def bank_accounts(self, info: GraphQLInfo) -> list[BankAccount]:
        """Return the accounts that the customer ticked."""
        info.context.require("accounts")
        return [bank_account(info, account) for account in info.context.visible_accounts]

    @strawberry.field
    async def payment_authorization(self, info: GraphQLInfo) -> PaymentAuthorization | None:
        """Return the first account that the customer ticked, for payments."""
        info.context.require("paymentinitiationrequest")
        for account in info.context.visible_accounts:
            return PaymentAuthorization(bank_account=bank_account(info, account), status="AUTHORIZED")
        return None


@strawberry.type
class BankInfo:
    """A bank that users can link accounts of."""

    id: strawberry.ID
    name: str
    country: str


@strawberry.type
class Query:
    """The root type of queries."""

    @strawberry.field
    async def user(self, info: GraphQLInfo) -> User:
        """Return the customer who consented."""
        return _user(info)

    @strawberry.field
    async def node(self, info: GraphQLInfo, id: strawberry.ID) -> Node | None:  # noqa: A002
        """Return one object by its identifier, or None if it does not exist or the consent does not cover it."""
        if id == _user(info).id:
            return _user(info)
        payments, sub = info.context.bank.payments, info.context.customer.sub
        reauthorization = payments.reauthorizations.get(id)
        if reauthorization is not None and reauthorization.sub == sub:
            return ReauthorizationRequired.of(info, reauthorization)
        payment = payments.executed.get(id)
        if payment is not None and payment.sub == sub:
            return payment_initiation(payment)
        return _account_or_transaction(info, id)

    @strawberry.field
    async def banks(self) -> list[BankInfo]:
        """Return all banks."""
        return [BankInfo(id=strawberry.ID(bank.id), name=bank.name, country=bank.country) for bank in BANKS]


def _user(info: GraphQLInfo) -> User:
    return User(
        id=strawberry.ID(node_id("user", info.context.customer.sub)),
        scopes=list(info.context.access_token.scope),
    )


def _account_or_transaction(info: GraphQLInfo, node_id: str) -> Node | None:
    for account in info.context.visible_accounts:
        if account.id == node_id:
            info.context.require("accounts")
            return bank_account(info, account)
        for record in account.transactions:
            if record.id == node_id:
                info.context.require("transactions")
                return transaction(record)
    return None
