"""The bank's customers, their accounts and their transactions."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

CURRENCY = "ZAR"

AccountType = Literal["current", "savings", "credit"]


@dataclass(frozen=True, kw_only=True)
class BankBranch:
    """A bank that customers can choose on the first page."""

    id: str
    name: str
    branch_code: str
    country: str = "ZA"


@dataclass(frozen=True, kw_only=True)
class TransactionRecord:
    """One line of a statement; negative amounts are money out."""

    id: str
    amount: Decimal
    reference: str
    description: str
    date: date
    running_balance: Decimal


@dataclass(frozen=True, kw_only=True)
class DebitOrderRecord:
    """One collection by a company under the customer's mandate."""

    id: str
    amount: Decimal
    reference: str
    date: date


@dataclass(frozen=True, kw_only=True)
class Account:
    """A bank account; transactions and debit orders are sorted newest first."""

    id: str
    name: str
    account_number: str
    account_type: AccountType
    current_balance: Decimal
    available_balance: Decimal
    transactions: tuple[TransactionRecord, ...]
    debit_orders: tuple[DebitOrderRecord, ...]


@dataclass(frozen=True, kw_only=True)
class Person:
    """A natural person who holds accounts."""

    full_name: str
    email: str
    document_type: Literal["identity_document", "passport"]
    document_country: str
    document_number: str


@dataclass(frozen=True, kw_only=True)
class Company:
    """A company that holds accounts."""

    name: str
    registration_number: str


@dataclass(frozen=True, kw_only=True)
class Customer:
    """A customer who can log in at one bank."""

    sub: str
    username: str
    password: str
    bank: BankBranch
    holder: Person | Company
    accounts: tuple[Account, ...]

    @property
    def display_name(self) -> str:
        """The name that the pages show."""
        return self.holder.full_name if isinstance(self.holder, Person) else self.holder.name
