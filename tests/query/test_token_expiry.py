import gzip
import json
import zlib

import pytest

from app.query.token_expiry import LONGEST_REFUSAL, Refusal, may_be_refusal, refusal_in

TOP_LEVEL = {
    "errors": [{"message": "UNAUTHENTICATED: Token is expired or malformed"}],
    "extensions": {"code": "UNAUTHENTICATED"},
}
NESTED = {"data": None, "errors": [{"message": "no", "extensions": {"code": "UNAUTHENTICATED"}}]}
OF_A_FIELD = {"data": None, "errors": [{"path": ["pay"], "extensions": {"code": "UNAUTHENTICATED"}}]}
OTHERS = [
    {"data": {"user": {"id": "UNAUTHENTICATED"}}},
    {"data": {"user": None}, "errors": [{"extensions": {"code": "UNAUTHENTICATED"}}]},
    {"errors": [{"message": "UNAUTHENTICATED", "extensions": {"code": "FORBIDDEN"}}]},
    {"errors": [{"extensions": {"code": "USER_INTERACTION_REQUIRED", "x": "UNAUTHENTICATED"}}]},
    {"errors": "UNAUTHENTICATED"},
    {"errors": ["UNAUTHENTICATED"], "extensions": "UNAUTHENTICATED"},
    ["UNAUTHENTICATED"],
    {},
]


def is_refusal(body: bytes, content_encoding: str) -> bool:
    return refusal_in(body, content_encoding) is not Refusal.NONE


@pytest.mark.parametrize(
    "answer", [OF_A_FIELD, [TOP_LEVEL, OF_A_FIELD], {**TOP_LEVEL, "errors": [{"message": "no", "path": ["pay"]}]}]
)
def test_a_refusal_of_a_field_is_told_from_one_of_the_request(answer: object) -> None:
    assert refusal_in(json.dumps(answer).encode(), "") is Refusal.OF_A_FIELD
    assert refusal_in(json.dumps([TOP_LEVEL, NESTED]).encode(), "") is Refusal.OF_THE_REQUEST


@pytest.mark.parametrize("answer", [TOP_LEVEL, NESTED])
def test_both_shapes_of_an_expired_token_are_seen(answer: object) -> None:
    body = json.dumps(answer).encode()
    assert is_refusal(body, "")
    assert is_refusal(body, "identity")
    assert is_refusal(gzip.compress(body), "gzip")
    assert is_refusal(zlib.compress(body), "deflate")


@pytest.mark.parametrize("answer", OTHERS)
def test_other_answers_are_not_taken_for_one(answer: object) -> None:
    assert not is_refusal(json.dumps(answer).encode(), "")


@pytest.mark.parametrize("body", [b"", b"UNAUTHENTICATED", b"[" * 2_000 + b"UNAUTHENTICATED", b"\xff UNAUTHENTICATED"])
def test_what_cannot_be_read_is_not_taken_for_one(body: bytes) -> None:
    assert not is_refusal(body, "")
    assert not is_refusal(body, "gzip")


def test_a_body_that_unfolds_without_end_is_not_read_to_its_end() -> None:
    huge = b" " * 10_000_000 + json.dumps(TOP_LEVEL).encode()
    assert not is_refusal(gzip.compress(huge), "gzip")


@pytest.mark.parametrize(
    ("content_type", "length", "expected"),
    [
        ("application/json; charset=utf-8", 100, True),
        ("application/graphql-response+json", None, True),
        ("application/json", LONGEST_REFUSAL + 1, False),
        ("text/html", 100, False),
        ("multipart/mixed; boundary=-", None, False),
    ],
)
def test_only_short_json_answers_are_looked_at(content_type: str, length: int | None, expected: bool) -> None:
    assert may_be_refusal(content_type, length) is expected
