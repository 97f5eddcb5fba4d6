"""The broker works through PgBouncer in transaction mode. `make pgbouncer` installs PgBouncer and runs this."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from app.settings import Settings
from sandbox.client import SandboxClient
from tests.support.broker import served, settings_for
from tests.support.eventually import eventually
from tests.support.journey import log_in

PGBOUNCER = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer")
pytestmark = pytest.mark.skipif(not PGBOUNCER, reason="needs PgBouncer; `make pgbouncer` fetches it")


@pytest.fixture
def pooled_url(database_url: SecretStr) -> Iterator[SecretStr]:
    """The address of a PgBouncer before this test's database, with fewer connections than the broker's pool."""
    direct = urlsplit(database_url.get_secret_value())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="broker-pgbouncer-") as directory:
        Path(directory).chmod(0o755)
        configuration = Path(directory) / "pgbouncer.ini"
        configuration.write_text(
            f"""[databases]
* = host={parse_qs(direct.query)["host"][0]} port=5432 user={direct.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
"""
        )
        assert PGBOUNCER is not None
        # PgBouncer refuses to run as root.
        user = "nobody" if os.geteuid() == 0 else None
        process = subprocess.Popen([PGBOUNCER, str(configuration)], user=user, stderr=subprocess.DEVNULL)
        try:
            yield SecretStr(f"postgresql://{direct.username}@127.0.0.1:{port}{direct.path}?sslmode=disable")
        finally:
            process.terminate()
            process.wait(10)


async def test_the_whole_journey_works_through_a_transaction_pooler(
    bank_url: str, database_url: SecretStr, pooled_url: SecretStr, bank: SandboxClient, tmp_path: Path
) -> None:
    def settings_of(name: str) -> Settings:
        return settings_for(bank_url, pooled_url, tmp_path / name, database_listen_url=database_url, cache_ttl=300)

    async with (
        served(settings_of("one")) as one,
        served(settings_of("two")) as two,
        await one.sign_up(tenant="default") as api,
        one.new_browser() as browser,
    ):
        session, _ = await log_in(api, bank, browser)
        assert session["status"] == "completed"
        connections = [session["connection_id"], *[(await one.rows.link(bank)).id for _ in range(5)]]
        for _ in range(3):
            await bank.control("expire")
            answers = await asyncio.gather(*(api.query(one_of) for one_of in connections for _ in range(10)))
            assert {answer.status_code for answer in answers} == {200}
        refreshes = (await bank.ledger()).totals.token_requests["refresh_token"]
        assert refreshes == {"ok": 3 * len(connections)}
        async with await two.sign_up(tenant="default") as elsewhere:
            assert (await elsewhere.query(connections[0])).status_code == 200
            assert (await elsewhere.get("/readyz")).json()["checks"]["notifications"] == "ok"
            assert (await api.delete(f"/v1/connections/{connections[0]}")).status_code == 204

            async def is_refused() -> bool:
                return (await elsewhere.query(connections[0])).status_code == 409

            await eventually(is_refused)
