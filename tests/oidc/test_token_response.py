import json

import pytest
from pydantic import SecretStr

from app.errors import BankResponseInvalid
from app.oidc.token_response import parse_token_response


def body(**members: object) -> SecretStr:
    return SecretStr(json.dumps({"access_token": "at", "token_type": "Bearer", **members}))


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (900, 900),
        ("900", 900),
        (900.7, 900),
        (None, 300),
        ("", 300),
        ("soon", 300),
        (True, 300),
        ([900], 300),
        (float("nan"), 300),
        ("nan", 300),
        (float("inf"), 86_400),
        (-1, 0),
        (10**9, 86_400),
    ],
)
def test_an_unusual_lifetime_is_replaced_or_limited(expires_in: object, lifetime: int) -> None:
    assert parse_token_response(body(expires_in=expires_in)).lifetime == lifetime


def test_an_extreme_lifetime_loses_no_token() -> None:
    assert 0 < parse_token_response(body(expires_in=10**400)).lifetime <= 86_400


def test_a_missing_lifetime_is_assumed_to_be_short() -> None:
    assert parse_token_response(body()).lifetime == 300


@pytest.mark.parametrize(("token_type", "expected"), [("Bearer", "Bearer"), (1, ""), (None, "")])
def test_an_unusual_token_type_loses_no_token(token_type: object, expected: str) -> None:
    tokens = parse_token_response(body(token_type=token_type))
    assert tokens.token_type == expected
    assert tokens.access_token is not None


@pytest.mark.parametrize(("scope", "scopes"), [("a  b", ["a", "b"]), ("", []), (None, None), (["a"], None)])
def test_scopes_are_split_if_they_are_a_string(scope: object, scopes: list[str] | None) -> None:
    assert parse_token_response(body(scope=scope)).scopes == scopes


def test_a_rotated_refresh_token_alone_is_kept() -> None:
    tokens = parse_token_response(SecretStr('{"refresh_token": "rt"}'))
    assert tokens.access_token is None
    assert tokens.refresh_token is not None


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "1", "null", "{}", '{"access_token": ""}', '{"access_token": 1, "refresh_token": []}', "{" * 9],
)
def test_a_response_without_tokens_is_invalid(text: str) -> None:
    with pytest.raises(BankResponseInvalid):
        parse_token_response(SecretStr(text))


def test_a_response_that_is_nested_too_deeply_is_invalid() -> None:
    with pytest.raises(BankResponseInvalid):
        parse_token_response(SecretStr("[" * 100_000))


@pytest.mark.parametrize("text", ['"scope": "a\\u0000b"', '"scope": "\\ud800"'])
def test_scopes_that_cannot_be_stored_are_left_out(text: str) -> None:
    tokens = parse_token_response(SecretStr(f'{{"access_token": "at", {text}}}'))
    for scope in tokens.scopes or []:
        assert "\x00" not in scope
        scope.encode()


def test_a_token_that_cannot_be_stored_is_an_invalid_response() -> None:
    with pytest.raises(BankResponseInvalid):
        parse_token_response(SecretStr('{"access_token": "\\ud800"}'))
