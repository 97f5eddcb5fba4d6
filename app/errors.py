"""Every error that the broker reports, in one tree, with its HTTP status.

BrokerError                         500
├── InvalidRequest                  400
│   ├── MethodNotAllowed            405
│   ├── RequestTimeout              408
│   ├── RequestTooLarge             413
│   └── UnprocessableRequest        422
├── UnauthorizedCaller              401
│   └── ServiceTokenInvalid         401
├── PermissionDenied                403
├── NotFound                        404
│   └── ConnectionNotFound          404
├── Conflict                        409
│   ├── ConnectionNotReady          409
│   ├── ConnectionRevoked           409
│   └── ReauthorizationRequired     409
├── RateLimited                     429
├── BankError                       502
│   ├── BankUnreachable             502
│   ├── BankResponseInvalid         502
│   ├── BankServerError             502
│   ├── BankRateLimited             502
│   ├── BankRequestRejected         502
│   ├── InvalidClient               502
│   ├── InvalidGrant                502
│   └── BankTimeout                 504
│       └── BankOutcomeUnknown      504
├── BrokerUnavailable               503
│   ├── BankClientMismatch          503
│   └── DatabaseUnavailable         503
├── DecryptionError                 503
├── LoginError                      400
│   └── IdTokenInvalid              400
└── ConfigurationError              500
"""

from typing import ClassVar


class BrokerError(Exception):
    """An error. `code` is stable, for programs; `detail` says what to do. Neither contains a secret."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "The broker failed"
    default_code: ClassVar[str] = "internal_error"
    graphql_code: ClassVar[str] = "BROKER_UNAVAILABLE"

    def __init__(
        self, detail: str, *, code: str | None = None, retry_after: float | None = None, reason: str | None = None
    ) -> None:
        """`retry_after` is in seconds and becomes the `Retry-After` header. `reason` is shown to operators only."""
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.retry_after = retry_after
        self.reason = reason


class InvalidRequest(BrokerError):
    """The request is malformed."""

    status = 400
    title = "The request is not valid"
    default_code = "bad_request"
    graphql_code = "BAD_REQUEST"


class MethodNotAllowed(InvalidRequest):
    """The path does not support this HTTP method."""

    status = 405
    default_code = "method_not_allowed"


class RequestTimeout(InvalidRequest):
    """The request body did not arrive in time."""

    status = 408
    title = "The request did not come in time"
    default_code = "request_too_slow"


class RequestTooLarge(InvalidRequest):
    """The request body is larger than the broker accepts."""

    status = 413
    title = "The request is too large"
    default_code = "request_too_large"
    graphql_code = "REQUEST_TOO_LARGE"


class UnprocessableRequest(InvalidRequest):
    """The request is well-formed, but its content is not acceptable."""

    status = 422
    title = "The request cannot be processed"
    default_code = "unprocessable_request"


class UnauthorizedCaller(BrokerError):
    """The API key is missing, unknown, expired or revoked."""

    status = 401
    title = "The caller is not authenticated"
    default_code = "unauthorized_caller"
    graphql_code = "UNAUTHORIZED_CALLER"


class ServiceTokenInvalid(UnauthorizedCaller):
    """The service token failed validation; `code` names the check."""

    default_code = "service_token_invalid"


class PermissionDenied(BrokerError):
    """The caller does not have the permission that this request needs."""

    status = 403
    title = "The caller lacks a permission"
    default_code = "permission_denied"
    graphql_code = "PERMISSION_DENIED"


class NotFound(BrokerError):
    """The resource does not exist, or belongs to another tenant."""

    status = 404
    title = "Not found"
    default_code = "not_found"


class ConnectionNotFound(NotFound):
    """The caller's tenant has no connection with this id."""

    default_code = "connection_not_found"
    graphql_code = "CONNECTION_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("your tenant has no connection with this id; GET /v1/connections lists those that it has")


