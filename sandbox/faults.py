"""The faults that a test can switch on, as typed data. `fault_injection` and the endpoints apply them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

FaultyEndpoint = Literal["discovery", "jwks", "par", "token", "revocation", "graphql"]
Support = Literal["none", "offered", "required"]


class Fault(BaseModel):
    """A fault: permanent, or for the next `times` requests only."""

    model_config = ConfigDict(extra="forbid")

    times: int | None = Field(default=None, ge=1)


class EndpointFault(Fault):
    """A fault that any endpoint can have.

    `delay` combines with every other member. `hang` to `redirect` leave the request unprocessed; the first one that is
    set applies. The members after them let the bank process the request and only affect the response.
    """

    delay: float = Field(default=0, ge=0)
    """Seconds before processing."""

    hang: float | None = Field(default=None, ge=0)
    """Seconds without a response, after which the connection is closed."""
    status: int | None = Field(default=None, ge=400, le=599)
    """An HTTP status."""
    retry_after: int | None = Field(default=None, ge=0)
    """The `Retry-After` header sent with `status`, in seconds."""
    error: str | None = None
    """400 with this OAuth error code."""
    garbage: bool = False
    """200 with a body that is not JSON."""
    huge: int | None = Field(default=None, ge=32)
    """200 with JSON of exactly this many bytes."""
    redirect: str | None = None
    """302 to this URL."""

    delay_after: float = Field(default=0, ge=0)
    """Seconds between processing and the response."""
    lose_answer: bool = False
    """The connection is closed without a response."""
    half_answer: bool = False
    """The connection is closed in the middle of the body."""


class DiscoveryFault(EndpointFault):
    """A fault of the discovery document."""

    document: dict[str, JsonValue] = {}
    """Members to set; null removes one."""


class TokenFault(EndpointFault):
    """A fault of the token response or its id_token."""

    grant_type: str | None = None
    """Restricts the fault to requests with this grant type."""
    token_response: dict[str, JsonValue] = {}
    """Members to set; null removes one."""
    claims: dict[str, JsonValue] = {}
    """Claims of the id_token to set; null removes one."""
    algorithm: Literal["RS256", "HS256", "none"] = "RS256"
    """HS256 uses the RSA public key, as PEM, as its secret (RFC 8725, section 2.1)."""
    kid: Literal["current", "missing", "unknown"] = "current"
    signing_key: Literal["current", "other"] = "current"


class AuthorizationResponseFault(Fault):
    """A fault of the redirect back to the client."""

    parameters: dict[str, str | None] = {}
    """Parameters to set; null removes one."""


class Faults(BaseModel):
    """The current faults, and the optional features that are switched on."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    discovery: DiscoveryFault | None = None
    jwks: EndpointFault | None = None
    par: EndpointFault | None = None
    authorization_response: AuthorizationResponseFault | None = None
    token: TokenFault | None = None
    revocation: EndpointFault | None = None
    graphql: EndpointFault | None = None

    unauthenticated_shape: Literal["401", "200", "200-nested"] = "401"
    """The HTTP status for an expired token; "nested" puts the error code into `errors[]`."""
    www_authenticate: str | None = None
    """The challenge of the 401 responses of the GraphQL API."""
    announce_iss: bool = False
    """Whether `iss` is announced, and sent with the authorization response (RFC 9207)."""
    pushed_requests: Support = "none"
    """Whether clients may or must push their authorization requests (RFC 9126)."""
    dpop: Support = "none"
    """Whether clients may or must bind tokens to a key (RFC 9449)."""
    dpop_nonces: bool = False
    """Whether proofs must contain the bank's nonce."""
    refresh_reuse_grace: float | None = Field(default=None, ge=0)
    """Overrides the setting with this name."""

    def merge(self, changes: "Faults") -> None:
        """Replace each member that is set in `changes`."""
        for name in changes.model_fields_set:
            setattr(self, name, getattr(changes, name))

    def take(self, endpoint: FaultyEndpoint, *, grant_type: str | None = None) -> EndpointFault | None:
        """Return the fault of this request, if any, and decrement its `times`."""
        fault: EndpointFault | None = getattr(self, endpoint)
        if isinstance(fault, TokenFault) and fault.grant_type not in (None, grant_type):
            return None
        self._decrement_times(endpoint, fault)
        return fault

    def take_authorization_response(self) -> dict[str, str | None]:
        """Return the changes to this redirect, and decrement their `times`."""
        fault = self.authorization_response
        self._decrement_times("authorization_response", fault)
        return fault.parameters if fault else {}

    def _decrement_times(self, name: str, fault: Fault | None) -> None:
        if fault is None or fault.times is None:
            return
        setattr(self, name, fault.model_copy(update={"times": fault.times - 1}) if fault.times > 1 else None)


def override(members: dict[str, JsonValue], changes: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return `members` with the `changes` applied; a null removes the member."""
    merged = members | changes
    return {name: value for name, value in merged.items() if name not in changes or value is not None}
