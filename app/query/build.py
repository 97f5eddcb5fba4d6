"""Puts the query path's services together."""

from dataclasses import dataclass

from app.bank.bank import Bank
from app.query.mutations import Documents
from app.query.proxy import QueryProxy
from app.refresh.tokens import Tokens


@dataclass(frozen=True, slots=True)
class QueryServices:
    """Sending queries, and telling them from mutations."""

    mutations: Documents
    proxy: QueryProxy


def build(bank: Bank, tokens: Tokens) -> QueryServices:
    """Build the services of one bank client."""
    documents = Documents()
    return QueryServices(documents, QueryProxy(bank, tokens=tokens, documents=documents))
