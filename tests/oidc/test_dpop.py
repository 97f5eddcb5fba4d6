import base64
import hashlib

import httpx
import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey
from pydantic import SecretStr

from app.errors import BankRequestRejected, BankUnreachable, InvalidGrant
from app.oidc.back_channel import BackChannel
from app.oidc.dpop import ProofFactory, ProofKey, htu_of
from app.oidc.provider_metadata import DpopUse, Extensions
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.token_response import TokenResponse, parse_token_response
from sandbox.client import Login, SandboxClient
from sandbox.settings import REDIRECT_URIS
from tests.oidc.providers import back_channel_for, checked_response
from tests.support.clock import AdjustableClock
from tests.support.hostile import HostileServer, Reply, json_reply

TARGET = "https://bank.example/connect/token"


def dpop_back_channel(
    client: httpx.AsyncClient, clock: AdjustableClock, issuer: str, dpop: DpopUse = "on"
) -> BackChannel:
    return back_channel_for(client, clock, issuer, extensions=Extensions(dpop=dpop))


@pytest.fixture
def back_channel(client: httpx.AsyncClient, clock: AdjustableClock, bank_url: str) -> BackChannel:
    return dpop_back_channel(client, clock, bank_url)


@pytest.fixture
def endpoint(back_channel: BackChannel) -> TokenEndpoint:
    return TokenEndpoint(back_channel)


async def exchange(back_channel: BackChannel, login: Login, key: ProofKey | None) -> TokenResponse:
    body = await TokenEndpoint(back_channel).exchange(
        await checked_response(login, back_channel),
        code_verifier=SecretStr(login.code_verifier),
        redirect_uri=REDIRECT_URIS[0],
        timeout_seconds=20,
        proof_key=key,
    )
    return parse_token_response(body, key.private_jwk if key else None)


def decode(proof: str) -> tuple[dict[str, object], dict[str, object]]:
    """Check a proof's signature with the key in its header, and return its header and claims."""
    shown = ECKey.import_key(jws.extract_compact(proof.encode()).headers()["jwk"])
    token = jwt.decode(proof, shown, algorithms=["ES256"])
    return token.header, token.claims


def test_a_proof_has_the_claims_that_rfc_9449_requires(clock: AdjustableClock) -> None:
    key, proofs = ProofKey.generate(), ProofFactory(clock)
    first, second = (decode(proofs.new_proof(key, TARGET)) for _ in range(2))
    header, claims = first
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    assert isinstance(header["jwk"], dict)
    assert header["jwk"].keys() == {"kty", "crv", "x", "y"}
    assert claims.keys() == {"jti", "htm", "htu", "iat"}
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("POST", TARGET, int(clock.now().timestamp()))
    assert claims["jti"] != second[1]["jti"]


def test_a_proof_for_a_query_has_the_hash_of_the_access_token(clock: AdjustableClock) -> None:
    _, claims = decode(ProofFactory(clock).new_proof(ProofKey.generate(), TARGET, SecretStr("token")))
    assert claims["ath"] == base64.urlsafe_b64encode(hashlib.sha256(b"token").digest()).decode().rstrip("=")


def test_the_latest_nonce_is_used_in_the_next_proof(clock: AdjustableClock) -> None:
    proofs = ProofFactory(clock)
    for nonce in ("first", "second", None, "x" * 2_000):
        proofs.remember_nonce(nonce)
    assert decode(proofs.new_proof(ProofKey.generate(), TARGET))[1]["nonce"] == "second"


def test_a_stored_key_is_loaded_again_and_not_shown_by_repr(clock: AdjustableClock) -> None:
    key = ProofKey.generate()
    again = ProofKey.from_private_jwk(key.private_jwk)
    assert again.thumbprint == key.thumbprint != ProofKey.generate().thumbprint
    shown = decode(ProofFactory(clock).new_proof(again, TARGET))[0]["jwk"]
    assert isinstance(shown, dict)
    assert ECKey.import_key(shown).thumbprint() == key.thumbprint
    private = key.private_jwk.get_secret_value().split('"d": "')[1][:43]
    assert private not in repr(key) + str(key) + repr(vars(key))


@pytest.mark.parametrize(
    ("url", "htu"),
    [
        ("https://bank.example/graphql", "https://bank.example/graphql"),
        ("https://bank.example/graphql?a=b#c", "https://bank.example/graphql"),
    ],
)
def test_htu_is_the_url_without_query_and_fragment(url: str, htu: str) -> None:
    assert htu_of(url) == htu


async def test_tokens_are_bound_if_the_setting_is_on(
    bank: SandboxClient, back_channel: BackChannel, endpoint: TokenEndpoint
) -> None:
    await bank.set_faults(dpop="required", dpop_nonces=True)
    key = await back_channel.new_proof_key()
    tokens = await exchange(back_channel, await bank.log_in(), key)
    assert key is not None
    assert tokens.token_type == "DPoP"
    assert tokens.proof_key == key.private_jwk
    assert tokens.refresh_token is not None
    refreshed = await endpoint.refresh(tokens.refresh_token, timeout_seconds=20, is_bound=True)
    assert refreshed.proof_key is not None
    assert ProofKey.from_private_jwk(refreshed.proof_key).thumbprint != key.thumbprint
    for secret in (tokens.proof_key, refreshed.proof_key):
        assert secret.get_secret_value() not in repr(tokens) + repr(refreshed)


