"""A span for each statement of a transaction that belongs to a recorded trace.

Its text is the program's: values go to PostgreSQL apart from it, and into no span.
"""

import re
from functools import lru_cache

from opentelemetry.trace import SpanKind
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from app.observability.tracing import child_span

SYSTEM = {"db.system.name": "postgresql"}
_SPAN = "span"
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+(\w+)", re.IGNORECASE)


def trace_statements(engine: Engine) -> None:
    """Have the statements of `engine` recorded wherever what they are for is."""
    event.listen(engine, "before_cursor_execute", _begin)
    event.listen(engine, "after_cursor_execute", _end)
    event.listen(engine, "handle_error", _fail)


def _begin(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    span = child_span(_summary(statement), SpanKind.CLIENT, {**SYSTEM, "db.query.text": statement})
    span.start()
    connection.info[_SPAN] = span


def _end(connection: Connection, *_: object) -> None:
    connection.info.pop(_SPAN).end()


def _fail(failure: ExceptionContext) -> None:
    # There is none where it was the connection that could not be had.
    if failure.connection and (span := failure.connection.info.pop(_SPAN, None)):
        span.set_error(str(getattr(failure.original_exception, "sqlstate", None) or "failed"))
        span.end()


@lru_cache(maxsize=512)
def _summary(statement: str) -> str:
    """Return the operation and its first table, as OpenTelemetry's conventions for databases name a span."""
    operation = statement.split(maxsplit=1)[0].upper()
    table = _TABLE.search(statement)
    return f"{operation} {table[1]}" if table else operation
