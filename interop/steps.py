"""The steps that are run for each variant. Every step raises CheckFailed if its check fails."""

import asyncio
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx

from app.bank.providers import client_authentication, open_provider
from app.base.clock import SystemClock
from app.errors import InvalidGrant
from app.oidc.back_channel import BackChannel
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.transport import bank_client
from app.settings import Settings
from app.store.connections import TokenSet
from interop.broker import QUERY, BrokerClient
from interop.browser import Browser
from interop.harness import Harness
from interop.report import CheckFailed, expect
from interop.third_party_servers import ThirdPartyServers
from interop.variants import Variant

SUBJECT = "thandi"
CONCURRENT_QUERIES = 20
_SHORT_LIFETIME_SECONDS = 4
_NORMAL_LIFETIME_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class VariantRun:
    """One variant, and the processes that run for it."""

    variant: Variant
    harness: Harness
    settings: Settings
    servers: ThirdPartyServers
    broker: BrokerClient

    async def link(self, **members: object) -> str:
        """Link an account as a user with a browser, and return the connection's id.

        `members` are added to the body of the request that starts the session.
        """
        session = await self.broker.start_session(**members)
        browser = Browser(SUBJECT)
        try:
            await browser.complete(session["connect_url"])
        finally:
            await browser.close()
        ended = await self.broker.wait_for_session(session["id"])
        expect(ended["status"] == "completed", f"the session is {ended['status']}: {ended['error']}")
        return str(ended["connection_id"])

    async def use_refresh_token(self, tokens: TokenSet) -> None:
        """Refresh with the broker's client authentication, but outside the broker. Raises InvalidGrant."""
        assert tokens.refresh_token is not None
        async with bank_client() as client:
            clock = SystemClock()
            provider = open_provider(self.settings, client, clock)
            authentication = client_authentication(self.settings, clock)
            endpoint = TokenEndpoint(BackChannel(client, provider, authentication, clock))
            is_bound = tokens.proof_key is not None
            await endpoint.refresh(tokens.refresh_token, timeout_seconds=20, is_bound=is_bound)


async def check_authorization_url(run: VariantRun) -> None:
    """The URL has all parameters or, with PAR, only a reference to them (FAPI 2.0 Security Profile, 5.3.3)."""
    session = await run.broker.start_session()
    names = set(parse_qs(urlsplit(session["authorization_url"]).query))
    documented = {"client_id", "scope", "response_type", "redirect_uri", "nonce", "state", "prompt"}
    expected = {"client_id", "request_uri"}
    if not run.variant.fapi:
        expected = documented | {"code_challenge", "code_challenge_method"}
    expect(names == expected, f"the URL has the parameters {sorted(names)}")


async def link_account(run: VariantRun) -> str:
    """Link an account, check the connection, and return its id."""
    connection_id = await run.link()
    connection = await run.broker.get_connection(connection_id)
    expect(connection["subject"] == SUBJECT, f"the subject is {connection['subject']}")
    expect(connection["refreshable"] is True, "the connection is not refreshable")
    is_bound = (await run.harness.get_tokens(connection_id)).proof_key is not None
    expect(is_bound is run.variant.fapi, f"the token is {'' if is_bound else 'not '}bound to a key")
    return connection_id


async def cancel_login(run: VariantRun) -> None:
    """If the provider sends `error=access_denied`, the session is cancelled."""
    session = await run.broker.start_session()
    browser = Browser(SUBJECT)
    try:
        interaction_url = await _open_first_page(browser, session["connect_url"])
        await browser.complete(f"{interaction_url}/abort")
    finally:
        await browser.close()
    ended = await run.broker.wait_for_session(session["id"])
    expect(ended["status"] == "cancelled", f"the session is {ended['status']}: {ended['error']}")


async def _open_first_page(browser: Browser, url: str) -> str:
    response = await browser.open(url)
    while response.is_redirect:
        response = await browser.open(str(response.url.join(response.headers["location"])))
    return str(response.url)


async def check_refresh_after_rejection(run: VariantRun, connection_id: str) -> None:
    """If the GraphQL server rejects the token, concurrent queries cause one refresh, with a new refresh token."""
    before = await run.harness.get_tokens(connection_id)
    refreshes_before = (await run.servers.call_provider("ledger"))["refreshed"]
    await run.servers.call_provider("expire-access-tokens")
    await asyncio.gather(
        *(run.broker.expect_answer(connection_id, subject=SUBJECT, version=2) for _ in range(CONCURRENT_QUERIES))
    )
    after = await run.harness.get_tokens(connection_id)
    expect(before.refresh_token != after.refresh_token, "the provider did not rotate the refresh token")
    refreshes = (await run.servers.call_provider("ledger"))["refreshed"] - refreshes_before
    expect(refreshes == 1, f"{CONCURRENT_QUERIES} queries caused {refreshes} refreshes")


