import base64
import hashlib

import httpx
import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey
from pydantic import SecretStr

from app.errors import BankRequestRejected, BankUnreachable, InvalidGrant
from app.oidc.back_channel import BackChannel
from app.oidc.client_authentication import ClientSecret
from app.oidc.dpop import ProofKey, Prover, target_of
from app.oidc.provider import EndpointOverrides, Extensions, Provider, Use
from app.oidc.token_endpoint import TokenEndpoint, TokenResponse, read_tokens
from sandbox.client import Login, SandboxClient
from sandbox.settings import CLIENT_ID, CLIENT_SECRET, REDIRECT_URIS
from tests.support.clock import SteerableClock
from tests.support.hostile import HostileServer, Reply, json_reply

TARGET = "https://bank.example/connect/token"


def back_channel_of(client: httpx.AsyncClient, clock: SteerableClock, issuer: str, dpop: Use = "auto") -> BackChannel:
    provider = Provider(
        client,
        clock,
        issuer=issuer,
        overrides=EndpointOverrides(),
        extensions=Extensions(dpop=dpop),
        timeout=10,
        is_allowed=lambda _: True,
    )
    authentication = ClientSecret(CLIENT_ID, SecretStr(CLIENT_SECRET), "client_secret_post")
    return BackChannel(client, provider, authentication, clock)


@pytest.fixture
def back_channel(client: httpx.AsyncClient, clock: SteerableClock, bank_url: str) -> BackChannel:
    return back_channel_of(client, clock, bank_url)


@pytest.fixture
def endpoint(back_channel: BackChannel) -> TokenEndpoint:
    return TokenEndpoint(back_channel)


async def exchange(endpoint: TokenEndpoint, login: Login, key: ProofKey | None) -> TokenResponse:
    body = await endpoint.exchange(
        code=SecretStr(login.answer["code"]),
        code_verifier=SecretStr(login.code_verifier),
        redirect_uri=REDIRECT_URIS[0],
        deadline=20,
        proof_key=key,
    )
    return read_tokens(body, key.secret if key else None)


def opened(proof: str) -> tuple[dict[str, object], dict[str, object]]:
    """Check a proof's signature with the key that it shows, and return its header and claims."""
    shown = ECKey.import_key(jws.extract_compact(proof.encode()).headers()["jwk"])
    token = jwt.decode(proof, shown, algorithms=["ES256"])
    return token.header, token.claims


def test_a_proof_says_what_rfc_9449_wants(clock: SteerableClock) -> None:
    key, prover = ProofKey.new(), Prover(clock)
    first, second = (opened(prover.proof(key, TARGET)) for _ in range(2))
    header, claims = first
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    assert isinstance(header["jwk"], dict)
    assert header["jwk"].keys() == {"kty", "crv", "x", "y"}
    assert claims.keys() == {"jti", "htm", "htu", "iat"}
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("POST", TARGET, int(clock.now().timestamp()))
    assert claims["jti"] != second[1]["jti"]


def test_a_proof_for_a_query_names_the_token(clock: SteerableClock) -> None:
    _, claims = opened(Prover(clock).proof(ProofKey.new(), TARGET, SecretStr("token")))
    assert claims["ath"] == base64.urlsafe_b64encode(hashlib.sha256(b"token").digest()).decode().rstrip("=")


def test_the_last_nonce_goes_into_the_next_proof(clock: SteerableClock) -> None:
    prover = Prover(clock)
    for nonce in ("first", "second", None, "x" * 2_000):
        prover.heed(nonce)
    assert opened(prover.proof(ProofKey.new(), TARGET))[1]["nonce"] == "second"


def test_a_key_comes_back_as_it_was_stored_and_does_not_print(clock: SteerableClock) -> None:
    key = ProofKey.new()
    again = ProofKey.parse(key.secret)
    assert again.thumbprint == key.thumbprint != ProofKey.new().thumbprint
    shown = opened(Prover(clock).proof(again, TARGET))[0]["jwk"]
    assert isinstance(shown, dict)
    assert ECKey.import_key(shown).thumbprint() == key.thumbprint
    private = key.secret.get_secret_value().split('"d": "')[1][:43]
    assert private not in repr(key) + str(key) + repr(vars(key))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://bank.example/graphql", "https://bank.example/graphql"),
        ("https://bank.example/graphql?a=b#c", "https://bank.example/graphql"),
    ],
)
def test_a_proof_is_for_the_address_without_its_query(url: str, target: str) -> None:
    assert target_of(url) == target


async def test_tokens_are_bound_where_the_bank_announces_it(
    bank: SandboxClient, back_channel: BackChannel, endpoint: TokenEndpoint
) -> None:
    await bank.set_faults(dpop="required", dpop_nonces=True)
    key = await back_channel.new_proof_key()
    tokens = await exchange(endpoint, await bank.log_in(), key)
    assert key is not None
    assert tokens.token_type == "DPoP"
    assert tokens.proof_key == key.secret
    assert tokens.refresh_token is not None
    fresh = await endpoint.refresh(tokens.refresh_token, deadline=20)
    assert fresh.proof_key is not None
    assert ProofKey.parse(fresh.proof_key).thumbprint != key.thumbprint
    for secret in (tokens.proof_key, fresh.proof_key):
        assert secret.get_secret_value() not in repr(tokens) + repr(fresh)


