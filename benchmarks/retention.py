"""Housekeeping on a million rows of each table: is everything old removed, and do logins have to wait for it?

`python -m benchmarks.retention [ROWS]` starts its own PostgreSQL, fills it, and removes half of the rows while a login
is written every few milliseconds. It prints the figures, and exits with 1 if old rows are left or the audit is broken.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles

from sqlalchemy import text

from app.maintenance.retention import Retention, RetentionPeriods
from app.observability.logs import configure_logs
from app.store.audit_chain import verify
from app.store.postgresql.database import Database, Transaction
from app.store.postgresql.embedded import EmbeddedPostgreSQL
from app.store.postgresql.migrate import migrate

AGES = RetentionPeriods(sessions=90, refreshes=30, tombstones=30, audit=90)
_STEP = 50_000
# The first half is 200 days old, the rest is from today.
_AGE = "CASE WHEN n <= :half THEN interval '200 days' ELSE interval '0' END"
_FILL = {
    "stitch_authorization_requests": f"""
        INSERT INTO stitch_authorization_requests (id, tenant, caller_id, user_id, status, stitch_state, nonce_digest,
            code_challenge, ticket_digest, redirect_uri, scopes, created_at, expires_at, ended_at)
        SELECT 'ses_' || md5(n::text), 'default', 'cal_1', 'user-' || n, 'completed', md5('s' || n), md5('n' || n),
            md5('c' || n), md5('t' || n), 'https://broker.example/callback', '{{openid,accounts}}',
            now() - {_AGE}, now() - {_AGE}, now() - {_AGE}
        FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n""",
    "connections": f"""
        INSERT INTO connections (id, tenant, user_id, status, subject, version, refreshable, access_token_lifetime,
            revoked_at, created_at)
        SELECT 'con_' || n, 'default', 'user-' || n, CASE WHEN n <= :half THEN 'revoked' ELSE 'active' END,
            md5(n::text), 9, true, 900, CASE WHEN n <= :half THEN now() - interval '200 days' END, now() - {_AGE}
        FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n""",
    "refresh_attempts": f"""
        INSERT INTO refresh_attempts (tenant, connection_id, version, fence, cause, replica, started_at, outcome)
        SELECT 'default', 'con_' || (:rows - n + 1), 3, 3, 'expired', 'rep_1', now() - {_AGE}, 'refreshed'
        FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n""",
    "audit_events": f"""
        INSERT INTO audit_events (tenant, occurred_at, actor, action, session_id, connection_id, detail)
        SELECT 'default', now() - {_AGE}, 'broker', 'connection.refreshed', NULL, 'con_' || n, '{{"version": 2}}'
        FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n""",
}  # fmt: skip

# Does the same as the trigger, but for many events at once, so that the head is only written once.
_CHAIN_BACKLOG = """
CREATE FUNCTION audit_chain_backlog(of_tenant text, batch bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    head audit_heads;
    event audit_events;
    new_hash text;
    last_id bigint;
    chained bigint := 0;
BEGIN
    INSERT INTO audit_heads (tenant, position, hash) VALUES (of_tenant, 0, repeat('0', 64)) ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM audit_heads WHERE tenant = of_tenant;
    SELECT event_id INTO last_id FROM audit_chain WHERE tenant = of_tenant AND position = head.position;
    FOR event IN
        SELECT * FROM audit_events WHERE tenant = of_tenant AND id > coalesce(last_id, 0) ORDER BY id LIMIT batch
    LOOP
        new_hash := audit_event_hash(head.hash, head.position + 1, event);
        INSERT INTO audit_chain (tenant, position, event_id, previous_hash, hash)
            VALUES (of_tenant, head.position + 1, event.id, head.hash, new_hash);
        head.position := head.position + 1;
        head.hash := new_hash;
        chained := chained + 1;
    END LOOP;
    UPDATE audit_heads SET position = head.position, hash = head.hash WHERE tenant = of_tenant;
    RETURN chained;
END
$$
"""


async def _fill(database: Database, rows: int) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(text(_CHAIN_BACKLOG))
    for table, statement in _FILL.items():
        began = time.perf_counter()
        for first in range(1, rows + 1, _STEP):
            values = {"first": first, "last": min(first + _STEP - 1, rows), "half": rows // 2, "rows": rows}
            async with database.transaction() as transaction:
                # The trigger is too slow here, so the events are chained afterwards.
                await transaction.execute(text("SET LOCAL session_replication_role = replica"))
                parameters = {name: value for name, value in values.items() if f":{name}" in statement}
                await transaction.execute(text(statement), parameters)
                if table == "audit_events":
                    await transaction.execute(text("SELECT audit_chain_backlog('default', :n)"), {"n": _STEP})
        print(f"filled {table} with {rows:,} rows in {time.perf_counter() - began:.0f} s", flush=True)
    async with database.transaction() as transaction:
        await transaction.execute(text("ANALYZE"))


async def _write_login(transaction: Transaction, number: int) -> None:
    """Write the rows of a login: a session, its end, and an audit event."""
    values = {"n": f"live-{number}"}
    await transaction.execute(
        text("""
        INSERT INTO stitch_authorization_requests (id, tenant, caller_id, user_id, status, stitch_state, nonce_digest,
            code_challenge, ticket_digest, redirect_uri, expires_at)
        VALUES ('ses_' || :n, 'default', 'cal_1', :n, 'pending', 's' || :n, 'n', 'c', 't' || :n, 'x', now())"""),
        values,
    )
    await transaction.execute(
        text("UPDATE stitch_authorization_requests SET status = 'completed', ended_at = now() WHERE id = 'ses_' || :n"),
        values,
    )
    await transaction.execute(
        text("INSERT INTO audit_events (tenant, actor, action) VALUES ('default', 'broker', 'session.started')")
    )


async def _logins(database: Database, took: list[float]) -> None:
    for number in range(1_000_000):
        began = time.perf_counter()
        async with database.transaction() as transaction:
            await _write_login(transaction, number)
        took.append((time.perf_counter() - began) * 1_000)
        await asyncio.sleep(0.02)


async def _count(database: Database) -> dict[str, int]:
    async with database.transaction() as transaction:
        return {
            table: int((await transaction.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())
            for table in _FILL
        }


async def _measure(database: Database, rows: int) -> bool:
    await _fill(database, rows)
    times: list[float] = []
    writing = asyncio.create_task(_logins(database, times))
    await asyncio.sleep(10)
    before, times[:] = list(times), []
    began = time.perf_counter()
    await Retention(database, AGES).sweep()
    seconds = time.perf_counter() - began
    during = list(times)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    left = await _count(database)
    [chain] = await verify(database)
    removed = rows // 2 * (len(_FILL) + 1)
    print(f"removed {removed:,} of {rows * len(_FILL):,} rows in {seconds:.0f} s, {removed / seconds:,.0f} per second")
    for name, took in (("before", before), ("meanwhile", during)):
        p99 = quantiles(took, n=100)[98]
        print(f"a login's transaction {name}: median {sorted(took)[len(took) // 2]:.1f} ms, p99 {p99:.1f} ms, "
              f"longest {max(took):.1f} ms ({len(took):,} of them)")  # fmt: skip
    print(f"left: {left}; the audit: {chain.fault or 'intact'}, {chain.removed:,} removed")
    expected = rows - rows // 2
    return (
        chain.fault is None
        and chain.removed == rows // 2
        and left["connections"] == expected
        # Half of them were old. The others belonged to removed connections.
        and left["refresh_attempts"] == 0
        and left["stitch_authorization_requests"] == expected + len(before) + len(during)
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000, help="of each table")
    rows = parser.parse_args().rows
    configure_logs("warning", "console")

    async def run(server: EmbeddedPostgreSQL) -> bool:
        database = Database(server.url)
        try:
            await migrate(database)
            return await _measure(database, rows)
        finally:
            await database.close()

    with tempfile.TemporaryDirectory(prefix="broker-retention-") as home:
        Path(home).chmod(0o755)
        server = EmbeddedPostgreSQL(Path(home))
        server.start()
        try:
            succeeded = asyncio.run(run(server))
        finally:
            server.stop()
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
