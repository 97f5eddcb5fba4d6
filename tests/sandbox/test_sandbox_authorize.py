from urllib.parse import urlencode

import pytest

from sandbox.browser import submit
from sandbox.client import SandboxClient, authorization_parameters


async def test_a_user_who_allows_comes_back_with_what_stitch_sends(bank: SandboxClient) -> None:
    login = await bank.log_in("openid accounts balances offline_access")
    assert login.response.keys() == {"code", "scope", "state", "session_state"}
    assert login.response["state"] == login.state
    assert login.response["scope"] == "openid accounts balances offline_access"


async def test_a_user_who_cancels_comes_back_with_the_state_only(bank: SandboxClient) -> None:
    login = await bank.log_in(decision="cancel")
    assert login.response == {"state": login.state}


async def test_a_user_can_cancel_before_logging_in(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    page = await bank.http.get("/connect/authorize", params=parameters)
    answer = await submit(bank.http, page, {"decision": "cancel"})
    assert answer.headers["location"] == f"{parameters['redirect_uri']}?state={parameters['state']}"


async def test_an_unticked_scope_is_not_granted(bank: SandboxClient) -> None:
    login = await bank.log_in("openid accounts balances", scopes={"accounts"})
    assert login.response["scope"] == "openid accounts"


async def test_a_wrong_password_leads_back_to_the_login(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    page = await bank.http.get("/connect/authorize", params=parameters)
    page = await submit(bank.http, page, {"bank": "fnb"})
    page = await submit(bank.http, page, {"username": "thandi", "password": "wrong"})
    assert page.status_code == 401
    page = await submit(bank.http, page, {"username": "thandi", "password": "thandi-123"})
    assert page.status_code == 200


async def test_consent_needs_a_login(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    page = await bank.http.get("/connect/authorize", params=parameters)
    answer = await submit(bank.http, page, {"decision": "allow"})
    assert answer.status_code == 400


async def test_a_redirect_uri_off_the_whitelist_gets_json_and_no_redirect(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    for uri in (f"{parameters['redirect_uri']}/", "https://attacker.example/callback"):
        answer = await bank.http.get("/connect/authorize", params=parameters | {"redirect_uri": uri})
        assert answer.status_code == 400
        assert answer.json()["redirect_uri"][0].startswith("Invalid redirect_uri. ")


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
async def test_a_wrong_parameter_is_named(bank: SandboxClient, name: str, value: str) -> None:
    parameters, _ = authorization_parameters()
    answer = await bank.http.get("/connect/authorize", params=parameters | {name: value})
    assert answer.status_code == 400
    assert list(answer.json()) == [name]


async def test_a_repeated_parameter_is_refused(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    answer = await bank.http.get(f"/connect/authorize?{urlencode(parameters)}&state={'s' * 40}")
    assert list(answer.json()) == ["state"]


async def test_pages_load_nothing_from_elsewhere_and_run_no_scripts(bank: SandboxClient) -> None:
    parameters, _ = authorization_parameters()
    page = await bank.http.get("/connect/authorize", params=parameters)
    assert "<script" not in page.text
    assert "//" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert (await bank.http.get("/assets/sandbox.css")).status_code == 200
    assert (await bank.http.get("/assets/icon.svg")).status_code == 200
