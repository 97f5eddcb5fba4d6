"""What the provider says of itself: its metadata and its signing keys (OpenID Connect Discovery 1.0)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import httpx
from joserfc.jwk import KeySet

from app.base.clock import Clock
from app.base.strict_json import parse_json
from app.errors import BankError, BankResponseInvalid
from app.observability.logs import get_logger
from app.oidc.dpop import ALGORITHM
from app.oidc.jwks import read_keys
from app.oidc.transport import Answer, send

METADATA_LIFETIME = 3_600.0
METADATA_RETRY = 30.0
# How long a failure is everybody's, where nothing is known yet. Seconds.
FAILURE_LIFETIME = 1.0
KEYS_LIFETIME = 3_600.0
# An id_token with an unknown key makes us look again, but not more often than this. Seconds.
KEYS_MIN_AGE = 1.0
# Looking into one takes a while, in which nobody else is served.
_LONGEST_ADDRESS = 2_000
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """The addresses and abilities that matter here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    revocation_endpoint: str | None = None
    sends_issuer: bool = False
    pushed_authorization_request_endpoint: str | None = None
    """Where authorization requests are pushed to, if they are (RFC 9126)."""
    binds_tokens: bool = False
    """Whether tokens are bound to a key of the broker's (RFC 9449)."""

    assertion_algorithm: str = "RS256"
    """What client assertions are signed with: RS256 as Stitch has it, unless others only are announced."""

    @property
    def assertion_audience(self) -> str:
        """Whom a client assertion is made out to.

        Who takes pushed requests takes its issuer identifier too (RFC 9126 section 2), which alone cannot be misused at
        another endpoint (FAPI 2.0 Security Profile 5.3.3). Stitch documents the token endpoint.
        """
        return self.token_endpoint if self.pushed_authorization_request_endpoint is None else self.issuer


Use = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class Extensions:
    """Which extensions are used: where the provider announces them, always, or never."""

    par: Use = "auto"
    dpop: Use = "auto"


@dataclass(frozen=True, slots=True)
class EndpointOverrides:
    """Addresses from the settings, which win over the discovery document."""

    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None
    jwks_uri: str | None = None
    pushed_authorization_request_endpoint: str | None = None

    @property
    def are_sufficient(self) -> bool:
        """True where nothing needs to be discovered."""
        return None not in (self.authorization_endpoint, self.token_endpoint, self.jwks_uri)


