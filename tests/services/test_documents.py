import json

import pytest

from app.errors import InvalidRequest
from app.services.documents import Documents

QUERIES = [
    {"query": "{ user { id } }"},
    {"query": "query A { user { id } }", "operationName": "A", "variables": None},
    {"query": "query A { x } mutation B { y }", "operationName": "A"},
    {"query": "fragment F on User { id } { user { ...F } }"},
    [{"query": "{ a }"}, {"query": "{ b }"}],
]
MUTATIONS = [
    {"query": "mutation { pay { id } }"},
    {"query": "subscription { pay { id } }"},
    {"query": "query A { x } mutation B { y }", "operationName": "B"},
    {"query": "query A { x } mutation B { y }"},
    {"query": "query A { x } mutation B { y }", "operationName": "C"},
    {"query": "query A { x } mutation B { y }", "operationName": ""},
    {"query": "mutation { y } mutation A { x }", "operationName": "A"},
    {"query": "not GraphQL {"},
    {"query": ""},
    {"query": "fragment F on User { id }"},
    {"query": "{" * 5_000},
    {"query": "{" + "a " * 30_000 + "}"},
    {"extensions": {"persistedQuery": {"sha256Hash": "0"}}},
    [{"query": "{ a }"}, {"query": "mutation { b }"}],
]
NONE = ["", "x", "1", "[]", "[1]", '"{ a }"', "{}", '{"query": 1}', '{"query": null}', "[" * 100_000]


@pytest.mark.parametrize("body", QUERIES)
def test_queries_are_queries(body: object) -> None:
    documents = Documents()
    assert not documents.may_mutate(json.dumps(body).encode())
    assert not documents.may_mutate(json.dumps(body).encode())


@pytest.mark.parametrize("body", MUTATIONS)
def test_what_may_be_more_than_a_query_counts_as_a_mutation(body: object) -> None:
    assert Documents().may_mutate(json.dumps(body).encode())


@pytest.mark.parametrize("body", NONE)
def test_other_bodies_are_refused(body: str) -> None:
    with pytest.raises(InvalidRequest):
        Documents().may_mutate(body.encode())


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        Documents().may_mutate(b'{"query": "\xff"}')


def test_a_member_that_is_there_twice_is_refused_or_counts_as_a_mutation() -> None:
    for body in (
        b'{"query": "mutation { pay }", "query": "{ a }"}',
        b'{"query": "query A { x } mutation B { y }", "operationName": "B", "operationName": "A"}',
    ):
        try:
            assert Documents().may_mutate(body)
        except InvalidRequest:
            continue
