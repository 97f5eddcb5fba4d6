import ast
import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import app
from app.base.hashing import sha256_hex
from app.errors import InvalidRequest, LoginError
from app.oidc.authorization_response import (
    CheckedAuthorizationResponse,
    check_authorization_response,
    parse_authorization_response,
)
from app.oidc.provider_metadata import ProviderMetadata
from app.oidc.token_endpoint import TokenEndpoint

ISSUER = "https://secure.stitch.money"


def metadata(*, announces_iss: bool = False) -> ProviderMetadata:
    return ProviderMetadata(
        issuer=ISSUER,
        authorization_endpoint=f"{ISSUER}/connect/authorize",
        token_endpoint=f"{ISSUER}/connect/token",
        jwks_uri=f"{ISSUER}/jwks",
        authorization_response_iss_parameter_supported=announces_iss,
    )


def check(
    parameters: list[tuple[str, str]], *, announces_iss: bool = False, state: str = "s"
) -> CheckedAuthorizationResponse:
    return check_authorization_response(
        parse_authorization_response(parameters),
        metadata(announces_iss=announces_iss),
        state_sha256=sha256_hex(state),
    )


def test_a_successful_response_is_parsed() -> None:
    response = parse_authorization_response(
        [("code", "c"), ("scope", "openid"), ("state", "s"), ("session_state", "x.y"), ("other", "\x00")]
    )
    assert response.code is not None
    assert (response.code.get_secret_value(), response.state.get_secret_value()) == ("c", "s")
    assert (response.error, response.iss, response.is_cancelled) == (None, None, False)


@pytest.mark.parametrize(
    "parameters",
    [
        [("state", "s")],
        [("state", "s"), ("error", "access_denied")],
        [("state", "s"), ("error", "access_denied"), ("error_description", "no")],
        [("state", "s"), ("code", ""), ("error", "")],
        [("state", "s"), ("code", "c"), ("error", "access_denied")],
    ],
)
def test_a_cancellation_is_recognised_in_the_form_of_stitch_and_of_others(parameters: list[tuple[str, str]]) -> None:
    assert parse_authorization_response(parameters).is_cancelled


@pytest.mark.parametrize(
    "parameters",
    [[("state", "s"), ("error", "server_error"), ("error_description", "broken")], [("state", "s"), ("code", "c")]],
)
def test_errors_and_successes_are_not_cancellations(parameters: list[tuple[str, str]]) -> None:
    assert not parse_authorization_response(parameters).is_cancelled


def test_the_code_of_an_error_response_is_not_exchanged() -> None:
    assert parse_authorization_response([("state", "s"), ("code", "c")]).is_successful
    error = [("state", "s"), ("code", "c"), ("error", "server_error")]
    assert not parse_authorization_response(error).is_successful
    with pytest.raises(LoginError):
        check(error)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ([], "state_missing"),
        ([("code", "c")], "state_missing"),
        ([("state", "")], "state_missing"),
        ([("state", "a"), ("state", "a")], "parameter_repeated"),
        ([("state", "a"), ("code", "a"), ("code", "b")], "parameter_repeated"),
        ([("state", "a"), ("iss", "a"), ("iss", "b")], "parameter_repeated"),
        ([("state", "a" * 4_097)], "parameter_too_long"),
        ([("state", "a"), ("code", "a" * 4_097)], "parameter_too_long"),
        ([("state", "a"), ("error", "a\nb")], "parameter_malformed"),
        ([("state", "a\x00")], "parameter_malformed"),
        ([("state", "a"), ("code", "\x7f")], "parameter_malformed"),
    ],
)
def test_a_malformed_response_is_refused(parameters: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_authorization_response(parameters)
    assert refused.value.code == code


@pytest.mark.parametrize("name", ["error_description", "error_uri", "scope", "session_state", "other"])
@pytest.mark.parametrize(
    "values", [["one\r\ntwo"], ["x" * 100_000], ["a", "a"], ["", "\x00"], ["\ud800"]], ids=range(5)
)
def test_nothing_in_another_parameter_prevents_a_login(name: str, values: list[str]) -> None:
    others = [(name, value) for value in values]
    assert check([*others, ("state", "s"), ("code", "c"), *others]).code.get_secret_value() == "c"
    assert parse_authorization_response([("state", "s"), *others]).is_cancelled
    denied = parse_authorization_response([("state", "s"), ("error", "server_error"), *others])
    assert (denied.error, denied.is_cancelled) == ("server_error", False)


@pytest.mark.parametrize(
    ("descriptions", "expected"),
    [([" one\r\n\ttwo "], "one two"), (["first", "second"], "first"), (["", "second"], "second"), ([" "], None)],
)
def test_the_first_error_description_is_kept_on_one_line(descriptions: list[str], expected: str | None) -> None:
    parameters = [("state", "s"), ("error", "x"), *(("error_description", text) for text in descriptions)]
    assert parse_authorization_response(parameters).error_description == expected


@given(st.lists(st.tuples(st.sampled_from(["state", "code", "error", "iss", "x"]), st.text())))
def test_any_query_is_parsed_or_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        response = parse_authorization_response(parameters)
    except InvalidRequest:
        return
    assert response.state.get_secret_value() == dict(parameters)["state"]


@pytest.mark.parametrize(("iss", "announces_iss"), [(None, False), (ISSUER, False), (ISSUER, True)])
def test_a_response_from_the_right_issuer_passes(iss: str | None, announces_iss: bool) -> None:
    parameters = [("state", "s"), ("code", "c"), *([("iss", iss)] if iss else [])]
    assert check(parameters, announces_iss=announces_iss).code.get_secret_value() == "c"


@pytest.mark.parametrize(
    ("iss", "announces_iss"),
    [(None, True), ("", False), ("https://evil.example", False), (f"{ISSUER}/", True), (ISSUER.upper(), True)],
)
def test_a_response_from_another_issuer_is_refused(iss: str | None, announces_iss: bool) -> None:
    parameters = [("state", "s"), ("code", "c"), *([("iss", iss)] if iss is not None else [])]
    with pytest.raises(LoginError) as refused:
        check(parameters, announces_iss=announces_iss)
    assert refused.value.code == "issuer_mismatch"


def test_a_response_to_another_login_is_refused() -> None:
    with pytest.raises(LoginError) as refused:
        check([("state", "s"), ("code", "c")], state="another")
    assert refused.value.code == "state_unknown"


def test_only_checked_responses_can_be_exchanged_and_only_the_checks_create_them() -> None:
    exchanged = inspect.signature(TokenEndpoint.exchange).parameters["response"]
    assert exchanged.annotation is CheckedAuthorizationResponse
    created_in = {
        (path.name, function.name)
        for path in Path(app.__path__[0]).rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == CheckedAuthorizationResponse.__name__
    }
    assert created_in == {("authorization_response.py", "check_authorization_response")}
