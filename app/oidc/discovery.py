"""What the provider says of itself: its metadata and its signing keys (OpenID Connect Discovery 1.0)."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from app.clock import Clock
from app.errors import BankError
from app.json_text import read_json
from app.logs import get_logger
from app.oidc.transport import Answer, BankBadAnswer, send

METADATA_LIFETIME = 3_600.0
METADATA_RETRY = 30.0
KEYS_LIFETIME = 3_600.0
# An id_token with an unknown key makes us look again, but not more often than this. Seconds.
KEYS_MIN_AGE = 1.0
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


@dataclass(frozen=True, slots=True)
class EndpointOverrides:
    """Addresses from the settings, which win over the discovery document."""

    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None
    jwks_uri: str | None = None

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
        timeout: float,
        is_allowed: Callable[[str], bool],
    ) -> None:
        self.issuer = issuer
        self._client = client
        self._clock = clock
        self._overrides = overrides
        self._timeout = timeout
        self._is_allowed = is_allowed
        self._metadata: tuple[ProviderMetadata, float] | None = None
        self._keys: tuple[KeySet, float] | None = None
        self._fetching: asyncio.Task[KeySet] | None = None
        self._lock = asyncio.Lock()

    @property
    def discovery_url(self) -> str:
        """Where the discovery document is (OpenID Connect Discovery 1.0 section 4)."""
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"

    async def metadata(self) -> ProviderMetadata:
        """Return the metadata; the last known ones where the provider does not answer. Raises BankError."""
        async with self._lock:
            if self._metadata and self._clock.monotonic() < self._metadata[1]:
                return self._metadata[0]
            try:
                found = await self._discover()
            except BankError as error:
                if self._metadata is None:
                    raise
                logger.warning("discovery_unavailable", issuer=self.issuer, code=error.code)
                self._metadata = (self._metadata[0], self._clock.monotonic() + METADATA_RETRY)
            else:
                self._metadata = (found, self._clock.monotonic() + METADATA_LIFETIME)
            return self._metadata[0]

    async def keys(self, *, newer_than: KeySet | None = None) -> KeySet:
        """Return the signing keys; fetched anew where `newer_than` are the ones that did not do. Raises BankError.

        Who has known keys waits for nobody, and those who need newer ones share one request and its outcome: whoever
        sends tokens with keys that do not exist, or comes while the provider does not answer, keeps no one else.
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
        answer = await send(self._client, "GET", metadata.jwks_uri, deadline=self._timeout)
        found = _read_keys(_object(answer, "JWKS"))
        self._keys = (found, self._clock.monotonic())
        return found

    async def _discover(self) -> ProviderMetadata:
        found: dict[str, object] = {}
        if not self._overrides.are_sufficient:
            found = _object(await send(self._client, "GET", self.discovery_url, deadline=self._timeout), "discovery")
            # Section 4.3: otherwise one provider could pass for another.
            if found.get("issuer") != self.issuer:
                raise BankBadAnswer("the discovery document is of another issuer than BROKER_STITCH_ISSUER")
        return ProviderMetadata(
            issuer=self.issuer,
            authorization_endpoint=self._address(found, "authorization_endpoint"),
            token_endpoint=self._address(found, "token_endpoint"),
            jwks_uri=self._address(found, "jwks_uri"),
            revocation_endpoint=(
                self._address(found, "revocation_endpoint")
                if self._overrides.revocation_endpoint or "revocation_endpoint" in found
                else None
            ),
            sends_issuer=found.get("authorization_response_iss_parameter_supported") is True,
        )

    def _address(self, found: dict[str, object], name: str) -> str:
        override: str | None = getattr(self._overrides, name)
        if override is not None:
            return override
        value = found.get(name)
        if not isinstance(value, str) or not self._is_allowed(value):
            raise BankBadAnswer(f"the discovery document has no usable {name}; set BROKER_STITCH_{name.upper()}")
        return value


def _read_keys(document: dict[str, object]) -> KeySet:
    """Read a JWKS. Keys of kinds that are not supported are ignored (RFC 7517 section 5)."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise BankBadAnswer("the bank's JWKS has no list of keys")
    keys: list[Key] = []
    for entry in entries:
        with contextlib.suppress(JoseError, ValueError, KeyError, TypeError):
            keys += KeySet.import_key_set({"keys": [entry]}).keys
    if not keys:
        raise BankBadAnswer("the bank's JWKS has no key that can be used")
    return KeySet(keys)


def _object(answer: Answer, what: str) -> dict[str, object]:
    if answer.status != 200:
        raise BankBadAnswer(f"the bank answered {answer.status} for its {what} document")
    try:
        value = read_json(answer.body)
    except ValueError as error:
        raise BankBadAnswer(f"the bank's {what} document is not JSON") from error
    if not isinstance(value, dict):
        raise BankBadAnswer(f"the bank's {what} document is not an object")
    return value