@pytest.mark.parametrize(
    ("announced", "dpop", "is_used"),
    [
        (None, "auto", False),
        (["ES256", "RS256"], "auto", True),
        (["RS256"], "auto", False),
        (["ES256"], "off", False),
        (None, "on", True),
    ],
)
async def test_the_setting_and_what_is_announced_decide(
    client: httpx.AsyncClient,
    clock: SteerableClock,
    hostile: HostileServer,
    announced: object,
    *,
    dpop: Use,
    is_used: bool,
) -> None:
    hostile.announce(dpop_signing_alg_values_supported=announced)
    back_channel = back_channel_of(client, clock, hostile.url, dpop)
    assert (await back_channel.new_proof_key() is not None) is is_used


async def test_a_refresh_that_lacks_the_nonce_spends_nothing_and_is_made_again(
    bank: SandboxClient, endpoint: TokenEndpoint
) -> None:
    await bank.set_faults(dpop="required", dpop_nonces=True)
    refresh_token = SecretStr((await bank_grant(bank))["refresh_token"])
    assert (await endpoint.refresh(refresh_token, deadline=20)).access_token is not None
    requests = (await bank.ledger()).totals.token_requests["refresh_token"]
    assert requests == {"use_dpop_nonce": 1, "ok": 1}
    with pytest.raises(InvalidGrant):
        await endpoint.refresh(refresh_token, deadline=20)


async def test_the_nonce_of_a_good_answer_saves_the_next_challenge(
    bank: SandboxClient, endpoint: TokenEndpoint
) -> None:
    await bank.set_faults(dpop="required", dpop_nonces=True)
    for _ in range(3):
        await bank.control("rotate-dpop-nonce")
        await endpoint.refresh(SecretStr((await bank_grant(bank))["refresh_token"]), deadline=20)
    requests = (await bank.ledger()).totals.token_requests["refresh_token"]
    assert requests == {"use_dpop_nonce": 1, "ok": 3}


async def test_a_bank_that_never_likes_its_own_nonce_is_asked_twice_only(
    client: httpx.AsyncClient, clock: SteerableClock, hostile: HostileServer
) -> None:
    hostile.announce(dpop_signing_alg_values_supported=["ES256"])
    hostile.replies["/token"] = json_reply({"error": "use_dpop_nonce"}, 400, dpop_nonce="n")
    with pytest.raises(BankRequestRejected, match="use_dpop_nonce"):
        await TokenEndpoint(back_channel_of(client, clock, hostile.url)).refresh(SecretStr("rt"), deadline=20)
    proofs = [headers["dpop"] for path, headers, _ in hostile.received if path == "/token"]
    assert [opened(proof)[1].get("nonce") for proof in proofs] == [None, "n"]
    assert opened(proofs[0])[1]["jti"] != opened(proofs[1])[1]["jti"]


async def test_a_wish_for_a_nonce_without_one_is_a_refusal(
    client: httpx.AsyncClient, clock: SteerableClock, hostile: HostileServer
) -> None:
    hostile.announce(dpop_signing_alg_values_supported=["ES256"])
    hostile.replies["/token"] = json_reply({"error": "use_dpop_nonce"}, 400)
    with pytest.raises(BankRequestRejected):
        await TokenEndpoint(back_channel_of(client, clock, hostile.url)).refresh(SecretStr("rt"), deadline=20)
    assert hostile.count("/token") == 1


async def test_both_requests_share_one_deadline(
    client: httpx.AsyncClient, clock: SteerableClock, hostile: HostileServer
) -> None:
    """Otherwise the second one could outlast the lease of a refresh."""
    hostile.announce(dpop_signing_alg_values_supported=["ES256"])

    def late() -> Reply:
        clock.advance(20)
        return json_reply({"error": "use_dpop_nonce"}, 400, dpop_nonce="n")

    hostile.replies["/token"] = late
    with pytest.raises(BankUnreachable):
        await TokenEndpoint(back_channel_of(client, clock, hostile.url)).refresh(SecretStr("rt"), deadline=20)
    assert hostile.count("/token") == 1


async def test_a_token_that_the_bank_did_not_bind_has_no_key(bank: SandboxClient, endpoint: TokenEndpoint) -> None:
    await bank.set_faults(dpop="offered", token={"token_response": {"token_type": "Bearer"}})
    fresh = await endpoint.refresh(SecretStr((await bank_grant(bank))["refresh_token"]), deadline=20)
    assert fresh.proof_key is None


async def bank_grant(bank: SandboxClient) -> dict[str, str]:
    grants = await bank.control("grants", sub=await bank.sub_of("thandi"))
    granted: dict[str, str] = grants.json()["grants"][0]
    return granted
