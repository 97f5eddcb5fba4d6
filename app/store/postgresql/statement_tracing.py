"""A span for each SQL statement that is executed within a recorded trace.

The span has the statement's text. Its parameters are sent to PostgreSQL separately and are not recorded.
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
    """Record the statements of `engine` as children of the current span, if that is recorded."""
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
    # There is no connection if connecting failed.
    if failure.connection and (span := failure.connection.info.pop(_SPAN, None)):
        span.set_error(str(getattr(failure.original_exception, "sqlstate", None) or "failed"))
        span.end()


@lru_cache(maxsize=512)
def _summary(statement: str) -> str:
    """Return the operation and its first table, which is the span's name in OpenTelemetry's database conventions."""
    operation = statement.split(maxsplit=1)[0].upper()
    table = _TABLE.search(statement)
    return f"{operation} {table[1]}" if table else operation
