"""The checks of `broker doctor` that send requests to the bank and to the issuer of service tokens."""

import contextlib
import re

import httpx
from pydantic import SecretStr

from app.bank.dpop_proofs import DpopProofs
from app.bank.providers import client_authentication, open_provider
from app.base.clock import SystemClock
from app.callers.build import open_service_tokens
from app.cli.doctor_login import CHECK, MEND, examine_login_request
from app.cli.findings import Finding, attempt
from app.errors import BankRequestRejected, InvalidGrant
from app.oidc.back_channel import BackChannel
from app.oidc.dpop import ProofKey
from app.oidc.provider import Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.settings import Settings

# Visible ASCII without spaces, as tokens are, so that a server cannot reject it for its form.
_MADE_UP_TOKEN = SecretStr("made-up-by-broker-doctor")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
# An authentication scheme at the start of a challenge (RFC 9110 section 11.6.1), not a parameter.
_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][\w-]*)(?=\s|,|$)(?!\s*=)", re.ASCII)


async def examine_bank(settings: Settings, client: httpx.AsyncClient) -> list[Finding]:
    """Check everything that the settings say about the bank."""
    provider = open_provider(settings, client, SystemClock())
    mend = "check BROKER_STITCH_CLIENT_ID, and the secret or key; secrets are given as they are, not URL-encoded"
    findings = [
        await attempt("client authentication", mend, _client_authentication(settings, client, provider)),
        await attempt("discovery", "check BROKER_STITCH_ISSUER and the way out", _discovery(provider)),
        await attempt(CHECK, MEND, examine_login_request(settings, client, provider)),
        await attempt("signing keys", "check the way out, or BROKER_STITCH_JWKS_URI", _keys(provider)),
        await attempt("graphql", "check BROKER_STITCH_GRAPHQL_URL and the way out", _graphql(client, settings)),
    ]
    if tokens := open_service_tokens(settings, client, SystemClock()):
        mend = "check BROKER_SERVICE_TOKEN_ISSUER and the way there"
        findings.append(await attempt("service token keys", mend, _keys(tokens.provider, "service token keys")))
    return findings


async def _client_authentication(settings: Settings, client: httpx.AsyncClient, provider: Provider) -> Finding:
    """Present a refresh token that no bank has issued: a bank that refuses it has accepted the client."""
    clock = SystemClock()
    authentication = client_authentication(settings, clock)
    token_endpoint = TokenEndpoint(BackChannel(client, provider, authentication, clock))
    with contextlib.suppress(InvalidGrant, BankRequestRejected):
        await token_endpoint.refresh(_MADE_UP_TOKEN, timeout_seconds=10, is_bound=settings.stitch_dpop == "on")
    return Finding("client authentication", True, f"{settings.stitch_client_auth}, which the bank accepts")


async def _discovery(provider: Provider) -> Finding:
    metadata = await provider.metadata()
    if metadata.revocation_endpoint is None:
        mend = "set BROKER_STITCH_REVOCATION_ENDPOINT, or no token is ever revoked at the bank"
        return Finding("discovery", False, "the bank announces no revocation_endpoint", mend)
    pushed = metadata.pushed_authorization_request_endpoint is not None
    return Finding(
        "discovery",
        True,
        f"{metadata.token_endpoint}; login requests are {'pushed' if pushed else 'not pushed'} (PAR), "
        f"tokens are {'bound to keys' if metadata.uses_dpop else 'bearer tokens'} (DPoP)",
    )


async def _keys(provider: Provider, check: str = "signing keys") -> Finding:
    keys = await provider.signing_keys()
    return Finding(check, True, f"{len(keys.keys)} published")


async def _graphql(client: httpx.AsyncClient, settings: Settings) -> Finding:
    """Send a made-up token: any response will do, unless it says that the server takes only the other scheme."""
    scheme, other = ("DPoP", "Bearer") if settings.stitch_dpop == "on" else ("Bearer", "DPoP")
    headers = {"authorization": f"{scheme} {_MADE_UP_TOKEN.get_secret_value()}"}
    if scheme == "DPoP":
        proofs = DpopProofs(settings.stitch_graphql_url, SystemClock())
        headers["dpop"] = proofs.proof(ProofKey.generate(), _MADE_UP_TOKEN)
    response = await client.post(
        settings.stitch_graphql_url, json={"query": "{ __typename }"}, headers=headers, timeout=10
    )
    schemes = _challenged_schemes(response.headers.get_list("www-authenticate"))
    if other.lower() in schemes and scheme.lower() not in schemes:
        right_value = "off" if other == "Bearer" else "on"
        return Finding(
            "graphql",
            False,
            f"accepts only {other} tokens, and the broker would send {scheme} tokens",
            f"set BROKER_STITCH_DPOP={right_value}, and link again the connections that were linked before",
        )
    return Finding("graphql", True, f"answers ({response.status_code} to a made-up {scheme} token)")


def _challenged_schemes(challenges: list[str]) -> set[str]:
    """Return the authentication schemes that `WWW-Authenticate` names, in lower case."""
    text = ", ".join(_QUOTED.sub('""', challenge) for challenge in challenges)
    return {scheme.lower() for scheme in _SCHEME.findall(text)}
