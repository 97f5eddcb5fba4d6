import json

import pytest

from app.errors import InvalidRequest, RequestTooLarge
from app.query.mutations import MAX_BRACKETS, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, MAX_TOKENS, MutationDetector

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
INVALID = [
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
    "[" * MAX_BRACKETS,
]
NAMES = "{" + "a " * (MAX_TOKENS // 2) + "}"
TOO_LARGE = {
    "tokens of one document": {"query": "{" + "a " * MAX_TOKENS + "}"},
    "tokens of a batch": [{"query": NAMES}, {"query": NAMES.replace("a", "b")}],
    "tokens of a document again and again": [{"query": NAMES}] * 2,
    "comments": {"query": "#\n" * MAX_TOKENS + "{ a }"},
    "long comment": {"query": "#" + "x" * MAX_DOCUMENT_BYTES + "\n{ a }"},
    "long text": {"query": '{ a(b: """' + "x" * MAX_DOCUMENT_BYTES + '""") }'},
    "long texts of a batch": [{"query": "{ a } #" + "x" * (MAX_DOCUMENT_BYTES // 2)}] * 2,
    "long in bytes": {"query": "{ a } #" + "é" * (MAX_DOCUMENT_BYTES // 2)},
    "batch": [{"query": "{ a }"}] * (MAX_DOCUMENTS + 1),
    "variables": {"query": "{ a }", "variables": [[]] * MAX_BRACKETS},
}


@pytest.mark.parametrize("body", QUERIES)
async def test_queries_are_recognised(body: object) -> None:
    detector = MutationDetector()
    assert not await detector.may_mutate("a", "x", json.dumps(body).encode())
    assert not await detector.may_mutate("a", "x", json.dumps(body).encode())


@pytest.mark.parametrize("body", MUTATIONS)
async def test_what_may_be_a_mutation_counts_as_one(body: object) -> None:
    assert await MutationDetector().may_mutate("a", "x", json.dumps(body).encode())


@pytest.mark.parametrize("body", INVALID)
async def test_invalid_bodies_are_rejected(body: str) -> None:
    with pytest.raises(InvalidRequest):
        await MutationDetector().may_mutate("a", "x", body.encode())


@pytest.mark.parametrize("body", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_what_would_take_long_to_parse_is_rejected(body: object) -> None:
    detector = MutationDetector()
    for _ in range(2):
        with pytest.raises(RequestTooLarge):
            await detector.may_mutate("a", "x", json.dumps(body, ensure_ascii=False).encode())


async def test_a_request_of_the_maximum_size_is_parsed() -> None:
    detector = MutationDetector()
    largest = "{" + "a " * (MAX_TOKENS - 2) + "}"
    assert not await detector.may_mutate("a", "x", json.dumps({"query": largest}).encode())
    assert not await detector.may_mutate("a", "x", json.dumps([{"query": "{ a }"}] * MAX_DOCUMENTS).encode())
    assert not await detector.may_mutate("a", "x", json.dumps({"query": "{ a }".ljust(MAX_DOCUMENT_BYTES)}).encode())


async def test_a_document_that_exceeded_the_limit_of_a_batch_is_accepted_alone() -> None:
    detector = MutationDetector()
    with pytest.raises(RequestTooLarge):
        await detector.may_mutate("a", "x", json.dumps([{"query": NAMES}, {"query": NAMES.replace("a", "b")}]).encode())
    assert not await detector.may_mutate("a", "x", json.dumps({"query": NAMES.replace("a", "b")}).encode())


async def test_invalid_utf_8_is_rejected() -> None:
    with pytest.raises(InvalidRequest):
        await MutationDetector().may_mutate("a", "x", b'{"query": "\xff"}')


async def test_a_duplicate_member_is_rejected_or_counts_as_a_mutation() -> None:
    for body in (
        b'{"query": "mutation { pay }", "query": "{ a }"}',
        b'{"query": "query A { x } mutation B { y }", "operationName": "B", "operationName": "A"}',
    ):
        try:
            assert await MutationDetector().may_mutate("a", "x", body)
        except InvalidRequest:
            continue
