"""The connection pool and the one way to open a transaction."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import asyncpg
import sqlalchemy.exc
from opentelemetry.trace import SpanKind
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import QueuePool

from app.base.database_url import to_asyncpg_url
from app.base.randomness import new_id
from app.errors import BrokerError, ConfigurationError, DatabaseUnavailable, UnprocessableRequest
from app.observability.metrics import DATABASE_FAILURES, DATABASE_WAIT_SECONDS
from app.observability.tracing import child_span
from app.store.postgresql.connection_quota import ConnectionQuota
from app.store.postgresql.statement_tracing import SYSTEM, trace_statements

# What the store's functions work in; only `Database.transaction` opens one.
Transaction: TypeAlias = AsyncConnection


class Requester(Protocol):
    """Whom a transaction serves: its tenant's share of the connections pays for it."""

    @property
    def tenant(self) -> str:
        """The tenant whose share is used."""
        ...

    async def confirm(self, transaction: Transaction) -> None:
        """Raise an error if the request must not go on. Called at the start of each transaction."""
        ...


@dataclass(frozen=True, slots=True)
class ForTenant:
    """Work that the broker itself does for a tenant, and that nobody can refuse."""

    tenant: str

    async def confirm(self, transaction: Transaction) -> None:
        """Go on."""


# Where a transaction gathers what it changes.
TOPICS = "topics"
# Where it gathers what is to be done when it is committed.
_ON_COMMIT = "on_commit"
CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 10.0
# A burst on a cold cache waits its turn rather than fail.
_POOL_TIMEOUT = 30.0
# How much of the pool the requests of one tenant may hold at once.
_TENANT_SHARE = 0.7
# Beside the connection failures (08): deadlocks (40), out of resources (53), a lock that was waited for too long
# (55P03), shutting down or failing over (57P), a standby (25006).
_TRANSIENT = ("08", "40", "53", "55P03", "57P", "25006")
# Characters, texts and moments that PostgreSQL cannot store.
_NOT_STORABLE = ("22021", "22P02", "22P05", "22008")
# Undefined table or column; wrong user, password or database (PostgreSQL, appendix A).
_UNMIGRATED = ("42P01", "42703")
_REFUSED = ("28", "3D")
_NO_AUTHORITY = (
    "sslmode=verify-full and verify-ca need the certificate of the server's authority; add "
    "sslrootcert=/path/to/ca.pem, or sslrootcert=system for those that this machine trusts"
)


