"""Authentication with an API key."""

from datetime import UTC, datetime, timedelta

import pytest

from app.callers.api_keys import _checksum, new_api_key
from tests.api.conftest import ApiFactory
from tests.support.broker import Api
from tests.support.error_responses import assert_problem
from tests.support.logs import Logs


def altered(key: str, position: int) -> str:
    """Return a key with another character at this position."""
    other = "a" if key[position] != "a" else "b"
    return key[:position] + other + key[position + 1 :]


async def test_a_key_is_accepted(api: Api) -> None:
    assert (await api.get("/v1/connections")).status_code == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
async def test_the_case_of_the_scheme_does_not_matter(api: Api, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {api.api_key}"}
    assert (await api.get("/v1/connections", headers=headers)).status_code == 200
    assert (await api.query("con_unknown", headers=headers)).status_code == 404


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Basic dXNlcjpwYXNzd29yZA==", "Token x", "Bearer null", "Bearer brk_", "Bearer " + "x" * 10_000],
)
async def test_an_invalid_authorization_header_is_rejected(api: Api, value: str) -> None:
    response = await api.get("/v1/connections", headers={"authorization": value})
    assert_problem(response, 401, "unauthorized_caller")
    assert response.headers["www-authenticate"] == 'Bearer realm="broker"'


async def test_a_request_without_the_header_is_rejected(api: Api) -> None:
    request = api.build_request("GET", "/v1/connections")
    del request.headers["authorization"]
    assert_problem(await api.send(request), 401, "unauthorized_caller")


async def test_bytes_that_are_not_text_are_rejected(api: Api) -> None:
    response = await api.get("/v1/connections", headers=[(b"authorization", b"Bearer \xff\xfe")])
    assert_problem(response, 401, "unauthorized_caller")


async def test_a_well_formed_but_unknown_key_is_rejected(api: Api) -> None:
    key = new_api_key().secret.get_secret_value()
    response = await api.get("/v1/connections", headers={"authorization": f"Bearer {key}"})
    assert_problem(response, 401, "unauthorized_caller")


@pytest.mark.parametrize("position", [4, 20, 40, -1])
async def test_a_key_with_one_wrong_character_is_rejected(api: Api, position: int) -> None:
    headers = {"authorization": f"Bearer {altered(api.api_key, position)}"}
    assert_problem(await api.get("/v1/connections", headers=headers), 401, "unauthorized_caller")


async def test_a_wrong_secret_with_a_right_prefix_and_checksum_is_rejected(api: Api) -> None:
    """The checksum only finds typing errors. The secret must be right as well."""
    other = new_api_key().secret.get_secret_value()
    prefix = api.api_key[:16]
    body = prefix + other[16:-6]
    response = await api.get("/v1/connections", headers={"authorization": f"Bearer {body}{_checksum(body)}"})
    assert_problem(response, 401, "unauthorized_caller")


async def test_an_expired_key_is_rejected(api: Api) -> None:
    expires_at = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    key = (await api.post(f"/v1/callers/{api.caller.id}/keys", json={"expires_at": expires_at})).json()["api_key"]
    response = await api.get("/v1/connections", headers={"authorization": f"Bearer {key}"})
    assert_problem(response, 401, "unauthorized_caller")


async def test_every_rejected_key_gets_the_same_message(api: Api, sign_up: ApiFactory) -> None:
    disabled = await sign_up(tenant=api.tenant)
    await api.delete(f"/v1/callers/{disabled.caller.id}")
    keys = [new_api_key().secret.get_secret_value(), altered(api.api_key, -1), disabled.api_key]
    responses = [await api.get("/v1/connections", headers={"authorization": f"Bearer {key}"}) for key in keys]
    assert len({response.json()["detail"] for response in responses}) == 1


async def test_a_rejected_key_is_neither_shown_nor_logged(api: Api, logs: Logs) -> None:
    key = new_api_key().secret.get_secret_value()
    for path in ("/v1/connections", "/v1/connections/x/graphql"):
        response = await api.post(path, headers={"authorization": f"Bearer {key}"})
        assert key not in response.text
    assert key not in logs.text
    assert key[16:] not in logs.text


async def test_a_key_in_the_url_is_not_accepted(api: Api) -> None:
    request = api.build_request("GET", f"/v1/connections?access_token={api.api_key}&api_key={api.api_key}")
    del request.headers["authorization"]
    assert_problem(await api.send(request), 401, "unauthorized_caller")


async def test_an_unknown_caller_learns_nothing_about_its_request(api: Api) -> None:
    headers = {"authorization": "Bearer nobody", "content-type": "application/json"}
    for body in (b"{", b"{}", b'{"user_id": 7}'):
        response = await api.post("/v1/sessions", content=body, headers=headers)
        assert_problem(response, 401, "unauthorized_caller")
