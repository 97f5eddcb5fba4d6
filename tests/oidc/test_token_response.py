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
        (" 900 ", 900),
        (900.7, 900),
        (0.5, 1),
        (30 * 86_400, 30 * 86_400),
        (10**9, 315_360_000),
        (10**400, 315_360_000),
    ],
)
def test_a_positive_lifetime_is_kept(expires_in: object, lifetime: int) -> None:
    assert parse_token_response(body(expires_in=expires_in)).lifetime == lifetime


@pytest.mark.parametrize(
    "expires_in",
    [0, -1, -(10**400), None, "", "soon", "0", True, [900], {}, float("nan"), "nan", float("inf"), "-inf"],
    ids=repr,
)
def test_any_other_lifetime_is_unknown(expires_in: object) -> None:
    assert parse_token_response(body(expires_in=expires_in)).lifetime is None


def test_a_missing_lifetime_is_unknown() -> None:
    assert parse_token_response(body()).lifetime is None


@pytest.mark.parametrize(
    ("token_type", "expected"),
    [
        ("Bearer", "Bearer"),
        ("DPoP", "DPoP"),
        ("bearer", "bearer"),
        (None, "Bearer"),
        ("", "Bearer"),
        (1, ""),
        ([1], ""),
    ],
)
def test_an_unusual_token_type_loses_no_token(token_type: object, expected: str) -> None:
    tokens = parse_token_response(body(token_type=token_type))
    assert tokens.token_type == expected
    assert tokens.access_token is not None


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("a  b", ["a", "b"]),
        ("a,b", ["a", "b"]),
        (" a, b\n", ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        (["a b", None, 1, ""], ["a", "b"]),
        ("a b a", ["a", "b"]),
        ("", None),
        (" , ", None),
        ([], None),
        (None, None),
        (1, None),
        ({"a": "b"}, None),
    ],
    ids=repr,
)
def test_scopes_are_read_in_any_spelling(scope: object, scopes: list[str] | None) -> None:
    assert parse_token_response(body(scope=scope)).scopes == scopes


def test_null_members_are_absent() -> None:
    names = ("id_token", "refresh_token", "expires_in", "scope", "token_type")
    assert parse_token_response(body(**dict.fromkeys(names))) == parse_token_response(body())


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
