import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.randomness import random_urlsafe_text
from app.errors import InvalidRequest, LoginError
from app.oidc.authorization import (
    AuthorizationRequest,
    check_issuer,
    new_authorization_request,
    parse_authorization_response,
)
from app.oidc.pkce import check_verifier, code_challenge
from app.oidc.provider import ProviderMetadata

ISSUER = "https://secure.stitch.money"


def metadata(**changes: object) -> ProviderMetadata:
    values: dict[str, object] = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/connect/authorize",
        "token_endpoint": f"{ISSUER}/connect/token",
        "jwks_uri": f"{ISSUER}/jwks",
    }
    return ProviderMetadata(**(values | changes))  # type: ignore[arg-type]


def new_request() -> AuthorizationRequest:
    return new_authorization_request(
        client_id="test-1",
        redirect_uri="https://broker.example/callback?a=b",
        scopes=["openid", "accounts", "offline_access"],
    )


def test_the_parameters_are_the_documented_ones() -> None:
    request = new_request()
    assert request.parameters.get_secret_value() == (
        "client_id=test-1&scope=openid%20accounts%20offline_access&response_type=code"
        "&redirect_uri=https%3A%2F%2Fbroker.example%2Fcallback%3Fa%3Db"
        f"&nonce={request.nonce.get_secret_value()}&state={request.state.get_secret_value()}"
        f"&code_challenge={request.code_challenge}&code_challenge_method=S256"
    )


def test_every_request_has_secrets_of_its_own_that_suit_stitch() -> None:
    requests = [new_request() for _ in range(5)]
    secrets = {secret.get_secret_value() for one in requests for secret in (one.state, one.nonce, one.code_verifier)}
    assert len(secrets) == 15
    for one in requests:
        assert 32 <= len(one.state.get_secret_value()) <= 300
        assert 32 <= len(one.nonce.get_secret_value()) <= 300
        check_verifier(one.code_verifier.get_secret_value())
        assert one.code_challenge == code_challenge(one.code_verifier.get_secret_value())
        assert not any(secret in repr(one) for secret in secrets)


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    assert code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


@pytest.mark.parametrize("verifier", ["a" * 42, "a" * 129, "a" * 43 + "+", "é" * 43, "a" * 43 + "\n", ""])
def test_a_verifier_of_another_form_is_refused(verifier: str) -> None:
    with pytest.raises(InvalidRequest):
        check_verifier(verifier)


@pytest.mark.parametrize("verifier", ["a" * 43, "a" * 128, "-._~" * 11])
def test_a_verifier_of_the_right_form_passes(verifier: str) -> None:
    check_verifier(verifier)


def test_a_success_is_read() -> None:
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
def test_stitchs_and_others_ways_to_cancel_are_recognised(parameters: list[tuple[str, str]]) -> None:
    assert parse_authorization_response(parameters).is_cancelled


@pytest.mark.parametrize(
    "parameters",
    [[("state", "s"), ("error", "server_error"), ("error_description", "broken")], [("state", "s"), ("code", "c")]],
)
def test_errors_and_successes_are_no_cancellation(parameters: list[tuple[str, str]]) -> None:
    assert not parse_authorization_response(parameters).is_cancelled


def test_the_code_of_an_error_is_not_for_exchange() -> None:
    assert parse_authorization_response([("state", "s"), ("code", "c")]).grants
    assert not parse_authorization_response([("state", "s"), ("code", "c"), ("error", "server_error")]).grants


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
def test_what_no_provider_sends_is_refused(parameters: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_authorization_response(parameters)
    assert refused.value.code == code


@given(st.lists(st.tuples(st.sampled_from(["state", "code", "error", "iss", "x"]), st.text())))
def test_no_query_can_do_more_than_be_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        response = parse_authorization_response(parameters)
    except InvalidRequest:
        return
    assert response.state.get_secret_value() == dict(parameters)["state"]


@pytest.mark.parametrize(("iss", "announced"), [(None, False), (ISSUER, False), (ISSUER, True)])
def test_the_right_issuer_passes(iss: str | None, announced: bool) -> None:
    parameters = [("state", random_urlsafe_text()), ("code", "c"), *([("iss", iss)] if iss else [])]
    check_issuer(parse_authorization_response(parameters), metadata(sends_issuer=announced))


@pytest.mark.parametrize(
    ("iss", "announced"),
    [(None, True), ("", False), ("https://evil.example", False), (f"{ISSUER}/", True), (ISSUER.upper(), True)],
)
def test_another_issuer_is_refused(iss: str | None, announced: bool) -> None:
    parameters = [("state", "s"), ("code", "c"), *([("iss", iss)] if iss is not None else [])]
    with pytest.raises(LoginError) as refused:
        check_issuer(parse_authorization_response(parameters), metadata(sends_issuer=announced))
    assert refused.value.code == "issuer_mismatch"
