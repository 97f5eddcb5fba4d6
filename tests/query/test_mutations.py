import json

import pytest

from app.errors import InvalidRequest, RequestTooLarge
from app.query.mutations import MOST_BRACKETS, MOST_DOCUMENT_BYTES, MOST_DOCUMENTS, MOST_TOKENS, MutationDetector

QUERIES = [
    {"query": "{ user { id } }"},
    {"query": "query A { user { id } }", "operationName": "A", "variables": None},
    {"query": "query A { x } query B { y }", "operationName": "A"},
    {"query": "query A { x } query B { y }"},
    {"query": "{ a }", "extensions": {"clientLibrary": {"name": "@apollo/client"}}},
    {"query": "{ a }", "extensions": None},
    {"query": "fragment F on User { id } { user { ...F } }"},
    [{"query": "{ a }"}, {"query": "{ b }"}],
]
MUTATIONS = [
    {"query": "mutation { pay { id } }"},
    {"query": "subscription { pay { id } }"},
    {"query": "query A { x } mutation B { y }", "operationName": "A"},
    {"query": "query A { x } mutation B { y }", "operationName": "B"},
    {"query": "query A { x } mutation B { y }"},
    {"query": "query A { x } mutation B { y }", "operationName": "C"},
    {"query": "query A { x } mutation B { y }", "operationName": ""},
    {"query": "mutation { y } mutation A { x }", "operationName": "A"},
    *(
        {"query": f"query A {{ x }} # {end} mutation B {{ y }}", "operationName": "A"}
        for end in "\u2028\u2029\x85\v\f\0"
    ),
    {"query": "not GraphQL {"},
    {"query": ""},
    {"query": "fragment F on User { id }"},
    {"query": "{" * 5_000},
    {"extensions": {"persistedQuery": {"sha256Hash": "0"}}},
    {"query": "{ a }", "extensions": {"persistedQuery": {"sha256Hash": "0"}}},
    {"query": "{ a }", "extensions": {"PersistedQuery": {"sha256Hash": "0"}}},
    {"query": "{ a }", "Query": "mutation { b }"},
    {"Query": "mutation { b }"},
    {"query": "query A { x } query B { y }", "operationname": "A"},
    {"query": "{ a }", "id": "pay"},
    {"id": "pay"},
    {"doc_id": "pay"},
    {"documentId": "pay"},
    [{"query": "{ a }"}, {"query": "mutation { b }"}],
]
NONE = [
    "",
    '{"query": "{ a }", "variables": {"x": NaN}}',
    '{"query": "{ a }", "variables": {"x": -Infinity}}',
    "x",
    "1",
    "[]",
    "[1]",
    '"{ a }"',
    "{}",
    '{"query": 1}',
    '{"query": null}',
    '{"query": "{ a }", "extensions": "x"}',
    "[" * MOST_BRACKETS,
]
NAMES = "{" + "a " * (MOST_TOKENS // 2) + "}"
TOO_MUCH = {
    "tokens of one document": {"query": "{" + "a " * MOST_TOKENS + "}"},
    "tokens of a batch": [{"query": NAMES}, {"query": NAMES.replace("a", "b")}],
    "tokens of a document again and again": [{"query": NAMES}] * 2,
    "comments": {"query": "#\n" * MOST_TOKENS + "{ a }"},
    "long comment": {"query": "#" + "x" * MOST_DOCUMENT_BYTES + "\n{ a }"},
    "long text": {"query": '{ a(b: """' + "x" * MOST_DOCUMENT_BYTES + '""") }'},
    "long texts of a batch": [{"query": "{ a } #" + "x" * (MOST_DOCUMENT_BYTES // 2)}] * 2,
    "long in bytes": {"query": "{ a } #" + "é" * (MOST_DOCUMENT_BYTES // 2)},
    "batch": [{"query": "{ a }"}] * (MOST_DOCUMENTS + 1),
    "variables": {"query": "{ a }", "variables": [[]] * MOST_BRACKETS},
}


@pytest.mark.parametrize("body", QUERIES)
async def test_queries_are_queries(body: object) -> None:
    documents = MutationDetector()
    assert not await documents.may_mutate("a", "x", json.dumps(body).encode())
    assert not await documents.may_mutate("a", "x", json.dumps(body).encode())


@pytest.mark.parametrize("body", MUTATIONS)
async def test_what_may_be_more_than_a_query_counts_as_a_mutation(body: object) -> None:
    assert await MutationDetector().may_mutate("a", "x", json.dumps(body).encode())


@pytest.mark.parametrize("body", NONE)
async def test_other_bodies_are_refused(body: str) -> None:
    with pytest.raises(InvalidRequest):
        await MutationDetector().may_mutate("a", "x", body.encode())


@pytest.mark.parametrize("body", TOO_MUCH.values(), ids=TOO_MUCH)
async def test_what_would_take_long_to_look_into_is_refused(body: object) -> None:
    documents = MutationDetector()
    for _ in range(2):
        with pytest.raises(RequestTooLarge):
            await documents.may_mutate("a", "x", json.dumps(body, ensure_ascii=False).encode())


async def test_a_request_of_the_greatest_size_is_looked_into() -> None:
    documents = MutationDetector()
    largest = "{" + "a " * (MOST_TOKENS - 2) + "}"
    assert not await documents.may_mutate("a", "x", json.dumps({"query": largest}).encode())
    assert not await documents.may_mutate("a", "x", json.dumps([{"query": "{ a }"}] * MOST_DOCUMENTS).encode())
    assert not await documents.may_mutate("a", "x", json.dumps({"query": "{ a }".ljust(MOST_DOCUMENT_BYTES)}).encode())


async def test_a_document_that_did_not_fit_into_a_batch_passes_by_itself() -> None:
    documents = MutationDetector()
    with pytest.raises(RequestTooLarge):
        await documents.may_mutate(
            "a", "x", json.dumps([{"query": NAMES}, {"query": NAMES.replace("a", "b")}]).encode()
        )
    assert not await documents.may_mutate("a", "x", json.dumps({"query": NAMES.replace("a", "b")}).encode())


async def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        await MutationDetector().may_mutate("a", "x", b'{"query": "\xff"}')


async def test_a_member_that_is_there_twice_is_refused_or_counts_as_a_mutation() -> None:
    for body in (
        b'{"query": "mutation { pay }", "query": "{ a }"}',
        b'{"query": "query A { x } mutation B { y }", "operationName": "B", "operationName": "A"}',
    ):
        try:
            assert await MutationDetector().may_mutate("a", "x", body)
        except InvalidRequest:
            continue