class Conflict(BrokerError):
    """The resource is in a state that does not allow this request."""

    status = 409
    title = "The current state does not allow this"
    default_code = "conflict"
    graphql_code = "CONNECTION_NOT_READY"


class ConnectionNotReady(Conflict):
    """The connection still has to be confirmed by its caller."""

    default_code = "connection_not_ready"


class ConnectionRevoked(Conflict):
    """The connection was disconnected; link the account again."""

    default_code = "connection_revoked"
    graphql_code = "CONNECTION_REVOKED"


class ReauthorizationRequired(Conflict):
    """The user must consent again; start a session with this `connection_id`."""

    default_code = "reauthorization_required"
    graphql_code = "REAUTHORIZATION_REQUIRED"


class RateLimited(BrokerError):
    """The caller has exceeded a rate limit."""

    status = 429
    title = "Too many requests"
    default_code = "rate_limited"
    graphql_code = "RATE_LIMITED"


class BankError(BrokerError):
    """The bank refused the request, failed or could not be reached; the tokens are kept."""

    status = 502
    title = "The bank cannot be used at the moment"
    default_code = "bank_unavailable"
    graphql_code = "BANK_UNAVAILABLE"


class BankUnreachable(BankError):
    """No connection to the bank could be opened. Nothing was sent, so the request may be repeated."""

    default_code = "bank_unreachable"


class BankResponseInvalid(BankError):
    """The bank's response cannot be understood."""

    default_code = "bank_bad_answer"


class BankServerError(BankError):
    """The bank answered with a server error."""

    default_code = "bank_failed"


class BankRateLimited(BankError):
    """The bank asked for fewer requests; `retry_after` holds its `Retry-After`, if any."""

    default_code = "bank_rate_limited"


class BankRequestRejected(BankError):
    """The bank rejected the request with another OAuth error, which `detail` names: no outage, but a wrong setting."""

    title = "The bank refused the request"
    default_code = "bank_refused_request"


class InvalidClient(BankError):
    """The bank does not accept the broker's client credentials. No user's consent is affected."""

    title = "The bank refused the broker's credentials"
    default_code = "bank_refused_client"


class InvalidGrant(BankError):
    """The authorization code or refresh token is invalid, expired, used or revoked."""

    default_code = "invalid_grant"


class BankTimeout(BankError):
    """The bank did not answer in time."""

    status = 504
    title = "The bank did not answer in time"
    default_code = "bank_timeout"
    graphql_code = "BANK_TIMEOUT"


class BankOutcomeUnknown(BankTimeout):
    """The request may have reached the bank, but no response came, so its outcome is unknown."""

    default_code = "bank_outcome_unknown"


class BrokerUnavailable(BrokerError):
    """The broker cannot do this now; the same request may succeed later."""

    status = 503
    title = "The broker is not available"
    default_code = "broker_unavailable"


class BankClientMismatch(BrokerUnavailable):
    """A connection or login belongs to another client of the bank than the one that this broker is configured with."""

    default_code = "bank_client_mismatch"


class DatabaseUnavailable(BrokerUnavailable):
    """PostgreSQL cannot be reached, or cannot serve requests at the moment."""

    default_code = "database_unavailable"


class DecryptionError(BrokerError):
    """Stored data cannot be decrypted: its key is not configured, or the data was altered or moved."""

    status = 503
    title = "Stored data cannot be read"
    default_code = "decryption_failed"


class LoginError(BrokerError):
    """The login must not succeed. The session keeps `code` and `detail`."""

    status = 400
    title = "The login was refused"
    default_code = "login_failed"


class IdTokenInvalid(LoginError):
    """The id_token failed validation; `code` names the check."""

    default_code = "id_token_invalid"


class ConfigurationError(BrokerError):
    """A setting or the machine prevents the start. `detail` is one line that names the setting."""

    title = "The broker is not configured"
    default_code = "configuration_error"
