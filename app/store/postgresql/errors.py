"""Translates errors of SQLAlchemy and asyncpg into the broker's own."""

import asyncpg
import sqlalchemy.exc

from app.errors import BrokerError, ConfigurationError, DatabaseUnavailable, UnprocessableRequest

DRIVER_ERRORS = (
    *(sqlalchemy.exc.SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    OSError,
)
# SQLSTATE classes and codes (PostgreSQL, appendix A). Connection failures, deadlocks, out of resources, lock timeout,
# shutdown or failover, a standby.
_TRANSIENT = ("08", "40", "53", "55P03", "57P", "25006")
# Characters, texts and times that PostgreSQL cannot store.
_NOT_STORABLE = ("22021", "22P02", "22P05", "22008")
# Undefined table or column; wrong user, password or database.
_UNMIGRATED = ("42P01", "42703")
_REFUSED = ("28", "3D")


def _url_problem(error: BaseException | None) -> str | None:
    """Return what `Database.connect` found wrong with the URL."""
    kind = asyncpg.exceptions.ClientConfigurationError
    return next((str(cause) for cause in (error, error and error.__cause__) if isinstance(cause, kind)), None)


def translate_error(error: Exception) -> BrokerError | None:
    """Return what an error of the driver means for the broker; None if it is a bug of the broker's own."""
    original: BaseException | None = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    if problem := _url_problem(original):
        return ConfigurationError(f"BROKER_DATABASE_URL cannot be used: {problem}")
    state = str(getattr(original, "sqlstate", None) or "")
    if state in _NOT_STORABLE or _is_unencodable(original):
        return UnprocessableRequest("a value cannot be stored", code="value_not_storable")
    if state in _UNMIGRATED:
        return ConfigurationError(
            "the database does not have this version's tables; run `broker migrate`, or restore it where it is migrated"
        )
    if state.startswith(_REFUSED):
        return ConfigurationError(
            "PostgreSQL refuses the user, the password or the database of BROKER_DATABASE_URL; correct it there"
        )
    invalidated = isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated
    unreachable = (
        OSError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        sqlalchemy.exc.InterfaceError,
        sqlalchemy.exc.TimeoutError,
    )
    if invalidated or isinstance(error, unreachable) or state.startswith(_TRANSIENT):
        return DatabaseUnavailable(
            "the database is unavailable at the moment; a change was made only if it was confirmed; try again",
            retry_after=1,
            reason=_reason_of(original),
        )
    return None


def _reason_of(error: BaseException | None) -> str:
    """Return the message of PostgreSQL or the system, for errors whose messages never quote a value."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return "no connection of the pool became free"
    causes: list[BaseException] = [error] if error else []
    while causes and (next_cause := causes[-1].__cause__) is not None:
        causes.append(next_cause)
    for cause in causes:
        if isinstance(cause, asyncpg.PostgresError) and cause.sqlstate:
            return f"PostgreSQL: {cause} ({cause.sqlstate})"
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        if isinstance(cause, OSError):
            return f"no connection: {cause.strerror or type(cause).__name__}"
    return type(causes[-1]).__name__ if causes else "unknown"


def _is_unencodable(error: BaseException | None) -> bool:
    """Return whether the driver could not encode a value: it then raises DataError itself, not a subclass."""
    candidates = (error, error.__cause__ if error else None)
    return any(type(candidate) is asyncpg.exceptions.DataError for candidate in candidates)
