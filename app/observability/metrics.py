"""Prometheus metrics. Label values come from fixed sets: outcomes, codes, route templates.

With several workers, each process keeps its values in files of one directory, and the library's multiprocess mode
aggregates them. `PROMETHEUS_MULTIPROC_DIR` names the directory and must be set before this module is imported: see
app/cli/workers.py.
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

MULTIPROCESS_DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Counter("broker_http_requests_total", "HTTP requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "broker_http_request_duration_seconds", "Time until the end of the response.", ["route"], buckets=_BUCKETS
)

REFRESHES = Counter("broker_refreshes_total", "Finished refreshes, by outcome and cause.", ["outcome", "cause"])
REFRESH_WAIT_SECONDS = Histogram(
    "broker_refresh_wait_duration_seconds", "Time that a request waited for a refresh.", buckets=_BUCKETS
)
SPOOL_FILES = Gauge(
    "broker_spooled_refreshes",
    "Token responses of the bank that are on disk because the database has not saved them yet.",
    multiprocess_mode="livemax",
)
CIRCUIT_BREAKER_OPEN = Gauge(
    "broker_bank_left_alone",
    "1 while the circuit breaker is open and no refresh is sent, because the bank failed too often.",
    multiprocess_mode="livemax",
)
INVALID_GRANT_STORM = Gauge(
    "broker_invalid_grant_storm",
    "1 while the bank suddenly refuses many connections, so its refusals are not believed.",
    multiprocess_mode="livemax",
)

SESSIONS = Counter("broker_sessions_total", "Sessions that have reached a status.", ["status"])
CONNECTIONS = Gauge(
    "broker_connections", "Connections in the database, by status.", ["status"], multiprocess_mode="livemostrecent"
)
REVOCATIONS = Counter("broker_revocations_total", "Revocation requests to the bank, by outcome.", ["outcome"])
DELIVERIES = Counter("broker_webhook_deliveries_total", "Attempts to deliver an event, by outcome.", ["outcome"])
DELIVERIES_GIVEN_UP = Counter(
    "broker_webhook_deliveries_given_up_total", "Events that could not be delivered within a day."
)
OUTBOX_EVENTS = Gauge("broker_outbox_events", "Events that wait for delivery.", multiprocess_mode="livemostrecent")
OUTBOX_AGE_SECONDS = Gauge(
    "broker_outbox_oldest_seconds",
    "Age of the oldest event that waits for delivery, in seconds.",
    multiprocess_mode="livemostrecent",
)
REVOCATIONS_WAITING = Gauge(
    "broker_revocations_waiting",
    "Tokens whose revocation the bank has not confirmed yet.",
    multiprocess_mode="livemostrecent",
)

BANK_CLIENT_MISMATCHES = Counter(
    "broker_bank_client_mismatches_total",
    "Requests refused because the connection or login belongs to another client of the bank.",
)
BANK_REQUESTS = Counter(
    "broker_bank_requests_total",
    "Requests to the bank, by the status of its response or by the reason for having none.",
    ["endpoint", "status"],
)
BANK_SECONDS = Histogram(
    "broker_bank_request_duration_seconds",
    "Time until the end of the bank's response or until the failure; queries are in the HTTP request duration.",
    ["endpoint"],
    buckets=_BUCKETS,
)
BANK_CONNECTIONS = Gauge(
    "broker_bank_connections", "Connections to the bank for queries, by state.", ["state"], multiprocess_mode="livesum"
)
BANK_WAITING = Gauge(
    "broker_bank_waiting_queries", "Queries that wait for a connection to the bank.", multiprocess_mode="livesum"
)

REMOVED = Counter("broker_rows_removed_total", "Rows that were deleted because of their age, by kind.", ["kind"])

CACHE_MISSES = Counter(
    "broker_cache_misses_total", "Lookups that read the database because the cache had no value.", ["cache"]
)
CACHE_ENTRIES = Gauge("broker_cache_entries", "Entries in a cache.", ["cache"], multiprocess_mode="livesum")

DATABASE_FAILURES = Counter(
    "broker_database_failures_total", "Transactions that failed because the database was unavailable."
)
DATABASE_WAIT_SECONDS = Histogram(
    "broker_database_connection_wait_duration_seconds",
    "Time that a transaction waited for a database connection.",
    buckets=_BUCKETS,
)
DATABASE_CONNECTIONS = Gauge(
    "broker_database_connections",
    "Pooled connections to the database, by state.",
    ["state"],
    multiprocess_mode="livesum",
)
NOTIFICATIONS_CONNECTED = Gauge(
    "broker_notifications_connected",
    "1 while notifications of changes by other replicas are received.",
    multiprocess_mode="livemin",
)


def is_multiprocess() -> bool:
    """Return whether this process is one of several workers, whose supervisor serves METRICS_PORT."""
    return MULTIPROCESS_DIRECTORY_VARIABLE in os.environ


@contextmanager
def serve_metrics(port: int) -> Iterator[None]:
    """Serve all metrics on a port of their own within the block. Raises ConfigurationError if the port is in use."""
    try:
        server, thread = start_http_server(port, registry=_registry())
    except OSError as error:
        raise ConfigurationError(f"BROKER_METRICS_PORT: port {port} cannot be used: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def render_metrics() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    return generate_latest(_registry())


def _registry() -> CollectorRegistry:
    """Return the metrics of this process, or of all workers if there are several."""
    if not is_multiprocess():
        return REGISTRY
    all_workers = CollectorRegistry()
    MultiProcessCollector(all_workers)  # type: ignore[no-untyped-call]
    return all_workers