class Provider:
    """The provider's metadata and keys, fetched when needed and remembered."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        clock: Clock,
        *,
        issuer: str,
        overrides: EndpointOverrides,
        extensions: Extensions = Extensions(),
        timeout: float,
        is_allowed: Callable[[str], bool],
    ) -> None:
        self.issuer = issuer
        self._client = client
        self._clock = clock
        self._overrides = overrides
        self._extensions = extensions
        self._timeout = timeout
        self._is_allowed = is_allowed
        self._metadata: tuple[ProviderMetadata, float] | None = None
        self._keys: tuple[KeySet, float] | None = None
        self._fetching: asyncio.Task[KeySet] | None = None
        self._discovering: asyncio.Task[ProviderMetadata] | None = None
        self._failed_until = 0.0

    @property
    def discovery_url(self) -> str:
        """Where the discovery document is (OpenID Connect Discovery 1.0 section 4)."""
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"

    @property
    def insists_on_binding(self) -> bool:
        """Whether tokens that are not bound to a key are refused."""
        return self._extensions.dpop == "on"

    async def metadata(self) -> ProviderMetadata:
        """Return the metadata; the last known ones until newer ones have come. Raises BankError.

        Who has known metadata waits for nobody: a refresh must not be held up between its claim and its call. Those who
        have none, or come after so long a quiet that they may have become untrue, share one request and its outcome,
        and so do those who come just after a failure.
        """
        known, renewal, now = self._metadata, self._discovering, self._clock.monotonic()
        if known and now < known[1]:
            return known[0]
        if renewal is None or (renewal.done() and now >= self._failed_until):
            renewal = self._discovering = asyncio.create_task(self._renew_metadata())
        if known and now < known[1] + METADATA_LIFETIME:
            return known[0]
        return await asyncio.shield(renewal)

    async def _renew_metadata(self) -> ProviderMetadata:
        try:
            found, lifetime = await self._discover(), METADATA_LIFETIME
        except BankError as error:
            if self._metadata is None:
                self._failed_until = self._clock.monotonic() + FAILURE_LIFETIME
                raise
            logger.warning("discovery_unavailable", issuer=self.issuer, code=error.code)
            found, lifetime = self._metadata[0], METADATA_RETRY
        self._metadata = (found, self._clock.monotonic() + lifetime)
        return found

    async def keys(self, *, newer_than: KeySet | None = None) -> KeySet:
        """Return the signing keys; fetched anew where `newer_than` are the ones that did not do. Raises BankError.

        Who has keys that are young enough waits for nobody, and those who need newer ones share one request and its
        outcome: whoever sends tokens with keys that do not exist, or comes while the provider does not answer, keeps no
        one else. Keys that have had their time are not used, lest an outage prolong the life of one that was withdrawn.
        """
        if self._keys:
            known, fetched_at = self._keys
            if self._clock.monotonic() - fetched_at < KEYS_LIFETIME and newer_than is not known:
                return known
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch_keys())
        return await asyncio.shield(self._fetching)

    async def _fetch_keys(self) -> KeySet:
        metadata = await self.metadata()
        if self._keys:
            await asyncio.sleep(max(KEYS_MIN_AGE - (self._clock.monotonic() - self._keys[1]), 0))
        answer = await send(self._client, "GET", metadata.jwks_uri, endpoint="jwks", deadline=self._timeout)
        found = read_keys(_object(answer, "JWKS"))
        self._keys = (found, self._clock.monotonic())
        return found

    async def _discover(self) -> ProviderMetadata:
        found: dict[str, object] = {}
        if not self._overrides.are_sufficient:
            answer = await send(self._client, "GET", self.discovery_url, endpoint="discovery", deadline=self._timeout)
            found = _object(answer, "discovery")
            # Section 4.3: otherwise one provider could pass for another.
            if found.get("issuer") != self.issuer:
                raise BankResponseInvalid("the discovery document is of another issuer than BROKER_STITCH_ISSUER")
        return ProviderMetadata(
            issuer=self.issuer,
            authorization_endpoint=self._address(found, "authorization_endpoint"),
            token_endpoint=self._address(found, "token_endpoint"),
            jwks_uri=self._address(found, "jwks_uri"),
            revocation_endpoint=self._address_if_any(found, "revocation_endpoint"),
            pushed_authorization_request_endpoint=self._par_endpoint(found),
            assertion_algorithm=_assertion_algorithm(found),
            binds_tokens=self._binds_tokens(found),
            sends_issuer=found.get("authorization_response_iss_parameter_supported") is True,
        )

    def _par_endpoint(self, found: dict[str, object]) -> str | None:
        name = "pushed_authorization_request_endpoint"
        match self._extensions.par:
            case "on":
                return self._address(found, name)
            case "auto":
                return self._address_if_any(found, name)
            case "off":
                return None

    def _binds_tokens(self, found: dict[str, object]) -> bool:
        announced = found.get("dpop_signing_alg_values_supported")
        is_announced = isinstance(announced, list) and ALGORITHM in announced
        return self.insists_on_binding or (self._extensions.dpop == "auto" and is_announced)

    def _address_if_any(self, found: dict[str, object], name: str) -> str | None:
        is_known = getattr(self._overrides, name) is not None or name in found
        return self._address(found, name) if is_known else None

    def _address(self, found: dict[str, object], name: str) -> str:
        override: str | None = getattr(self._overrides, name)
        if override is not None:
            return override
        value = found.get(name)
        if not isinstance(value, str) or len(value) > _LONGEST_ADDRESS or not value.isascii():
            raise _unusable(name)
        # RFC 6749 sections 3.1 and 3.2: an endpoint has no fragment.
        if "#" in value or not self._is_allowed(value) or self._is_weaker(value):
            raise _unusable(name)
        return value

    def _is_weaker(self, url: str) -> bool:
        """Tell whether an issuer on the network names a service of this machine, which alone may do without TLS."""
        return urlsplit(self.issuer).scheme == "https" and urlsplit(url).scheme != "https"


def _unusable(name: str) -> BankResponseInvalid:
    return BankResponseInvalid(f"the discovery document has no usable {name}; set BROKER_STITCH_{name.upper()}")


def _assertion_algorithm(found: dict[str, object]) -> str:
    """Choose among those that an RSA key can do. FAPI 2.0 Security Profile 5.4 forbids RS256."""
    announced = found.get("token_endpoint_auth_signing_alg_values_supported")
    return "PS256" if isinstance(announced, list) and "PS256" in announced and "RS256" not in announced else "RS256"


def _object(answer: Answer, what: str) -> dict[str, object]:
    if answer.status != 200:
        raise BankResponseInvalid(f"the bank answered {answer.status} for its {what} document")
    try:
        value = parse_json(answer.body)
    except ValueError as error:
        raise BankResponseInvalid(f"the bank's {what} document is not JSON") from error
    if not isinstance(value, dict):
        raise BankResponseInvalid(f"the bank's {what} document is not an object")
    return value
