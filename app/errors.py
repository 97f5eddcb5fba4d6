"""Every error that the broker reports, in one tree.

    BrokerError
    ├── InvalidRequest             400  the request cannot be understood or is not allowed as it stands
    │   ├── UnprocessableRequest   422
    │   ├── RequestTooLarge        413
    │   └── RequestTooSlow         408
    ├── UnauthorizedCaller         401
    ├── PermissionDenied           403
    ├── NotFound                   404
    │   └── ConnectionNotFound
    ├── Conflict                   409
    │   ├── ConnectionNotReady
    │   ├── ConnectionRevoked
    │   └── ReauthorizationRequired
    ├── RateLimited                429
    ├── BankError                  502  the bank cannot be used as it is
    │   └── BankTimeout            504
    ├── BrokerUnavailable          503
    │   └── DatabaseUnavailable
    ├── LoginError                 400  a login that must not succeed; `code` says which check refused it
    └── ConfigurationError              the settings or the machine; stops a start

`code` is stable and for programs, `detail` is for people and says what to do. Neither ever holds a secret.
`app.api.problems` renders them as problem+json, `app.api.query.errors` in GraphQL's shape: nothing else does.
"""

from typing import ClassVar


class BrokerError(Exception):
    """An error with a stable code and a sentence that says what to do about it."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "The broker failed"
    default_code: ClassVar[str] = "internal_error"
    graphql_code: ClassVar[str] = "BROKER_UNAVAILABLE"

    def __init__(
        self, detail: str, *, code: str | None = None, retry_after: float | None = None, reason: str | None = None
    ) -> None:
        """`retry_after` is in seconds and becomes the `Retry-After` header. `reason` is for operators alone."""
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.retry_after = retry_after
        self.reason = reason


class InvalidRequest(BrokerError):
    """The request cannot be understood."""

    status = 400
    title = "The request is not valid"
    default_code = "bad_request"
    graphql_code = "BAD_REQUEST"


class UnprocessableRequest(InvalidRequest):
    """The request is well-formed, but its content cannot be acted on."""

    status = 422
    title = "The request cannot be processed"
    default_code = "unprocessable_request"


class RequestTooLarge(InvalidRequest):
    """The body is larger than the broker accepts."""

    status = 413
    title = "The request is too large"
    default_code = "request_too_large"
    graphql_code = "REQUEST_TOO_LARGE"


class RequestTooSlow(InvalidRequest):
    """The body did not come within the time that it is waited for."""

    status = 408
    title = "The request did not come in time"
    default_code = "request_too_slow"


class UnauthorizedCaller(BrokerError):
    """No API key, or one that is unknown, expired or revoked."""

    status = 401
    title = "The caller is not authenticated"
    default_code = "unauthorized_caller"
    graphql_code = "UNAUTHORIZED_CALLER"


class PermissionDenied(BrokerError):
    """The caller is known, but was not granted this."""

    status = 403
    title = "The caller lacks a permission"
    default_code = "permission_denied"
    graphql_code = "PERMISSION_DENIED"


class NotFound(BrokerError):
    """Nothing of that name exists for this caller; another tenant's rows do not exist for it either."""

    status = 404
    title = "Not found"
    default_code = "not_found"


class ConnectionNotFound(NotFound):
    """No such connection for this caller."""

    default_code = "connection_not_found"
    graphql_code = "CONNECTION_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("your tenant has no connection with this id; GET /v1/connections lists those that it has")


class Conflict(BrokerError):
    """The thing exists, but is not in a state that allows this."""

    status = 409
    title = "The current state does not allow this"
    default_code = "conflict"
    graphql_code = "CONNECTION_NOT_READY"


class ConnectionNotReady(Conflict):
    """The connection awaits its caller's confirmation."""

    default_code = "connection_not_ready"


class ConnectionRevoked(Conflict):
    """The connection was disconnected; link the account anew."""

    default_code = "connection_revoked"
    graphql_code = "CONNECTION_REVOKED"


class ReauthorizationRequired(Conflict):
    """The user must consent again; start a session with this `connection_id`."""

    default_code = "reauthorization_required"
    graphql_code = "REAUTHORIZATION_REQUIRED"


class RateLimited(BrokerError):
    """The caller asks for more than it may."""

    status = 429
    title = "Too many requests"
    default_code = "rate_limited"
    graphql_code = "RATE_LIMITED"


class BankError(BrokerError):
    """The bank refused, failed or could not be reached; the tokens are kept."""

    status = 502
    title = "The bank cannot be used at the moment"
    default_code = "bank_unavailable"
    graphql_code = "BANK_UNAVAILABLE"


class BankTimeout(BankError):
    """The bank did not answer in time."""

    status = 504
    title = "The bank did not answer in time"
    default_code = "bank_timeout"
    graphql_code = "BANK_TIMEOUT"


class BrokerUnavailable(BrokerError):
    """The broker cannot do this now; the same request may succeed later."""

    status = 503
    title = "The broker is not available"
    default_code = "broker_unavailable"


class DatabaseUnavailable(BrokerUnavailable):
    """PostgreSQL cannot be reached, or refuses to work at the moment."""

    default_code = "database_unavailable"


class LoginError(BrokerError):
    """A login that must not succeed. The session keeps `code` and `detail`."""

    status = 400
    title = "The login was refused"
    default_code = "login_failed"


class ConfigurationError(BrokerError):
    """A setting, or the machine, does not allow a start. The message is one line that names it."""

    title = "The broker is not configured"
    default_code = "configuration_error"
