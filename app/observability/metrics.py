"""Prometheus metrics. Labels come from fixed sets: outcomes, codes, route templates.

With several workers each process keeps its values in files of one directory, which the library's multiprocess mode
adds up: `PROMETHEUS_MULTIPROC_DIR` names it, and must be set before this module is imported. See app/cli/workers.py.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector

from app.errors import ConfigurationError

MULTIPROCESS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Counter("broker_http_requests_total", "HTTP requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "broker_http_request_duration_seconds", "Time to the end of the answer.", ["route"], buckets=_SECONDS
)

REFRESHES = Counter("broker_refreshes_total", "Refreshes that ended, by outcome and cause.", ["outcome", "cause"])
REFRESH_WAIT_SECONDS = Histogram(
    "broker_refresh_wait_duration_seconds", "Time that a call waited for a refresh.", buckets=_SECONDS
)
SPOOL_FILES = Gauge(
    "broker_spooled_refreshes",
    "Answers of the bank that wait on disk for the database.",
    multiprocess_mode="livemax",
)
BREAKER_OPEN = Gauge(
    "broker_bank_left_alone",
    "1 while no refresh is sent, since the bank failed too often.",
    multiprocess_mode="livemax",
)

SESSIONS = Counter("broker_sessions_total", "Sessions that reached a status.", ["status"])
CONNECTIONS = Gauge(
    "broker_connections", "Connections in the database, by status.", ["status"], multiprocess_mode="livemostrecent"
)
REVOCATIONS = Counter("broker_revocations_total", "Revocations asked of the bank, by outcome.", ["outcome"])
DELIVERIES = Counter("broker_webhook_deliveries_total", "Attempts to deliver an event, by outcome.", ["outcome"])
DELIVERIES_GIVEN_UP = Counter(
    "broker_webhook_deliveries_given_up_total", "Events that no receiver has taken within their day."
)
OUTBOX_EVENTS = Gauge(
    "broker_outbox_events", "Events that wait for their delivery.", multiprocess_mode="livemostrecent"
)
OUTBOX_AGE_SECONDS = Gauge(
    "broker_outbox_oldest_seconds", "The age of the oldest of them.", multiprocess_mode="livemostrecent"
)
REVOCATIONS_WAITING = Gauge(
    "broker_revocations_waiting",
    "Tokens that the bank has not confirmed to be revoked.",
    multiprocess_mode="livemostrecent",
)

BANK_REQUESTS = Counter(
    "broker_bank_requests_total",
    "Requests to the bank, by the status of its answer or by what kept it from answering.",
    ["endpoint", "status"],
)
BANK_SECONDS = Histogram(
    "broker_bank_request_duration_seconds",
    "Time to the end of the bank's answer, or to the failure; queries are in the requests' duration.",
    ["endpoint"],
    buckets=_SECONDS,
)
BANK_CONNECTIONS = Gauge(
    "broker_bank_connections", "Connections for queries to the bank, by state.", ["state"], multiprocess_mode="livesum"
)
BANK_WAITING = Gauge(
    "broker_bank_waiting_queries", "Queries that wait for a connection to the bank.", multiprocess_mode="livesum"
)

REMOVED = Counter("broker_rows_removed_total", "Rows that were removed for their age, by their kind.", ["kind"])

CACHE_MISSES = Counter(
    "broker_cache_misses_total", "Look-ups that memory could not answer, so the database was asked.", ["cache"]
)
CACHE_ENTRIES = Gauge("broker_cache_entries", "What is remembered.", ["cache"], multiprocess_mode="livesum")

DATABASE_FAILURES = Counter("broker_database_failures_total", "Transactions that failed as the database was away.")
DATABASE_WAIT_SECONDS = Histogram(
    "broker_database_connection_wait_duration_seconds",
    "Time that a transaction waited for its connection to the database.",
    buckets=_SECONDS,
)
DATABASE_CONNECTIONS = Gauge(
    "broker_database_connections",
    "Pooled connections to the database, by state.",
    ["state"],
    multiprocess_mode="livesum",
)
NOTIFICATIONS_CONNECTED = Gauge(
    "broker_notifications_connected",
    "1 while changes of other replicas are heard of.",
    multiprocess_mode="livemin",
)


def registry() -> CollectorRegistry:
    """Return what there is to tell: of this process, or of all workers where there are several."""
    if not is_one_of_several():
        return REGISTRY
    of_all_workers = CollectorRegistry()
    MultiProcessCollector(of_all_workers)  # type: ignore[no-untyped-call]
    return of_all_workers


def is_one_of_several() -> bool:
    """Tell whether this process is a worker beside others, whose supervisor serves METRICS_PORT."""
    return MULTIPROCESS_DIRECTORY in os.environ


@contextmanager
def served_on(port: int) -> Iterator[None]:
    """Serve every metric on a port of its own for as long as the block. Raises ConfigurationError."""
    try:
        server, thread = start_http_server(port, registry=registry())
    except OSError as error:
        raise ConfigurationError(f"BROKER_METRICS_PORT: port {port} cannot be used: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def exposition() -> bytes:
    """Return every metric in Prometheus' text format."""
    return generate_latest(registry())
