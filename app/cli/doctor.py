"""`broker doctor`: do the settings hold against the world, and if not, what mends it."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable
from dataclasses import asdict, dataclass

import httpx
import typer
from pydantic import SecretStr

from app.bank.providers import client_authentication, open_provider
from app.base.clock import SystemClock
from app.base.encryption import KeyRing
from app.callers.build import open_service_tokens
from app.cli.output import AsJson, show_all
from app.errors import BankRequestRejected, BrokerError, InvalidGrant
from app.oidc.back_channel import BackChannel
from app.oidc.provider import Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.oidc.transport import bank_client
from app.settings import Settings, load_settings
from app.store.encryption_keys import require_keys
from app.store.postgresql.address import database_address
from app.store.postgresql.database import Database
from app.store.postgresql.database_time import clock_offset
from app.store.postgresql.schema import current_revision, missing_tables
from migrations import HEAD_REVISION

_TOLERATED_OFFSET = 5.0
_NO_TOKEN = SecretStr("made up by broker doctor")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    healthy: bool
    finding: str
    mend: str = ""


def doctor(as_json: AsJson = False) -> None:
    """Check the settings against the world, and say how to mend what is wrong."""
    findings = asyncio.run(_examine(load_settings()))
    if as_json:
        show_all([asdict(finding) for finding in findings], as_json=True)
    else:
        for finding in findings:
            typer.echo(f"{'ok  ' if finding.healthy else 'FAIL'}  {finding.check}: {finding.finding}")
            if finding.mend:
                typer.echo(f"      {finding.mend}")
    if not all(finding.healthy for finding in findings):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Finding]:
    findings = [
        _redirect_uri(settings),
        _data_directory(settings),
        _caller_share(settings),
    ]
    with database_address(settings) as url:
        database = Database(url, pool_size=2, through_pooler=settings.database_listen_url is not None)
        try:
            reachable = await _attempt(
                "database", "check BROKER_DATABASE_URL and that PostgreSQL runs", _reachable(database)
            )
            findings.append(reachable)
            for check, mend, work in (
                ("schema", "run `broker migrate`", _migrated(database)),
                ("clock", "keep this machine's clock right (NTP)", _clock(database)),
                (
                    "encryption keys",
                    "docs/operations/keys.md tells how a key is retired",
                    _key_ring(database, settings),
                ),
            ):
                if reachable.healthy:
                    findings.append(await _attempt(check, mend, work))
                else:
                    work.close()
                    findings.append(Finding(check, False, "not checked, as the database cannot be used"))
        finally:
            await database.close()
    async with bank_client() as client:
        provider = open_provider(settings, client, SystemClock())
        mend = "check BROKER_STITCH_CLIENT_ID, and the secret or key; secrets are given as they are, not URL-encoded"
        findings += [
            await _attempt("client authentication", mend, _client_authentication(settings, client, provider)),
            await _attempt("discovery", "check BROKER_STITCH_ISSUER and the way out", _discovery(provider)),
            await _attempt("signing keys", "check the way out, or BROKER_STITCH_JWKS_URI", _keys(provider)),
            await _attempt("graphql", "check BROKER_STITCH_GRAPHQL_URL and the way out", _graphql(client, settings)),
        ]
        if tokens := open_service_tokens(settings, client, SystemClock()):
            mend = "check BROKER_SERVICE_TOKEN_ISSUER and the way there"
            findings.append(await _attempt("service token keys", mend, _keys(tokens.provider, "service token keys")))
    return findings


async def _attempt(check: str, mend: str, work: Awaitable[Finding]) -> Finding:
    try:
        return await work
    except BrokerError as error:
        return Finding(check, False, f"{error.detail} ({error.reason})" if error.reason else error.detail, mend)
    except httpx.HTTPError as error:
        return Finding(check, False, type(error).__name__, mend)


def _redirect_uri(settings: Settings) -> Finding:
    if settings.public_url.startswith("https://"):
        return Finding("redirect URI", True, settings.redirect_uri)
    mend = "register an https:// address with Stitch and set BROKER_PUBLIC_URL; plain HTTP is for test clients"
    return Finding("redirect URI", True, f"{settings.redirect_uri} is on loopback", mend)


def _data_directory(settings: Settings) -> Finding:
    directory = settings.data_dir
    existing = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    if os.access(existing, os.W_OK):
        return Finding("data directory", True, f"{directory} can be written")
    mend = "set BROKER_DATA_DIR to a directory that survives a restart: answers wait there for the database"
    return Finding("data directory", False, f"{existing} cannot be written", mend)


def _caller_share(settings: Settings) -> Finding:
    most, of_caller = settings.query_concurrency, settings.caller_concurrency
    if 0 < of_caller < most:
        return Finding("caller's share", True, f"{of_caller} of {most} queries at once")
    mend = "set BROKER_CALLER_CONCURRENCY below BROKER_QUERY_CONCURRENCY, or one caller can keep all others out"
    return Finding("caller's share", True, f"one caller may take all {most} queries at once", mend)


async def _reachable(database: Database) -> Finding:
    await database.ping()
    return Finding("database", True, "answers")


async def _migrated(database: Database) -> Finding:
    found, expected = await current_revision(database), HEAD_REVISION
    if found == expected and (missing := await missing_tables(database)):
        mend = "restore a backup: docs/operations/data.md tells how; `broker migrate` makes no table again"
        return Finding("schema", False, f"at {found}, but tables were lost: {', '.join(missing)}", mend)
    if found == expected:
        return Finding("schema", True, f"at {found}")
    return Finding("schema", False, f"at {found or 'nothing'}, this version expects {expected}", "run `broker migrate`")


async def _clock(database: Database) -> Finding:
    async with database.transaction() as transaction:
        offset = await clock_offset(transaction, SystemClock().now())
    finding = f"{abs(offset):.1f} s from the database's"
    if abs(offset) <= _TOLERATED_OFFSET:
        return Finding("clock", True, finding)
    return Finding("clock", False, finding, "set this machine's clock right (NTP), or logins will be refused")


async def _key_ring(database: Database, settings: Settings) -> Finding:
    ring = KeyRing.parse(settings.encryption_keys.get_secret_value())
    await require_keys(database, ring)
    return Finding("encryption keys", True, f"{ring.primary_key_id!r} encrypts, all that the database uses are there")


async def _client_authentication(settings: Settings, client: httpx.AsyncClient, provider: Provider) -> Finding:
    """Present a refresh token that no bank has issued: a bank that refuses it has accepted the client."""
    clock = SystemClock()
    authentication = client_authentication(settings, clock)
    token_endpoint = TokenEndpoint(BackChannel(client, provider, authentication, clock))
    with contextlib.suppress(InvalidGrant, BankRequestRejected):
        await token_endpoint.refresh(_NO_TOKEN, timeout_seconds=10)
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
    """Ask without a token: any answer of the server will do."""
    response = await client.post(settings.stitch_graphql_url, json={"query": "{ __typename }"}, timeout=10)
    return Finding("graphql", True, f"answers ({response.status_code} without a token)")
