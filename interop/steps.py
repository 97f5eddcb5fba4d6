"""The journey, step by step. Each step says what it protects, and raises where that does not hold."""

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
from interop.broker import QUERY, Broker, Home
from interop.browser import Browser
from interop.provider import OtherSide
from interop.report import expect
from interop.variants import Variant

SUBJECT = "thandi"
_AT_ONCE = 20
_SHORT_LIFE = 4


@dataclass(frozen=True, slots=True)
class Scene:
    """One variant, with everything that runs for it."""

    variant: Variant
    home: Home
    settings: Settings
    other_side: OtherSide
    broker: Broker

    async def link(self, **wanted: object) -> str:
        """Link an account as a user with a browser does, and return the connection's id."""
        session = await self.broker.start(**wanted)
        browser = Browser(SUBJECT)
        try:
            await browser.walk(session["connect_url"])
        finally:
            await browser.close()
        ended = await self.broker.session(session["id"])
        expect(ended["status"] == "completed", f"the session is {ended['status']}: {ended['error']}")
        return str(ended["connection_id"])

    async def present(self, tokens: TokenSet) -> None:
        """Present a refresh token as the broker's client would, beside the broker. Raises InvalidGrant."""
        assert tokens.refresh_token is not None
        async with bank_client() as client:
            clock = SystemClock()
            provider = open_provider(self.settings, client, clock)
            authentication = client_authentication(self.settings, clock)
            endpoint = TokenEndpoint(BackChannel(client, provider, authentication, clock))
            await endpoint.refresh(tokens.refresh_token, deadline=20)


async def the_browser_carries_what_it_must(scene: Scene) -> None:
    """Without pushed requests everything, with them a reference alone (FAPI 2.0 Security Profile 5.3.3)."""
    session = await scene.broker.start()
    names = set(parse_qs(urlsplit(session["authorization_url"]).query))
    documented = {"client_id", "scope", "response_type", "redirect_uri", "nonce", "state", "prompt"}
    expected = {"client_id", "request_uri"}
    if not scene.variant.fapi:
        expected = documented | {"code_challenge", "code_challenge_method"}
    expect(names == expected, f"the address has {sorted(names)}")


async def an_account_is_linked(scene: Scene) -> str:
    """Session, login, consent, callback; return the connection's id."""
    connection_id = await scene.link()
    found = await scene.broker.connection(connection_id)
    expect(found["subject"] == SUBJECT, f"the subject is {found['subject']}")
    expect(found["refreshable"] is True, "it is not refreshable")
    tokens = await scene.home.tokens_of(connection_id)
    expect((tokens.proof_key is not None) is scene.variant.fapi, "the token is bound, or is not, against the plan")
    return connection_id


async def a_login_can_be_cancelled(scene: Scene) -> None:
    """The provider sends `error=access_denied`, with `iss`."""
    session = await scene.broker.start()
    browser = Browser(SUBJECT)
    try:
        interaction = await _first_page(browser, session["connect_url"])
        await browser.walk(f"{interaction}/abort")
    finally:
        await browser.close()
    ended = await scene.broker.session(session["id"])
    expect(ended["status"] == "cancelled", f"the session is {ended['status']}: {ended['error']}")


async def _first_page(browser: Browser, url: str) -> str:
    response = await browser.open(url)
    while response.is_redirect:
        response = await browser.open(str(response.url.join(response.headers["location"])))
    return str(response.url)


async def a_refused_token_is_replaced_once(scene: Scene, connection_id: str) -> None:
    """The GraphQL server refuses the token; queries at once make one refresh, which rotates the refresh token."""
    before = await scene.home.tokens_of(connection_id)
    refreshed = (await scene.other_side.provider("ledger"))["refreshed"]
    await scene.other_side.provider("expire-access-tokens")
    await asyncio.gather(*(scene.broker.answers(connection_id, subject=SUBJECT, version=2) for _ in range(_AT_ONCE)))
    after = await scene.home.tokens_of(connection_id)
    expect(before.refresh_token != after.refresh_token, "the provider did not rotate the refresh token")
    count = (await scene.other_side.provider("ledger"))["refreshed"] - refreshed
    expect(count == 1, f"{_AT_ONCE} queries made {count} refreshes")


