"""Prometheus metrics. Labels come from fixed sets: outcomes, codes, route templates."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Counter("broker_http_requests_total", "HTTP requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "broker_http_request_duration_seconds", "Time to the end of the answer.", ["route"], buckets=_SECONDS
)
REFRESHES = Counter("broker_refreshes_total", "Refreshes that ended, by outcome and cause.", ["outcome", "cause"])
REFRESH_WAIT_SECONDS = Histogram(
    "broker_refresh_wait_duration_seconds", "Time that a call waited for a refresh.", buckets=_SECONDS
)
SESSIONS = Counter("broker_sessions_total", "Sessions that ended, by outcome.", ["status"])
QUERIES = Counter("broker_queries_total", "Queries sent to the bank, by the status of its answer.", ["status"])
REVOCATIONS = Counter("broker_revocations_total", "Revocations asked of the bank, by outcome.", ["outcome"])
NOTIFICATIONS_CONNECTED = Gauge("broker_notifications_connected", "1 while changes of other replicas are heard of.")
BREAKER_OPEN = Gauge("broker_bank_left_alone", "1 while no refresh is sent, since the bank failed too often.")
SPOOLED = Gauge("broker_spooled_refreshes", "Answers of the bank that wait on disk for the database.")
