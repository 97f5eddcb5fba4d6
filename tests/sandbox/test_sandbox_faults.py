import asyncio
import time

import httpx
import pytest
from pydantic import JsonValue

from sandbox.client import SandboxClient
from tests.support.eventually import eventually

DISCOVERY = "/.well-known/openid-configuration"


async def count_generations(bank: SandboxClient) -> int:
    (family,) = (await bank.ledger()).families
    return len(family.refresh_tokens)


@pytest.mark.parametrize("fault", ["lose_answer", "half_answer"])
async def test_a_lost_response_has_still_rotated_the_token(bank: SandboxClient, fault: str) -> None:
    tokens = await bank.link()
    await bank.set_faults(token={fault: True, "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        await bank.refresh(tokens["refresh_token"])
    assert await count_generations(bank) == 2
    assert (await bank.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_request_is_processed_even_if_its_client_disconnects(bank: SandboxClient) -> None:
    tokens = await bank.link()
    await bank.set_faults(token={"delay": 2, "times": 1})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bank.refresh(tokens["refresh_token"]), 1)
    assert await count_generations(bank) == 1

    async def is_processed() -> bool:
        return await count_generations(bank) == 2

    await eventually(is_processed)


async def test_delay_after_delays_the_response_of_a_processed_request(bank: SandboxClient) -> None:
    tokens = await bank.link()
    await bank.set_faults(token={"delay_after": 0.2})
    started = time.monotonic()
    assert (await bank.refresh(tokens["refresh_token"])).status_code == 200
    assert time.monotonic() - started >= 0.2


async def test_a_hanging_endpoint_closes_the_connection_without_processing(bank: SandboxClient) -> None:
    tokens = await bank.link()
    await bank.set_faults(token={"hang": 0.1, "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        await bank.refresh(tokens["refresh_token"])
    assert await count_generations(bank) == 1
    assert (await bank.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_status_fault_leaves_the_request_unprocessed(bank: SandboxClient) -> None:
    tokens = await bank.link()
    await bank.set_faults(token={"status": 429, "retry_after": 7, "times": 2})
    for _ in range(2):
        response = await bank.refresh(tokens["refresh_token"])
        assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert (await bank.refresh(tokens["refresh_token"])).status_code == 200
    assert (await bank.ledger()).totals.answered_by_fault == {"token": 2}


async def test_an_error_fault_leaves_the_request_unprocessed(bank: SandboxClient) -> None:
    tokens = await bank.link()
    await bank.set_faults(token={"error": "invalid_client", "times": 1})
    assert (await bank.refresh(tokens["refresh_token"])).json()["error"] == "invalid_client"
    assert (await bank.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_fault_can_be_limited_to_one_grant_type(bank: SandboxClient) -> None:
    await bank.set_faults(token={"grant_type": "refresh_token", "status": 503, "times": 1})
    tokens = await bank.link()
    assert (await bank.refresh(tokens["refresh_token"])).status_code == 503
    assert (await bank.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status"), [({"garbage": True}, 200), ({"redirect": "http://elsewhere.example/"}, 302)]
)
@pytest.mark.parametrize(
    ("endpoint", "path"), [("discovery", DISCOVERY), ("jwks", f"{DISCOVERY}/jwks"), ("graphql", "/graphql")]
)
async def test_every_endpoint_can_return_garbage_or_redirect(
    bank: SandboxClient, endpoint: str, path: str, fault: dict[str, JsonValue], status: int
) -> None:
    await bank.set_faults(**{endpoint: fault})
    response = await bank.http.request("POST" if endpoint == "graphql" else "GET", path)
    assert response.status_code == status
    with pytest.raises(ValueError):
        response.json()


async def test_a_huge_response_has_exactly_the_requested_size(bank: SandboxClient) -> None:
    await bank.set_faults(graphql={"huge": 5_000_001})
    response = await bank.http.post("/graphql")
    assert len(response.content) == 5_000_001
    assert response.json()["data"]["filling"].startswith("xxx")


async def test_members_of_the_token_response_can_be_overridden(bank: SandboxClient) -> None:
    await bank.set_faults(
        token={"token_response": {"expires_in": "soon", "token_type": "bearer", "access_token": None}}
    )
    tokens: dict[str, object] = {**await bank.link()}
    assert (tokens["expires_in"], tokens["token_type"]) == ("soon", "bearer")
    assert "access_token" not in tokens


async def test_the_discovery_document_can_name_another_issuer(bank: SandboxClient) -> None:
    await bank.set_faults(discovery={"document": {"issuer": "https://another.example", "jwks_uri": None}})
    document = (await bank.http.get(DISCOVERY)).json()
    assert document["issuer"] == "https://another.example"
    assert "jwks_uri" not in document


async def test_iss_is_announced_and_sent_only_when_switched_on(bank: SandboxClient, sandbox_url: str) -> None:
    member = "authorization_response_iss_parameter_supported"
    assert member not in (await bank.http.get(DISCOVERY)).json()
    await bank.set_faults(announce_iss=True)
    assert (await bank.http.get(DISCOVERY)).json()[member] is True
    assert (await bank.log_in()).response["iss"] == sandbox_url


async def test_parameters_of_the_authorization_response_can_be_overridden(bank: SandboxClient) -> None:
    await bank.set_faults(authorization_response={"parameters": {"code": None, "error": "access_denied"}, "times": 1})
    response = (await bank.log_in()).response
    assert response["error"] == "access_denied"
    assert "code" not in response
    assert "code" in (await bank.log_in()).response


async def test_faults_merge_by_endpoint_and_clear(bank: SandboxClient) -> None:
    await bank.set_faults(token={"status": 500})
    await bank.set_faults(jwks={"status": 500})
    faults = (await bank.http.get("/sandbox/faults")).json()
    assert (faults["token"]["status"], faults["jwks"]["status"]) == (500, 500)
    await bank.set_faults(token=None)
    assert (await bank.http.get("/sandbox/faults")).json()["token"] is None
    await bank.http.delete("/sandbox/faults")
    assert (await bank.http.get("/sandbox/faults")).json()["jwks"] is None


async def test_an_unknown_fault_is_rejected(bank: SandboxClient) -> None:
    response = await bank.http.put("/sandbox/faults", json={"token": {"dely": 1}})
    assert response.status_code == 422