class Database:
    """PostgreSQL through a bounded pool.

    The address goes to asyncpg as libpq has it, so several hosts, socket directories and `sslmode` work.
    """

    def __init__(
        self,
        url: SecretStr,
        *,
        pool_size: int = 10,
        statement_timeout: float = STATEMENT_TIMEOUT,
        by_way_of_pooler: bool = False,
    ) -> None:
        """Connect to `url` when needed. A statement may take so many seconds.

        A transaction pooler gives each transaction whatever server connection is free, so nothing that was prepared in
        one may be expected in the next.
        """
        self._url = url
        self._statement_timeout = statement_timeout
        self._by_way_of_pooler = by_way_of_pooler
        self._announce: Callable[[str], None] = _nobody
        self._quota = ConnectionQuota(max(1, int(pool_size * _TENANT_SHARE)), timeout=_POOL_TIMEOUT)
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self.connect,
            connect_args=(
                {"prepared_statement_cache_size": 0, "prepared_statement_name_func": _unique_name}
                if by_way_of_pooler
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
        """Open a connection outside the pool, for what holds one for long. Raises OSError where no host will do."""
        try:
            return await asyncpg.connect(
                to_asyncpg_url(self._url.get_secret_value()),
                timeout=CONNECT_TIMEOUT,
                command_timeout=self._statement_timeout,
                statement_cache_size=0 if self._by_way_of_pooler else 100,
            )
        except asyncpg.exceptions.TargetServerAttributeNotMatched as error:
            # Amid a failover: the hosts that answer are standbys.
            raise ConnectionRefusedError("no host of the address is what target_session_attrs asks for") from error
        except (ValueError, asyncpg.exceptions.UndefinedObjectError) as error:
            # The server's word for a parameter that neither libpq nor itself has.
            lacks_authority = isinstance(error, asyncpg.InterfaceError) and "root certificate" in str(error)
            problem = _NO_AUTHORITY if lacks_authority else "it is not an address as libpq has it"
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
        except (sqlalchemy.exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            if (translated := _translate(error)) is None:
                raise
            if isinstance(translated, DatabaseUnavailable):
                DATABASE_FAILURES.inc()
            raise translated from error
        for work in committed:
            work()
        for topic in topics:
            self._announce(topic)

    def on_change(self, announce: Callable[[str], None]) -> None:
        """Call `announce` with what a transaction of this process has changed, as soon as it is committed."""
        self._announce = announce

    async def ping(self) -> None:
        """Raise DatabaseUnavailable unless PostgreSQL answers."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    @property
    def in_use(self) -> int:
        """How many pooled connections have a transaction."""
        return self._pool().checkedout()

    @property
    def idle(self) -> int:
        """How many pooled connections wait to be used."""
        return self._pool().checkedin()

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._engine.dispose()

    def _pool(self) -> QueuePool:
        pool = self._engine.pool
        assert isinstance(pool, QueuePool)
        return pool


def on_commit(transaction: Transaction, work: Callable[[], None]) -> None:
    """Do `work` when `transaction` has been committed, and only then."""
    transaction.info[_ON_COMMIT].append(work)


def _is_client_side(error: BaseException | None) -> bool:
    """Tell whether the driver itself could not write a value, which it says with its plainest DataError."""
    candidates = (error, error.__cause__ if error else None)
    return any(type(one) is asyncpg.exceptions.DataError for one in candidates)


def _unique_name() -> str:
    return new_id("statement")


def _nobody(_topic: str) -> None:
    pass


def _problem_of_address(error: BaseException | None) -> str | None:
    """Return what `connect` says of the address."""
    kind = asyncpg.exceptions.ClientConfigurationError
    return next((str(one) for one in (error, error and error.__cause__) if isinstance(one, kind)), None)


def _translate(error: Exception) -> BrokerError | None:
    """Return what an error of the driver means for the broker; None for a fault of ours."""
    original: BaseException | None = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    if problem := _problem_of_address(original):
        return ConfigurationError(f"BROKER_DATABASE_URL cannot be used: {problem}")
    state = str(getattr(original, "sqlstate", None) or "")
    if state in _NOT_STORABLE or _is_client_side(original):
        return UnprocessableRequest("a value is none that can be stored", code="value_not_storable")
    if state in _UNMIGRATED:
        return ConfigurationError(
            "the database does not have this version's tables; run `broker migrate`, or restore it where it is migrated"
        )
    if state.startswith(_REFUSED):
        return ConfigurationError(
            "PostgreSQL refuses the user, the password or the database of BROKER_DATABASE_URL; correct it there"
        )
    invalidated = isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated
    unreachable = (OSError, asyncpg.InterfaceError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError)
    if invalidated or isinstance(error, unreachable) or state.startswith(_TRANSIENT):
        return DatabaseUnavailable(
            "the database cannot be used at the moment; nothing was changed that was not answered, try again",
            retry_after=1,
            reason=_said_by(original),
        )
    return None


def _said_by(error: BaseException | None) -> str:
    """Return what PostgreSQL or the system says, of failures whose texts quote no value."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return "no connection of the pool became free"
    causes: list[BaseException] = [error] if error else []
    while causes and (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    for one in causes:
        if isinstance(one, asyncpg.PostgresError) and one.sqlstate:
            return f"PostgreSQL says: {one} ({one.sqlstate})"
        if isinstance(one, TimeoutError):
            return "no answer in time"
        if isinstance(one, OSError):
            return f"no connection: {one.strerror or type(one).__name__}"
    return type(causes[-1]).__name__ if causes else "unknown"
