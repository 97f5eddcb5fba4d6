"""What every test may ask for: a real PostgreSQL, a real bank, and replicas of the broker's services on both."""

import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from app.base.bank_client import BankClient
from app.base.encryption import KeyRing
from app.oidc.provider import Provider
from app.oidc.token_endpoint import TokenEndpoint
from app.store.postgresql.database import Database
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID
from tests.support.bank import running_bank
from tests.support.broker import NO_TLS, Api, Broker, Browser, served, settings_for
from tests.support.clock import AdjustableClock
from tests.support.compiled_statements import share_compiled_statements
from tests.support.hostile import HostileServer, hostile_server
from tests.support.postgresql import Databases, opened_databases, shared_postgresql
from tests.support.relay import Relay, run_relay
from tests.support.replica import Replica, open_replica
from tests.support.rows import Rows

hypothesis_settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile("steady")
share_compiled_statements()
# httpx tries to import sniffio for each lock. It is not installed, and with this entry the import fails at once.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]

ApiFactory = Callable[..., Awaitable[Api]]


class ReplicaFactory(Protocol):
    """Opens a replica that lives until the end of the test."""

    async def __call__(self, **options: Any) -> Replica:
        """`options` are those of `open_replica`."""
        ...


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretStr]:
    """The address of the one server of this run, which all pytest-xdist workers share."""
    base = tmp_path_factory.getbasetemp()
    with shared_postgresql(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as url:
        yield url


@pytest.fixture(scope="session")
async def databases(postgresql: SecretStr) -> AsyncIterator[Databases]:
    """Makes databases, quickly."""
    async with opened_databases(postgresql) as databases:
        yield databases


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[SecretStr]:
    """The address of a migrated database that is this test's own."""
    async with databases.fresh() as url:
        yield url


@pytest.fixture
async def database(database_url: SecretStr) -> AsyncIterator[Database]:
    """This test's database."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def relay(database_url: SecretStr) -> AsyncIterator[Relay]:
    """A way to this test's database that can be cut."""
    async with run_relay(database_url) as relay:
        yield relay


@pytest.fixture(scope="session")
def client_key() -> RSAKey:
    """The private key of the bank's one client."""
    return RSAKey.generate_key(2048, {"kid": "client-key", "use": "sig", "alg": "RS256"})


@pytest.fixture(scope="session")
def client_jwks_file(client_key: RSAKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the bank knows of that key."""
    file = tmp_path_factory.mktemp("client") / "jwks.json"
    file.write_text(json.dumps({"keys": [client_key.as_dict(private=False)]}))
    return file


@pytest.fixture(scope="session")
def bank_url(client_jwks_file: Path) -> Iterator[str]:
    """The sandbox's address and issuer; one sandbox for each worker."""
    with running_bank(client_jwks_file) as url:
        yield url


@pytest.fixture
async def bank(bank_url: str) -> AsyncIterator[SandboxClient]:
    """The sandbox in its start state."""
    async with httpx.AsyncClient(base_url=bank_url, timeout=20, verify=NO_TLS) as http:
        bank = SandboxClient(http)
        await bank.control("reset")
        yield bank
        # Its faults are nobody's else, not those tests' either that do not ask for it.
        await bank.control("reset")


@pytest.fixture
async def hostile() -> AsyncIterator[HostileServer]:
    """A server that answers by script."""
    async with hostile_server() as server:
        yield server


@pytest.fixture(scope="session")
def key_ring() -> KeyRing:
    """A key ring of one key."""
    return KeyRing({"test": bytes(range(32))})


@pytest.fixture
def clock() -> AdjustableClock:
    """A clock that can be put forward; all replicas of a test share it."""
    return AdjustableClock()


@pytest.fixture
async def replicas(
    database_url: SecretStr, bank_url: str, key_ring: KeyRing, clock: AdjustableClock, tmp_path: Path
) -> AsyncIterator[ReplicaFactory]:
    """Opens replicas on this test's database and bank; each has a data directory of its own, unless one is given."""
    directories = (tmp_path / f"data-{number}" for number in itertools.count(1))
    async with AsyncExitStack() as stack:

        async def open_one(**options: Any) -> Replica:
            defaults = {"database_url": database_url, "issuer": bank_url, "key_ring": key_ring, "clock": clock}
            chosen = {**defaults, "data_dir": next(directories), **options}
            return await stack.enter_async_context(open_replica(**chosen))

        yield open_one


@pytest.fixture
async def replica(replicas: ReplicaFactory, bank: SandboxClient) -> Replica:
    """One replica."""
    return await replicas()


@pytest.fixture
def provider(replica: Replica) -> Provider:
    """The sandbox as an OpenID provider."""
    return replica.bank.provider


@pytest.fixture
def token_endpoint(replica: Replica) -> TokenEndpoint:
    """The sandbox's token endpoint."""
    return replica.bank.token_endpoint


@pytest.fixture
def rows(database: Database, key_ring: KeyRing, bank_url: str) -> Rows:
    """Makes, reads and changes rows of this test's database."""
    return Rows(database, key_ring, BankClient(bank_url, CLIENT_ID))


@pytest.fixture(scope="session")
async def shared_database_url(databases: Databases) -> AsyncIterator[SecretStr]:
    """The address of the database of the shared brokers."""
    async with databases.fresh() as url:
        yield url


@pytest.fixture(scope="session")
async def broker(
    bank_url: str, shared_database_url: SecretStr, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Broker]:
    """The broker that most tests use. What is left behind in it must not matter to others."""
    async with served(settings_for(bank_url, shared_database_url, tmp_path_factory.mktemp("broker"))) as broker:
        yield broker


@pytest.fixture
async def sign_up(broker: Broker) -> AsyncIterator[ApiFactory]:
    """Makes callers; options are those of `Broker.sign_up`, and `broker` for another than the shared one."""
    async with AsyncExitStack() as stack:

        async def enter(*, broker: Broker = broker, **options: Any) -> Api:
            return await stack.enter_async_context(await broker.sign_up(**options))

        yield enter


@pytest.fixture
async def api(sign_up: ApiFactory) -> Api:
    """A caller that may do everything, in a tenant of its own."""
    return await sign_up()


@pytest.fixture
async def browser(broker: Broker) -> AsyncIterator[Browser]:
    """The user's browser."""
    async with broker.new_browser() as browser:
        yield browser
