from sandbox.client import SandboxClient

NAMES = "{ user { bankAccounts { name } } }"


async def test_expiry_can_be_limited_to_one_customer(bank: SandboxClient) -> None:
    tokens = await bank.link()
    of_another = await bank.control("expire", sub=await bank.sub_of("johan"))
    assert of_another.json() == {"affected": 0}
    assert (await bank.query(tokens["access_token"], NAMES)).status_code == 200
    of_this = await bank.control("expire", sub=await bank.sub_of("thandi"))
    assert of_this.json() == {"affected": 1}
    assert (await bank.query(tokens["access_token"], NAMES)).status_code == 401


async def test_the_lifetime_of_new_access_tokens_can_be_set(bank: SandboxClient) -> None:
    await bank.control("access-token-ttl", seconds=5)
    assert (await bank.link())["expires_in"] == 5


async def test_revoking_a_consent_at_the_bank_revokes_its_family(bank: SandboxClient) -> None:
    tokens = await bank.link()
    revocation = await bank.control("revoke-consent", sub=await bank.sub_of("thandi"))
    assert revocation.json() == {"affected": 1}
    assert (await bank.control("revoke-consent", sub="thandi")).json() == {"affected": 0}
    assert (await bank.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    (family,) = (await bank.ledger()).families
    assert family.death_reason == "revoked_by_user"


async def test_grants_without_a_login_work_like_others(bank: SandboxClient) -> None:
    issued = await bank.control(
        "grants", sub=await bank.sub_of("naledi"), scope="openid accounts offline_access", count=3
    )
    grants = issued.json()["grants"]
    assert len({grant["access_token"] for grant in grants}) == 3
    for grant in grants:
        assert (await bank.query(grant["access_token"], NAMES)).json()["data"]["user"]["bankAccounts"]
        assert (await bank.refresh(grant["refresh_token"])).status_code == 200


async def test_the_ledger_counts_requests_and_contains_no_token(bank: SandboxClient) -> None:
    tokens = await bank.link()
    await bank.query(tokens["access_token"], NAMES)
    await bank.query("unknown", NAMES)
    await bank.refresh("unknown")
    totals = (await bank.ledger()).totals
    assert totals.token_requests == {"authorization_code": {"ok": 1}, "refresh_token": {"invalid_grant": 1}}
    assert totals.graphql_requests == {"ok": 1, "unauthenticated": 1}
    assert totals.codes_exchanged == 1
    text = (await bank.http.get("/sandbox/ledger")).text
    assert tokens["access_token"] not in text
    assert tokens["refresh_token"] not in text


async def test_a_reset_clears_everything_but_the_signing_key(bank: SandboxClient) -> None:
    jwks = "/.well-known/openid-configuration/jwks"
    published = (await bank.http.get(jwks)).json()
    tokens = await bank.link()
    await bank.set_faults(token={"status": 500})
    await bank.control("keys/rotate", keep_old=False)
    await bank.control("reset")
    assert (await bank.http.get(jwks)).json() == published
    assert (await bank.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await bank.ledger()).families == []