async def an_old_token_is_replaced_before_it_is_refused(scene: Scene, connection_id: str) -> None:
    """The token's time runs out, and the GraphQL server never sees it."""
    await scene.other_side.provider("lifetime", seconds=_SHORT_LIFE)
    try:
        await scene.broker.refresh(connection_id)
        expired = (await scene.other_side.resource("ledger"))["expired"]
        await asyncio.sleep(_SHORT_LIFE / 2 + 0.5)
        await scene.broker.answers(connection_id, subject=SUBJECT, version=4)
        seen = (await scene.other_side.resource("ledger"))["expired"] - expired
        expect(seen == 0, f"an expired token was sent {seen} times")
    finally:
        await scene.other_side.provider("lifetime", seconds=3600)
    await scene.broker.refresh(connection_id)


async def a_new_signing_key_is_fetched(scene: Scene) -> None:
    """The provider signs with a key that it did not publish before."""
    await scene.other_side.provider("rotate-signing-key")
    connection_id = await scene.link()
    await scene.broker.answers(connection_id, subject=SUBJECT, version=1)


async def a_stolen_token_is_worth_nothing_without_its_key(scene: Scene, connection_id: str) -> None:
    """Only with DPoP: the same token is refused as a bearer token, and with the right scheme but without a proof."""
    token = (await scene.home.tokens_of(connection_id)).access_token.get_secret_value()
    async with httpx.AsyncClient(timeout=30) as http:
        for scheme in ("Bearer", "DPoP"):
            headers = {"authorization": f"{scheme} {token}"}
            answer = await http.post(scene.other_side.graphql_url, json={"query": QUERY}, headers=headers)
            expect(answer.status_code == 401, f"as {scheme} it was answered {answer.status_code}")


async def a_new_nonce_is_followed(scene: Scene, connection_id: str) -> None:
    """Only with DPoP: the GraphQL server changes its nonce, and the query is made again with it."""
    before = await scene.other_side.resource("ledger")
    await scene.other_side.resource("rotate-nonce")
    version = (await scene.broker.connection(connection_id))["version"]
    await scene.broker.answers(connection_id, subject=SUBJECT, version=version)
    after = await scene.other_side.resource("ledger")
    asked = after["nonces_demanded"] - before["nonces_demanded"]
    expect(asked == 1, f"it was told {asked} times to use the nonce")


async def reuse_is_detected(scene: Scene, connection_id: str) -> None:
    """A used refresh token ends the consent at the provider, and the broker says so."""
    used = await scene.home.tokens_of(connection_id)
    await scene.broker.refresh(connection_id)
    try:
        await scene.present(used)
    except InvalidGrant:
        pass
    else:
        expect(False, "the provider took a refresh token twice")
    await scene.broker.refuses(connection_id, "REAUTHORIZATION_REQUIRED")
    found = await scene.broker.connection(connection_id)
    expect(found["reauthorization_reason"] == "invalid_grant", f"the reason is {found['reauthorization_reason']}")


async def a_consent_is_renewed(scene: Scene, connection_id: str) -> None:
    """The same connection works again after a login that names it."""
    version = (await scene.broker.connection(connection_id))["version"]
    renewed = await scene.link(connection_id=connection_id)
    expect(renewed == connection_id, "the renewal made another connection")
    await scene.broker.answers(connection_id, subject=SUBJECT, version=version + 1)


async def a_connection_is_revoked(scene: Scene, connection_id: str) -> None:
    """Disconnected here, its tokens are dead at the provider."""
    tokens = await scene.home.tokens_of(connection_id)
    assert tokens.refresh_token is not None
    expect(await scene.other_side.is_active(tokens.access_token.get_secret_value()), "the token was not good before")
    await scene.broker.disconnect(connection_id)
    await scene.broker.refuses(connection_id, "CONNECTION_REVOKED")
    for token in (tokens.access_token, tokens.refresh_token):
        is_active = await scene.other_side.is_active(token.get_secret_value())
        expect(not is_active, "a token still works at the provider")
