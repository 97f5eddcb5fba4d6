"""`broker doctor`: do the settings hold against the world, and if not, what mends it."""

import asyncio
import os
from dataclasses import asdict

import typer

from app.base.bank_client import BankClient
from app.base.clock import SystemClock
from app.base.encryption import KeyRing
from app.base.proxies import check_proxies, proxy_for
from app.cli.doctor_bank import examine_bank
from app.cli.findings import Finding, attempt
from app.cli.output import AsJson, show_all
from app.oidc.transport import bank_client
from app.settings import Settings, load_settings
from app.store.bank_clients import list_storms
from app.store.connections import count_connections_of_other_clients
from app.store.encryption_keys import require_keys
from app.store.postgresql.address import database_address
from app.store.postgresql.database import Database
from app.store.postgresql.database_time import clock_offset
from app.store.postgresql.schema import current_revision, missing_tables
from migrations import HEAD_REVISION

_TOLERATED_OFFSET = 5.0


def doctor(as_json: AsJson = False) -> None:
    """Check that the settings work, and say how to fix what does not."""
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
            reachable = await attempt(
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
                ("bank client", "run `broker migrate`", _bank_client(database, settings)),
                ("refreshes", "run `broker migrate`", _refreshes(database)),
            ):
                if reachable.healthy:
                    findings.append(await attempt(check, mend, work))
                else:
                    work.close()
                    findings.append(Finding(check, False, "not checked, as the database cannot be used"))
        finally:
            await database.close()
    findings.append(await attempt("proxies", "correct or unset the variable; docs/settings.md", _proxies(settings)))
    if findings[-1].healthy:
        async with bank_client() as client:
            findings += await examine_bank(settings, client)
    return findings


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


async def _proxies(settings: Settings) -> Finding:
    check_proxies()
    has_proxy = proxy_for(settings.stitch_graphql_url) is not None
    return Finding("proxies", True, f"the bank is reached {'through a proxy' if has_proxy else 'without a proxy'}")


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


async def _bank_client(database: Database, settings: Settings) -> Finding:
    own = BankClient(settings.stitch_issuer, settings.stitch_client_id)
    async with database.transaction() as transaction:
        others = await count_connections_of_other_clients(transaction, own)
    if not others:
        return Finding("bank client", True, "all connections were linked by the configured client")
    counts = ", ".join(f"{number} by {other.client_id} at {other.issuer}" for other, number in others.items())
    mend = (
        "these cannot be used: correct BROKER_STITCH_CLIENT_ID or BROKER_STITCH_ISSUER, or have their users link again"
    )
    return Finding("bank client", False, f"connections were linked by other clients: {counts}", mend)


async def _refreshes(database: Database) -> Finding:
    async with database.transaction() as transaction:
        storms = await list_storms(transaction)
    if not storms:
        return Finding("refreshes", True, "the bank does not refuse unusually many")
    mend = (
        "no consent is given up meanwhile: check the client and ask the bank; it ends with the first accepted refresh, "
        "or with `broker refreshes resume`"
    )
    return Finding("refreshes", False, f"suspended by a storm of invalid_grant since {storms[0].since}", mend)


async def _key_ring(database: Database, settings: Settings) -> Finding:
    ring = KeyRing.parse(settings.encryption_keys.get_secret_value())
    await require_keys(database, ring)
    return Finding("encryption keys", True, f"{ring.primary_key_id!r} encrypts, all that the database uses are there")
