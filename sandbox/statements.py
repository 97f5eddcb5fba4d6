"""Generates realistic South African account statements."""

import random
from datetime import date, timedelta
from decimal import Decimal

from sandbox.customers import AccountType, DebitOrderRecord, TransactionRecord
from sandbox.identifiers import node_id

LAST_DAY = date(2025, 1, 31)
DAYS = 120

# By day of the month.
DEBIT_ORDERS = {
    1: ("OUTSURANCE DEBIT ORDER", Decimal("-1189.45")),
    3: ("DISCOVERY HEALTH MEDICAL", Decimal("-3420.00")),
    7: ("VODACOM CONTRACT", Decimal("-599.00")),
    15: ("VIRGIN ACTIVE", Decimal("-435.00")),
}

# Description, lowest and highest price in rand.
PURCHASES = (
    ("WOOLWORTHS FOOD SANDTON", 80, 900),
    ("CHECKERS SIXTY60", 120, 1400),
    ("PNP FAMILY ROSEBANK", 60, 1100),
    ("ENGEN QUICKSHOP N1", 300, 1200),
    ("UBER TRIP", 40, 260),
    ("TAKEALOT.COM", 150, 2500),
    ("PREPAID ELECTRICITY", 100, 800),
    ("VIDA E CAFFE", 35, 140),
    ("CLICKS PHARMACY", 50, 650),
    ("NETFLIX.COM", 199, 199),
)


def generate_statement(
    randomness: random.Random, account_id: str, account_type: AccountType
) -> tuple[TransactionRecord, ...]:
    """Return about four months of transactions up to `LAST_DAY`, newest first."""
    lines: list[tuple[date, str, str, Decimal]] = []
    for day in (LAST_DAY - timedelta(days=back) for back in range(DAYS, -1, -1)):
        lines += {"current": _cheque_day, "savings": _savings_day, "credit": _credit_day}[account_type](randomness, day)
    balance = Decimal("0.00") if account_type == "credit" else Decimal("4250.75")
    records = []
    for number, (day, description, reference, amount) in enumerate(lines):
        balance += amount
        records.append(
            TransactionRecord(
                id=node_id("transaction", f"{account_id}/{number:04}"),
                amount=amount,
                reference=reference,
                description=description,
                date=day,
                running_balance=balance,
            )
        )
    return tuple(reversed(records))


def find_debit_orders(transactions: tuple[TransactionRecord, ...]) -> tuple[DebitOrderRecord, ...]:
    """Return the transactions that are debit orders."""
    names = {description for description, _ in DEBIT_ORDERS.values()}
    return tuple(
        DebitOrderRecord(
            id=transaction.id, amount=transaction.amount, reference=transaction.reference, date=transaction.date
        )
        for transaction in transactions
        if transaction.description in names
    )


def _cheque_day(randomness: random.Random, day: date) -> list[tuple[date, str, str, Decimal]]:
    lines = []
    if day.day == 25:
        lines.append((day, "SALARY CREDIT", "SALARY", Decimal("38450.00")))
    if day.day == 26:
        lines.append((day, "TRANSFER TO SAVINGS", "SAVINGS", Decimal("-3000.00")))
    if day.day in DEBIT_ORDERS:
        description, amount = DEBIT_ORDERS[day.day]
        lines.append((day, description, f"DO{day:%y%m}{day.day:02}", amount))
    lines += [_purchase(randomness, day) for _ in range(randomness.choice((0, 1, 1, 2)))]
    return lines


def _savings_day(_: random.Random, day: date) -> list[tuple[date, str, str, Decimal]]:
    if day.day == 26:
        return [(day, "TRANSFER FROM CHEQUE", "SAVINGS", Decimal("3000.00"))]
    if day.day == 1:
        return [(day, "INTEREST CAPITALISED", "INTEREST", Decimal("61.32"))]
    return []


def _credit_day(randomness: random.Random, day: date) -> list[tuple[date, str, str, Decimal]]:
    lines = [_purchase(randomness, day) for _ in range(randomness.choice((0, 0, 1)))]
    if day.day == 28:
        lines.append((day, "PAYMENT RECEIVED THANK YOU", "PAYMENT", Decimal("7500.00")))
    return lines


def _purchase(randomness: random.Random, day: date) -> tuple[date, str, str, Decimal]:
    description, min_price, max_price = randomness.choice(PURCHASES)
    cents = randomness.randint(min_price * 100, max_price * 100)
    reference = f"CARD*{randomness.randrange(10_000):04}"
    return day, description, reference, -Decimal(cents) / 100
