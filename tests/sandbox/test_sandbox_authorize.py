from urllib.parse import urlencode

import pytest

from sandbox.browser import submit
from sandbox.client import SandboxClient, authorization_parameters


async def test_an_allowed_login_returns_the_parameters_that_stitch_sends(bank: SandboxClient) -> None:
    login = await bank.log_in("openid accounts balances offline_access")
    assert login.response.keys() == {"code", "scope", "state", "session_state"}
    assert login.response["state"] == login.state
    assert login.response["scope"] == "openid accounts balances offline_access"


async def test_a_cancelled_login_returns_only_the_state(bank: SandboxClient) -> None:
    login = await bank.log_in(decision="cancel")
    assert login.response == {"state": login.state}


async def test_a_user_can_cancel_before_logging_in(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    page = await bank.http.get("/connect/authorize", params=parameters)
    response = await submit(bank.http, page, {"decision": "cancel"})
    assert response.headers["location"] == f"{parameters['redirect_uri']}?state={parameters['state']}"


async def test_an_unticked_scope_is_not_granted(bank: SandboxClient) -> None:
    login = await bank.log_in("openid accounts balances", scopes={"accounts"})
    assert login.response["scope"] == "openid accounts"


async def test_a_wrong_password_shows_the_login_page_again(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    page = await bank.http.get("/connect/authorize", params=parameters)
    page = await submit(bank.http, page, {"bank": "fnb"})
    page = await submit(bank.http, page, {"username": "thandi", "password": "wrong"})
    assert page.status_code == 401
    page = await submit(bank.http, page, {"username": "thandi", "password": "thandi-123"})
    assert page.status_code == 200


async def test_consent_requires_a_login(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    page = await bank.http.get("/connect/authorize", params=parameters)
    response = await submit(bank.http, page, {"decision": "allow"})
    assert response.status_code == 400


async def test_an_unregistered_redirect_uri_gets_json_and_no_redirect(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    for uri in (f"{parameters['redirect_uri']}/", "https://attacker.example/callback"):
        response = await bank.http.get("/connect/authorize", params=parameters | {"redirect_uri": uri})
        assert response.status_code == 400
        assert response.json()["redirect_uri"][0].startswith("Invalid redirect_uri. ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_id", "another"),
        ("response_type", "token"),
        ("scope", "accounts"),
        ("scope", "openid everything"),
        ("state", "short"),
        ("nonce", "n" * 301),
        ("code_challenge", "short"),
        ("code_challenge_method", "plain"),
    ],
)
async def test_an_invalid_parameter_is_named_in_the_error(bank: SandboxClient, name: str, value: str) -> None:
    parameters, _ = authorization_parameters()
    response = await bank.http.get("/connect/authorize", params=parameters | {name: value})
    assert response.status_code == 400
    assert list(response.json()) == [name]


async def test_a_repeated_parameter_is_rejected(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    response = await bank.http.get(f"/connect/authorize?{urlencode(parameters)}&state={'s' * 40}")
    assert list(response.json()) == ["state"]


async def test_pages_load_nothing_from_other_hosts_and_run_no_scripts(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    page = await bank.http.get("/connect/authorize", params=parameters)
    assert "<script" not in page.text
    assert "//" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert (await bank.http.get("/assets/sandbox.css")).status_code == 200
    assert (await bank.http.get("/assets/icon.svg")).status_code == 200