@pytest.mark.parametrize(
    ("announced", "dpop", "is_used"),
    [
        (None, "off", False),
        (["ES256", "RS256"], "off", False),
        (["ES256", "RS256"], "on", True),
        (None, "on", True),
    ],
)
async def test_the_setting_alone_decides_whether_dpop_is_used(
    client: httpx.AsyncClient,
    clock: AdjustableClock,
    hostile: HostileServer,
    announced: object,
    *,
    dpop: DpopUse,
    is_used: bool,
) -> None:
    hostile.announce(dpop_signing_alg_values_supported=announced)
    back_channel = dpop_back_channel(client, clock, hostile.url, dpop)
    assert (await back_channel.new_proof_key() is not None) is is_used


async def test_a_refresh_without_the_required_nonce_uses_up_no_token_and_is_repeated(
    bank: SandboxClient, endpoint: TokenEndpoint
) -> None:
    await bank.set_faults(dpop="required", dpop_nonces=True)
    refresh_token = SecretStr((await bank_grant(bank))["refresh_token"])
    assert (await endpoint.refresh(refresh_token, timeout_seconds=20, is_bound=True)).access_token is not None
    requests = (await bank.ledger()).totals.token_requests["refresh_token"]
    assert requests == {"use_dpop_nonce": 1, "ok": 1}
    with pytest.raises(InvalidGrant):
        await endpoint.refresh(refresh_token, timeout_seconds=20, is_bound=True)


async def test_the_nonce_of_a_successful_response_avoids_the_next_challenge(
    bank: SandboxClient, endpoint: TokenEndpoint
) -> None:
    await bank.set_faults(dpop="required", dpop_nonces=True)
    for _ in range(3):
        await bank.control("rotate-dpop-nonce")
        await endpoint.refresh(SecretStr((await bank_grant(bank))["refresh_token"]), timeout_seconds=20, is_bound=True)
    requests = (await bank.ledger()).totals.token_requests["refresh_token"]
    assert requests == {"use_dpop_nonce": 1, "ok": 3}


async def test_a_bank_that_keeps_refusing_its_own_nonce_gets_only_two_requests(
    client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer
) -> None:
    hostile.announce()
    hostile.replies["/token"] = json_reply({"error": "use_dpop_nonce"}, 400, dpop_nonce="n")
    with pytest.raises(BankRequestRejected, match="use_dpop_nonce"):
        await TokenEndpoint(dpop_back_channel(client, clock, hostile.url)).refresh(
            SecretStr("rt"), timeout_seconds=20, is_bound=True
        )
    proofs = [headers["dpop"] for path, headers, _ in hostile.received if path == "/token"]
    assert [decode(proof)[1].get("nonce") for proof in proofs] == [None, "n"]
    assert decode(proofs[0])[1]["jti"] != decode(proofs[1])[1]["jti"]


async def test_a_nonce_challenge_without_a_nonce_is_not_repeated(
    client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer
) -> None:
    hostile.announce()
    hostile.replies["/token"] = json_reply({"error": "use_dpop_nonce"}, 400)
    with pytest.raises(BankRequestRejected):
        await TokenEndpoint(dpop_back_channel(client, clock, hostile.url)).refresh(
            SecretStr("rt"), timeout_seconds=20, is_bound=True
        )
    assert hostile.count("/token") == 1


async def test_both_requests_share_one_timeout(
    client: httpx.AsyncClient, clock: AdjustableClock, hostile: HostileServer
) -> None:
    """Otherwise the second request could outlast the lease of a refresh."""

    hostile.announce()

    def late() -> Reply:
        clock.advance(20)
        return json_reply({"error": "use_dpop_nonce"}, 400, dpop_nonce="n")

    hostile.replies["/token"] = late
    with pytest.raises(BankUnreachable):
        await TokenEndpoint(dpop_back_channel(client, clock, hostile.url)).refresh(
            SecretStr("rt"), timeout_seconds=20, is_bound=True
        )
    assert hostile.count("/token") == 1


@pytest.mark.parametrize("dpop", ["off", "on"])
async def test_a_refresh_sends_a_proof_if_the_old_tokens_are_bound_whatever_the_setting(
    bank: SandboxClient, client: httpx.AsyncClient, clock: AdjustableClock, bank_url: str, dpop: DpopUse
) -> None:
    await bank.set_faults(dpop="offered")
    endpoint = TokenEndpoint(dpop_back_channel(client, clock, bank_url, dpop))
    for is_bound in (True, False):
        refresh_token = SecretStr((await bank_grant(bank))["refresh_token"])
        refreshed = await endpoint.refresh(refresh_token, timeout_seconds=20, is_bound=is_bound)
        assert refreshed.token_type == ("DPoP" if is_bound else "Bearer")
        assert (refreshed.proof_key is not None) is is_bound


async def test_a_token_that_the_bank_did_not_bind_has_no_proof_key(
    bank: SandboxClient, endpoint: TokenEndpoint
) -> None:
    await bank.set_faults(dpop="offered", token={"token_response": {"token_type": "Bearer"}})
    refreshed = await endpoint.refresh(
        SecretStr((await bank_grant(bank))["refresh_token"]), timeout_seconds=20, is_bound=True
    )
    assert refreshed.proof_key is None


async def bank_grant(bank: SandboxClient) -> dict[str, str]:
    grants = await bank.control("grants", sub=await bank.sub_of("thandi"))
    granted: dict[str, str] = grants.json()["grants"][0]
    return granted
