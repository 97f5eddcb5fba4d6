"""All processes of a run: one PostgreSQL, one bank behind a gate, and a fleet of replicas; and a caller."""

import base64
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.base.encryption import KeyRing
from app.base.randomness import random_bytes
from app.callers.permissions import Permission
from app.callers.registry import CallerRegistry
from app.store.postgresql.database import Database
from chaos.bank import CLIENT_ID, CLIENT_SECRET, Bank, running_bank
from chaos.gate import Gate
from chaos.links import Links
from chaos.load import Caller, open_caller
from chaos.postgresql import PostgreSQL, running_postgresql
from chaos.records import TENANT
from chaos.replicas import Fleet, open_fleet
from chaos.waiting import until

CACHE_TTL = 5.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """The running parts."""

    postgresql: PostgreSQL
    database: Database
    key_ring: KeyRing
    bank: Bank
    gate: Gate
    fleet: Fleet
    links: Links
    caller: Caller

    async def wait_for_revocations(self) -> None:
        """Return when every queued revocation has been sent to the bank."""

        async def is_queue_empty() -> bool:
            return await self.links.count_revocations() == 0

        await until("every revocation to be sent to the bank", is_queue_empty)


@asynccontextmanager
async def open_cluster(logs: Path | None) -> AsyncIterator[Cluster]:
    """Start everything except the replicas, and stop everything after the block. Logs are copied to `logs`."""
    encryption_keys = f"chaos:{base64.b64encode(random_bytes(32)).decode()}"
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(_directory(logs))
        postgresql = await stack.enter_async_context(running_postgresql(directory))
        database = Database(postgresql.url, pool_size=20)
        stack.push_async_callback(database.close)
        bank = await stack.enter_async_context(running_bank(directory / "bank.log"))
        gate = Gate(bank.url)
        await stack.enter_async_context(gate.open())
        key_ring = KeyRing.parse(encryption_keys)
        _, api_key = await CallerRegistry(database, key_ring).create(
            tenant=TENANT, name="chaos", permissions=[permission.value for permission in Permission], actor="chaos"
        )
        variables = {
            "BROKER_DATABASE_URL": postgresql.url.get_secret_value(),
            "BROKER_DATABASE_LISTEN_URL": postgresql.listen_url.get_secret_value(),
            "BROKER_ENCRYPTION_KEYS": encryption_keys,
            "BROKER_PUBLIC_URL": "http://127.0.0.1:8000",
            "BROKER_STITCH_ISSUER": bank.url,
            "BROKER_STITCH_TOKEN_ENDPOINT": gate.url,
            "BROKER_STITCH_GRAPHQL_URL": f"{bank.url}/graphql",
            "BROKER_STITCH_CLIENT_ID": CLIENT_ID,
            "BROKER_STITCH_CLIENT_SECRET": CLIENT_SECRET,
            "BROKER_CACHE_TTL": str(CACHE_TTL),
        }
        yield Cluster(
            postgresql=postgresql,
            database=database,
            key_ring=key_ring,
            bank=bank,
            gate=gate,
            fleet=await stack.enter_async_context(open_fleet(directory, variables)),
            links=Links(database, key_ring, bank),
            caller=await stack.enter_async_context(open_caller(api_key)),
        )


@contextmanager
def _directory(logs: Path | None) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="broker-chaos-"))
    # As root, PostgreSQL runs as `nobody`, which must be able to enter the directory.
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)
            for log in directory.glob("*.log"):
                shutil.copy(log, logs)
        shutil.rmtree(directory, ignore_errors=True)