async def check_refresh_before_expiry(run: VariantRun, connection_id: str) -> None:
    """The broker never sends an expired token to the GraphQL server."""
    await run.servers.call_provider("lifetime", seconds=_SHORT_LIFETIME_SECONDS)
    try:
        await run.broker.refresh(connection_id)
        rejected_before = (await run.servers.call_graphql_server("ledger"))["expired"]
        await asyncio.sleep(_SHORT_LIFETIME_SECONDS / 2 + 0.5)
        await run.broker.expect_answer(connection_id, subject=SUBJECT, version=4)
        rejected = (await run.servers.call_graphql_server("ledger"))["expired"] - rejected_before
        expect(rejected == 0, f"an expired token was sent {rejected} times")
    finally:
        await run.servers.call_provider("lifetime", seconds=_NORMAL_LIFETIME_SECONDS)
    await run.broker.refresh(connection_id)


async def check_signing_key_rotation(run: VariantRun) -> None:
    """The broker fetches a signing key that the provider had not published before."""
    await run.servers.call_provider("rotate-signing-key")
    connection_id = await run.link()
    await run.broker.expect_answer(connection_id, subject=SUBJECT, version=1)


async def check_token_is_bound(run: VariantRun, connection_id: str) -> None:
    """With DPoP, the token is rejected as a bearer token, and with the DPoP scheme but without a proof."""
    token = (await run.harness.get_tokens(connection_id)).access_token.get_secret_value()
    async with httpx.AsyncClient(timeout=30) as http:
        for scheme in ("Bearer", "DPoP"):
            headers = {"authorization": f"{scheme} {token}"}
            response = await http.post(run.servers.graphql_url, json={"query": QUERY}, headers=headers)
            expect(response.status_code == 401, f"the scheme {scheme} returned {response.status_code}")


async def check_nonce_rotation(run: VariantRun, connection_id: str) -> None:
    """With DPoP, the broker repeats a query once if the GraphQL server has a new nonce."""
    before = await run.servers.call_graphql_server("ledger")
    await run.servers.call_graphql_server("rotate-nonce")
    version = (await run.broker.get_connection(connection_id))["version"]
    await run.broker.expect_answer(connection_id, subject=SUBJECT, version=version)
    after = await run.servers.call_graphql_server("ledger")
    demanded = after["nonces_demanded"] - before["nonces_demanded"]
    expect(demanded == 1, f"the server demanded the nonce {demanded} times")


async def check_refresh_token_reuse(run: VariantRun, connection_id: str) -> None:
    """Reuse of a refresh token ends the consent at the provider, and the broker reports it."""
    used = await run.harness.get_tokens(connection_id)
    await run.broker.refresh(connection_id)
    try:
        await run.use_refresh_token(used)
    except InvalidGrant:
        pass
    else:
        raise CheckFailed("the provider accepted a refresh token twice")
    await run.broker.expect_error(connection_id, "REAUTHORIZATION_REQUIRED")
    reason = (await run.broker.get_connection(connection_id))["reauthorization_reason"]
    expect(reason == "invalid_grant", f"the reason is {reason}")


async def check_renewal(run: VariantRun, connection_id: str) -> None:
    """The connection works again after a login that renews it."""
    version = (await run.broker.get_connection(connection_id))["version"]
    renewed_id = await run.link(connection_id=connection_id)
    expect(renewed_id == connection_id, "the renewal created another connection")
    await run.broker.expect_answer(connection_id, subject=SUBJECT, version=version + 1)


async def check_revocation(run: VariantRun, connection_id: str) -> None:
    """After disconnecting, the tokens are no longer active at the provider."""
    tokens = await run.harness.get_tokens(connection_id)
    assert tokens.refresh_token is not None
    expect(await run.servers.is_active(tokens.access_token.get_secret_value()), "the token was not active before")
    await run.broker.disconnect(connection_id)
    await run.broker.expect_error(connection_id, "CONNECTION_REVOKED")
    for token in (tokens.access_token, tokens.refresh_token):
        is_active = await run.servers.is_active(token.get_secret_value())
        expect(not is_active, "a token is still active at the provider")
