"""Bank accounts and their statements."""

from datetime import date

import strawberry

from sandbox.customers import CURRENCY, Account, DebitOrderRecord, TransactionRecord
from sandbox.graphql.connections import Connection, page
from sandbox.graphql.context import GraphQLInfo
from sandbox.graphql.holders import AccountHolder, account_holder
from sandbox.graphql.node import Node
from sandbox.graphql.scalars import Cursor, Money, UInt, money


@strawberry.type
class Transaction(Node):
    """One line of a statement; negative amounts are money out."""

    amount: Money
    reference: str
    description: str
    date: date
    running_balance: Money


@strawberry.type
class DebitOrderPayment(Node):
    """One collection by a company that the customer gave a mandate."""

    amount: Money
    reference: str
    date: date


@strawberry.type
class BankAccount(Node):
    """An account that the customer ticked.

    Fields under a scope of their own are nullable, so that a missing scope costs those fields only.
    """

    name: str
    account_number: str
    account_type: str
    bank_id: str
    branch_code: str
    currency: str
    account: strawberry.Private[Account]

    @strawberry.field
    async def current_balance(self, info: GraphQLInfo) -> Money | None:
        """Return what is on the account."""
        info.context.require("balances")
        return money(self.account.current_balance)

    @strawberry.field
    async def available_balance(self, info: GraphQLInfo) -> Money | None:
        """Return what can be spent."""
        info.context.require("balances")
        return money(self.account.available_balance)

    @strawberry.field
    async def account_holder(self, info: GraphQLInfo) -> AccountHolder | None:
        """Return who holds the account."""
        info.context.require("accountholders")
        return account_holder(info.context.customer.holder)

    @strawberry.field
    async def transactions(
        self, info: GraphQLInfo, first: UInt | None = None, after: Cursor | None = None
    ) -> Connection[Transaction] | None:
        """Return the statement, newest first."""
        info.context.require("transactions")
        return page([transaction(record) for record in self.account.transactions], first, after)

    @strawberry.field
    async def debit_order_payments(
        self, info: GraphQLInfo, first: UInt | None = None, after: Cursor | None = None
    ) -> Connection[DebitOrderPayment] | None:
        """Return what companies collected, newest first."""
        info.context.require("transactions")
        return page([debit_order(record) for record in self.account.debit_orders], first, after)


def bank_account(info: GraphQLInfo, account: Account) -> BankAccount:
    """Return the account in the schema's shape."""
    branch = info.context.customer.bank
    return BankAccount(
        id=strawberry.ID(account.id),
        name=account.name,
        account_number=account.account_number,
        account_type=account.account_type,
        bank_id=branch.id,
        branch_code=branch.branch_code,
        currency=CURRENCY,
        account=account,
    )


def transaction(record: TransactionRecord) -> Transaction:
    """Return the line in the schema's shape."""
    return Transaction(
        id=strawberry.ID(record.id),
        amount=money(record.amount),
        reference=record.reference,
        description=record.description,
        date=record.date,
        running_balance=money(record.running_balance),
    )


def debit_order(record: DebitOrderRecord) -> DebitOrderPayment:
    """Return the collection in the schema's shape."""
    return DebitOrderPayment(
        id=strawberry.ID(record.id),
        amount=money(record.amount),
        reference=record.reference,
        date=record.date,
    )
