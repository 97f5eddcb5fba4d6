"""GraphQL types of bank accounts, transactions and debit orders."""

from datetime import date

import strawberry

from sandbox.customers import CURRENCY, Account, DebitOrderRecord, TransactionRecord
from sandbox.graphql.account_holders import AccountHolder, account_holder
from sandbox.graphql.context import GraphQLInfo
from sandbox.graphql.node import Node
from sandbox.graphql.pagination import Connection, paginate
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
    """One collection by a company under the customer's mandate."""

    amount: Money
    reference: str
    date: date


@strawberry.type
class BankAccount(Node):
    """An account that the customer ticked on the consent page.

    Fields that need another scope are nullable, so that a missing scope makes only these fields null.
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
        """Return the current balance."""
        info.context.require("balances")
        return money(self.account.current_balance)

    @strawberry.field
    async def available_balance(self, info: GraphQLInfo) -> Money | None:
        """Return the balance including the credit limit."""
        info.context.require("balances")
        return money(self.account.available_balance)

    @strawberry.field
    async def account_holder(self, info: GraphQLInfo) -> AccountHolder | None:
        """Return the person or the company that holds the account."""
        info.context.require("accountholders")
        return account_holder(info.context.customer.holder)

    @strawberry.field
    async def transactions(
        self, info: GraphQLInfo, first: UInt | None = None, after: Cursor | None = None
    ) -> Connection[Transaction] | None:
        """Return the transactions, newest first."""
        info.context.require("transactions")
        return paginate([transaction(record) for record in self.account.transactions], first, after)

    @strawberry.field
    async def debit_order_payments(
        self, info: GraphQLInfo, first: UInt | None = None, after: Cursor | None = None
    ) -> Connection[DebitOrderPayment] | None:
        """Return the collected debit orders, newest first."""
        info.context.require("transactions")
        return paginate([debit_order(record) for record in self.account.debit_orders], first, after)


def bank_account(info: GraphQLInfo, account: Account) -> BankAccount:
    """Convert an account to its GraphQL type."""
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
    """Convert a transaction to its GraphQL type."""
    return Transaction(
        id=strawberry.ID(record.id),
        amount=money(record.amount),
        reference=record.reference,
        description=record.description,
        date=record.date,
        running_balance=money(record.running_balance),
    )


def debit_order(record: DebitOrderRecord) -> DebitOrderPayment:
    """Convert a debit order to its GraphQL type."""
    return DebitOrderPayment(
        id=strawberry.ID(record.id),
        amount=money(record.amount),
        reference=record.reference,
        date=record.date,
    )
