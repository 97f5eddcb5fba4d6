"""The connection pool and the one way to open a transaction."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import asyncpg
from opentelemetry.trace import SpanKind
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from app.base.database_url import to_asyncpg_url
from app.base.randomness import new_id
from app.errors import DatabaseUnavailable
from app.observability.metrics import DATABASE_FAILURES, DATABASE_WAIT_SECONDS
from app.observability.tracing import child_span
from app.store.postgresql.asyncio_engine import AsyncConnection, create_async_engine
from app.store.postgresql.connection_quota import ConnectionQuota
from app.store.postgresql.errors import DRIVER_ERRORS, translate_error
from app.store.postgresql.statement_tracing import SYSTEM, trace_statements

# The functions of the store take one as their first argument. Only `Database.transaction` opens it.
Transaction: TypeAlias = AsyncConnection


class Requester(Protocol):
    """On whose behalf a transaction runs. It uses the tenant's share of the connections."""

    @property
    def tenant(self) -> str:
        """The tenant whose share is used."""
        ...

    async def confirm(self, transaction: Transaction) -> None:
        """Raise an error if the request must not continue. Called at the start of each transaction."""
        ...


@dataclass(frozen=True, slots=True)
class ForTenant:
    """The broker's own work for a tenant, which is never refused."""

    tenant: str

    async def confirm(self, transaction: Transaction) -> None:
        """Always succeed."""


# Keys of `Transaction.info`: the topics that the transaction changes, and the functions to call after its commit.
TOPICS = "topics"
_ON_COMMIT = "on_commit"
CONNECT_TIMEOUT = 5.0  # seconds
STATEMENT_TIMEOUT = 10.0  # seconds
# Long enough for a burst of requests on a cold cache to wait instead of failing.
_POOL_TIMEOUT = 30.0  # seconds
# How much of the pool the requests of one tenant may hold at once.
_TENANT_SHARE = 0.7
_NO_AUTHORITY = (
    "sslmode=verify-full and verify-ca need the certificate of the server's certificate authority; add "
    "sslrootcert=/path/to/ca.pem, or sslrootcert=system for the authorities that this machine trusts"
)


class Database:
    """PostgreSQL, through a bounded pool of connections.

    The URL has libpq's form, so several hosts, socket directories and `sslmode` work.
    """

    def __init__(
        self,
        url: SecretStr,
        *,
        pool_size: int = 10,
        statement_timeout: float = STATEMENT_TIMEOUT,
        through_pooler: bool = False,
    ) -> None:
        """Connect to `url` when needed. `statement_timeout` is in seconds.

        Through a transaction pooler each transaction may get another server connection, so no prepared statement is
        reused.
        """
        self._url = url
        self._statement_timeout = statement_timeout
        self._through_pooler = through_pooler
        self._announce: Callable[[str], None] = _ignore
        self._quota = ConnectionQuota(max(1, int(pool_size * _TENANT_SHARE)), timeout=_POOL_TIMEOUT)
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self.connect,
            connect_args=(
                {"prepared_statement_cache_size": 0, "prepared_statement_name_func": _unique_name}
                if through_pooler
                else {}
            ),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_POOL_TIMEOUT,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        trace_statements(self._engine.sync_engine)

    async def connect(self, *_: object, **__: object) -> asyncpg.Connection:
        """Open a connection outside the pool, to be held for long. Raises OSError if no host can be used."""
        try:
            return await asyncpg.connect(
                to_asyncpg_url(self._url.get_secret_value()),
                timeout=CONNECT_TIMEOUT,
                command_timeout=self._statement_timeout,
                statement_cache_size=0 if self._through_pooler else 100,
            )
        except asyncpg.exceptions.TargetServerAttributeNotMatched as error:
            # During a failover: the hosts that answer are standbys.
            raise ConnectionRefusedError("no host of the URL matches target_session_attrs") from error
        except (ValueError, asyncpg.exceptions.UndefinedObjectError) as error:
            # UndefinedObjectError: the URL has a parameter that neither libpq nor the server knows.
            lacks_authority = isinstance(error, asyncpg.InterfaceError) and "root certificate" in str(error)
            problem = _NO_AUTHORITY if lacks_authority else "it is not a libpq connection URL"
            raise asyncpg.exceptions.ClientConfigurationError(problem) from None

    @asynccontextmanager
    async def transaction(self, requester: Requester | None = None) -> AsyncIterator[Transaction]:
        """Commit when the block ends, roll back when it raises. Without a requester, no tenant's share is used.

        Raises DatabaseUnavailable if PostgreSQL cannot be reached, is shutting down or is out of resources,
        ConfigurationError if it refuses the broker's account or was never migrated, and what `Requester.confirm`
        raises. If a commit fails with DatabaseUnavailable, it may still have taken place.
        """
        tenant = None if requester is None else requester.tenant
        began = time.perf_counter()
        try:
            with child_span("transaction", SpanKind.CLIENT, SYSTEM):
                async with self._quota.connection(tenant), self._engine.begin() as connection:
                    DATABASE_WAIT_SECONDS.observe(time.perf_counter() - began)
                    topics = connection.info[TOPICS] = []
                    committed = connection.info[_ON_COMMIT] = []
                    if requester is not None:
                        await requester.confirm(connection)
                    yield connection
        except DRIVER_ERRORS as error:
            if (translated := translate_error(error)) is None:
                raise
            if isinstance(translated, DatabaseUnavailable):
                DATABASE_FAILURES.inc()
            raise translated from error
        for work in committed:
            work()
        for topic in topics:
            self._announce(topic)

    def on_change(self, announce: Callable[[str], None]) -> None:
        """Call `announce` with each topic that a transaction of this process has changed, after its commit."""
        self._announce = announce

    async def ping(self) -> None:
        """Raise DatabaseUnavailable unless PostgreSQL answers."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    @property
    def in_use(self) -> int:
        """How many pooled connections are used by a transaction."""
        return self._pool().checkedout()

    @property
    def idle(self) -> int:
        """How many pooled connections are idle."""
        return self._pool().checkedin()

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._engine.dispose()

    def _pool(self) -> QueuePool:
        pool = self._engine.pool
        assert isinstance(pool, QueuePool)
        return pool


def on_commit(transaction: Transaction, work: Callable[[], None]) -> None:
    """Call `work` after `transaction` has been committed, and only then."""
    transaction.info[_ON_COMMIT].append(work)


def _unique_name() -> str:
    return new_id("statement")


def _ignore(_topic: str) -> None:
    pass
