from app.oidc.authorization_request import AuthorizationRequest, new_authorization_request
from app.oidc.pkce import check_verifier, code_challenge


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


def test_each_request_has_its_own_secrets_within_the_lengths_that_stitch_allows() -> None:
    requests = [new_request() for _ in range(5)]
    secrets = {
        secret.get_secret_value()
        for request in requests
        for secret in (request.state, request.nonce, request.code_verifier)
    }
    assert len(secrets) == 15
    for request in requests:
        assert 32 <= len(request.state.get_secret_value()) <= 300
        assert 32 <= len(request.nonce.get_secret_value()) <= 300
        check_verifier(request.code_verifier.get_secret_value())
        assert request.code_challenge == code_challenge(request.code_verifier.get_secret_value())
        assert not any(secret in repr(request) for secret in secrets)
