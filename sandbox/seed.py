"""Three banks and three customers, the same at every start."""

import random
import uuid
from decimal import Decimal

from sandbox.customers import Account, AccountType, BankBranch, Company, Customer, Person
from sandbox.identifiers import node_id
from sandbox.statements import find_debit_orders, generate_statement

SEED = 20_250_131

FNB = BankBranch(id="fnb", name="First National Bank", branch_code="250655")
STANDARD_BANK = BankBranch(id="standard_bank", name="Standard Bank", branch_code="051001")
CAPITEC = BankBranch(id="capitec", name="Capitec Bank", branch_code="470010")
BANKS = (FNB, STANDARD_BANK, CAPITEC)

ACCOUNT_TYPES: tuple[AccountType, ...] = ("current", "savings", "credit")
CREDIT_LIMIT = Decimal("20000.00")

CUSTOMERS = (
    (
        "thandi",
        FNB,
        Person(
            full_name="Thandi Mokoena",
            email="thandi.mokoena@example.co.za",
            document_type="identity_document",
            document_country="ZA",
            document_number="9203145123084",
        ),
        ("Fusion Cheque Account", "Savings Pocket", "Gold Credit Card"),
    ),
    (
        "johan",
        STANDARD_BANK,
        Person(
            full_name="Johan van der Walt",
            email="johan.vanderwalt@example.co.za",
            document_type="passport",
            document_country="NA",
            document_number="P0638291",
        ),
        ("MyMo Plus Account", "PureSave", "Titanium Credit Card"),
    ),
    (
        "naledi",
        CAPITEC,
        Company(name="Naledi Spice Traders (Pty) Ltd", registration_number="2018/412906/07"),
        ("Business Account", "Flexible Savings", "Business Card"),
    ),
)


def create_customers() -> tuple[Customer, ...]:
    """Return the customers with accounts and statements, the same at every call."""
    randomness = random.Random(SEED)  # noqa: S311 - generates test data, not secrets
    return tuple(
        Customer(
            sub=str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://sandbox.invalid/{username}")),
            username=username,
            password=f"{username}-123",
            bank=bank,
            holder=holder,
            accounts=tuple(
                _account(randomness, username, name, account_type)
                for name, account_type in zip(account_names, ACCOUNT_TYPES, strict=True)
            ),
        )
        for username, bank, holder, account_names in CUSTOMERS
    )


def _account(randomness: random.Random, username: str, name: str, account_type: AccountType) -> Account:
    account_id = node_id("account", f"{username}/{account_type}")
    transactions = generate_statement(randomness, account_id, account_type)
    balance = transactions[0].running_balance
    limit = CREDIT_LIMIT if account_type == "credit" else Decimal(0)
    return Account(
        id=account_id,
        name=name,
        account_number=str(randomness.randrange(10**9, 10**10)),
        account_type=account_type,
        current_balance=balance,
        available_balance=balance + limit,
        transactions=transactions,
        debit_orders=find_debit_orders(transactions),
    )
