import gzip
import json
import zlib

import pytest

from app.services.expiry import LONGEST_REFUSAL, is_refusal, may_be_refusal

TOP_LEVEL = {
    "errors": [{"message": "UNAUTHENTICATED: Token is expired or malformed"}],
    "extensions": {"code": "UNAUTHENTICATED"},
}
NESTED = {"data": None, "errors": [{"message": "no", "extensions": {"code": "UNAUTHENTICATED"}}]}
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
    ("status", "content_type", "length", "expected"),
    [
        (200, "application/json; charset=utf-8", 100, True),
        (200, "application/graphql-response+json", None, True),
        (200, "application/json", LONGEST_REFUSAL + 1, False),
        (200, "text/html", 100, False),
        (500, "application/json", 100, False),
    ],
)
def test_only_short_json_answers_are_looked_at(
    status: int, content_type: str, length: int | None, expected: bool
) -> None:
    assert may_be_refusal(status, content_type, length) is expected
