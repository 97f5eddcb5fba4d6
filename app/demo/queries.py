"""The demo's GraphQL queries."""

from typing import Any

_ACCOUNTS = "{ user { bankAccounts { id name accountType currentBalance availableBalance } } }"
_TRANSACTIONS = (
    "query TransactionsByBankAccount($accountId: ID!, $first: UInt) "
    "{ node(id: $accountId) { ... on BankAccount { name transactions(first: $first) "
    "{ pageInfo { hasNextPage } edges { node { date description amount runningBalance } } } } } }"
)


def accounts_query() -> dict[str, Any]:
    """Return a query for the accounts and their balances."""
    return {"query": _ACCOUNTS}


def transactions_query(account_id: str, count: int) -> dict[str, Any]:
    """Return a query for the latest transactions of an account."""
    return {"query": _TRANSACTIONS, "variables": {"accountId": account_id, "first": count}}


def money(amount: dict[str, Any]) -> str:
    """Format an amount, for example `12,345.60 ZAR`."""
    return f"{float(amount['quantity']):,.2f} {amount['currency']}"
