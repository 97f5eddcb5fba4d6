"""Builds the query services."""

from dataclasses import dataclass

from app.bank.bank import Bank
from app.query.mutations import MutationDetector
from app.query.proxy import QueryProxy
from app.refresh.tokens import AccessTokens


@dataclass(frozen=True, slots=True)
class QueryServices:
    """Sending queries, and telling them from mutations."""

    mutations: MutationDetector
    proxy: QueryProxy


def build(bank: Bank, tokens: AccessTokens) -> QueryServices:
    """Build the services of one bank client."""
    mutations = MutationDetector()
    return QueryServices(mutations, QueryProxy(bank, tokens=tokens, mutations=mutations))
