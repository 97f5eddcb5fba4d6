"""Faults that a test can ask the bank for, as typed data. `fault_injection` and the endpoints carry them out."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

FaultyEndpoint = Literal["discovery", "jwks", "par", "token", "revocation", "graphql"]
Support = Literal["none", "offered", "required"]


class Fault(BaseModel):
    """Something that goes wrong, always or for the next `times` requests only."""

    model_config = ConfigDict(extra="forbid")

    times: int | None = Field(default=None, ge=1)


class EndpointFault(Fault):
    """What any endpoint can suffer.

    `delay` goes with everything. Of those that leave a request unprocessed (`hang` to `redirect`) the first one set
    wins; those below them let the bank process it and spoil the answer only.
    """

    delay: float = Field(default=0, ge=0)
    """Seconds before processing."""

    hang: float | None = Field(default=None, ge=0)
    """Seconds without an answer; then the connection drops."""
    status: int | None = Field(default=None, ge=400, le=599)
    retry_after: int | None = Field(default=None, ge=0)
    """Goes with `status`."""
    error: str | None = None
    """An OAuth error code."""
    garbage: bool = False
    """200 and no JSON."""
    huge: int | None = Field(default=None, ge=32)
    """200 and JSON of so many bytes."""
    redirect: str | None = None
    """302 to this URL."""

    delay_after: float = Field(default=0, ge=0)
    """Seconds between processing and answering."""
    lose_answer: bool = False
    """The connection drops in place of an answer."""
    half_answer: bool = False
    """The connection drops in the middle of the body."""


class DiscoveryFault(EndpointFault):
    """What is wrong with the discovery document."""

    document: dict[str, JsonValue] = {}
    """Members to set; null removes one."""


class TokenFault(EndpointFault):
    """What is wrong with a token response or its id_token."""

    grant_type: str | None = None
    """Only requests of this grant suffer."""
    token_response: dict[str, JsonValue] = {}
    """Members to set; null removes one."""
    claims: dict[str, JsonValue] = {}
    """Claims of the id_token to set; null removes one."""
    algorithm: Literal["RS256", "HS256", "none"] = "RS256"
    """HS256 takes the RSA public key, as PEM, for the secret (RFC 8725, section 2.1)."""
    kid: Literal["current", "missing", "unknown"] = "current"
    signing_key: Literal["current", "other"] = "current"


class AuthorizationResponseFault(Fault):
    """What is wrong with the redirect back to the client."""

    parameters: dict[str, str | None] = {}
    """Parameters to set; null removes one."""


class Faults(BaseModel):
    """Everything that is wrong at the bank at this moment, or that it does differently from its default."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    discovery: DiscoveryFault | None = None
    jwks: EndpointFault | None = None
    par: EndpointFault | None = None
    authorization_response: AuthorizationResponseFault | None = None
    token: TokenFault | None = None
    revocation: EndpointFault | None = None
    graphql: EndpointFault | None = None

    unauthenticated_shape: Literal["401", "200", "200-nested"] = "401"
    """How GraphQL says that a token has expired; "nested" puts the code into `errors[]`."""
    announce_iss: bool = False
    """Announce and send `iss` with the authorization response (RFC 9207)."""
    pushed_requests: Support = "none"
    """Whether clients may or must push their authorization requests (RFC 9126)."""
    dpop: Support = "none"
    """Whether clients may or must bind tokens to a key (RFC 9449)."""
    dpop_nonces: bool = False
    """Whether proofs must hold the bank's nonce."""
    refresh_reuse_grace: float | None = Field(default=None, ge=0)
    """In place of the setting of this name."""

    def merge(self, changes: "Faults") -> None:
        """Take over every member that `changes` names; each replaces the former one whole."""
        for name in changes.model_fields_set:
            setattr(self, name, getattr(changes, name))

    def take(self, endpoint: FaultyEndpoint, *, grant_type: str | None = None) -> EndpointFault | None:
        """Return the fault that this request suffers, and use up one of its `times`."""
        fault: EndpointFault | None = getattr(self, endpoint)
        if isinstance(fault, TokenFault) and fault.grant_type not in (None, grant_type):
            return None
        self._use_up(endpoint, fault)
        return fault

    def take_authorization_response(self) -> dict[str, str | None]:
        """Return the changes to this redirect, and use up one of their `times`."""
        fault = self.authorization_response
        self._use_up("authorization_response", fault)
        return fault.parameters if fault else {}

    def _use_up(self, name: str, fault: Fault | None) -> None:
        if fault is None or fault.times is None:
            return
        setattr(self, name, fault.model_copy(update={"times": fault.times - 1}) if fault.times > 1 else None)


def override(members: dict[str, JsonValue], changes: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Set or, with null, remove members."""
    merged = members | changes
    return {name: value for name, value in merged.items() if name not in changes or value is not None}
