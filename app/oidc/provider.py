"""An OpenID provider's metadata and signing keys, fetched when needed and cached (OpenID Connect Discovery 1.0)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from app.base.clock import Clock
from app.errors import BankError, BankResponseInvalid
from app.observability.logs import get_logger
from app.oidc.jwks import SigningKeys, parse_jwks
from app.oidc.provider_metadata import (
    DEFAULT_EXTENSIONS,
    NO_OVERRIDES,
    EndpointOverrides,
    Extensions,
    MetadataReader,
    ProviderMetadata,
)
from app.oidc.response_body import parse_json_object
from app.oidc.transport import send

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CacheTimes:
    """How long the provider's documents are cached, in seconds."""

    metadata_lifetime: float = 3_600.0
    metadata_retry_interval: float = 30.0
    """After a failed renewal, the known metadata are used for this long before the next attempt."""
    failure_lifetime: float = 1.0
    """While no metadata are known, requests share a failure for this long."""
    keys_lifetime: float = 300.0
    """The longest time for which a withdrawn key is still accepted."""
    keys_renewal_age: float = 120.0
    """Keys of this age are renewed in the background."""
    keys_retry_interval: float = 10.0
    """The least time between attempts to renew them in the background."""
    min_keys_age: float = 1.0
    """A token that no known key verifies causes the keys to be fetched again, but no sooner than after this time."""


class Provider:
    """An OpenID provider, identified by its issuer."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        clock: Clock,
        *,
        issuer: str,
        timeout: float,
        is_url_allowed: Callable[[str], bool],
        overrides: EndpointOverrides = NO_OVERRIDES,
        extensions: Extensions = DEFAULT_EXTENSIONS,
        cache_times: CacheTimes = CacheTimes(),
    ) -> None:
        """`timeout` is in seconds, for each request. Endpoints for which `is_url_allowed` is false are rejected."""
        self.issuer = issuer
        self._client = client
        self._clock = clock
        self._timeout = timeout
        self._overrides = overrides
        self._metadata_reader = MetadataReader(issuer, overrides, extensions, is_url_allowed)
        self._cache_times = cache_times
        self._metadata: tuple[ProviderMetadata, float] | None = None  # with the time at which they are stale
        self._metadata_task: asyncio.Task[ProviderMetadata] | None = None
        self._metadata_failure_until = 0.0
        self._keys: tuple[SigningKeys, float] | None = None  # with the time at which they were fetched
        self._keys_task: asyncio.Task[SigningKeys] | None = None
        self._keys_renewal_due_at = 0.0

    @property
    def discovery_url(self) -> str:
        """The URL of the discovery document (OpenID Connect Discovery 1.0 section 4)."""
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"

    async def metadata(self) -> ProviderMetadata:
        """Return the metadata. Raises BankError.

        Stale metadata are returned at once and renewed in the background, since a refresh must not be delayed between
        its claim and its request. Only if none are known, or they have been stale for too long to be trusted, does the
        call wait. Concurrent calls share one request and its outcome, and so do those just after a failure.
        """
        metadata, now = self._metadata, self._clock.monotonic()
        if metadata and now < metadata[1]:
            return metadata[0]
        task = self._metadata_task
        if task is None or (task.done() and now >= self._metadata_failure_until):
            task = self._metadata_task = asyncio.create_task(self._renew_metadata())
        if metadata and now < metadata[1] + self._cache_times.metadata_lifetime:
            return metadata[0]
        return await asyncio.shield(task)

    async def _renew_metadata(self) -> ProviderMetadata:
        try:
            metadata, lifetime = await self._fetch_metadata(), self._cache_times.metadata_lifetime
        except BankError as error:
            if self._metadata is None:
                self._metadata_failure_until = self._clock.monotonic() + self._cache_times.failure_lifetime
                raise
            logger.warning("discovery_unavailable", issuer=self.issuer, code=error.code)
            metadata, lifetime = self._metadata[0], self._cache_times.metadata_retry_interval
        self._metadata = (metadata, self._clock.monotonic() + lifetime)
        return metadata

    async def _fetch_metadata(self) -> ProviderMetadata:
        if self._overrides.are_sufficient:
            return self._metadata_reader.read({})
        document = await self._fetch_document(self.discovery_url, "discovery")
        # Section 4.3: otherwise one provider could impersonate another.
        if document.get("issuer") != self.issuer:
            raise BankResponseInvalid("the discovery document is of another issuer than BROKER_STITCH_ISSUER")
        return self._metadata_reader.read(document)

    async def signing_keys(self) -> SigningKeys:
        """Return the signing keys, at most `keys_lifetime` old. Raises BankError.

        They are renewed in the background before that. Older keys are not used, so an outage does not prolong the life
        of a key that was withdrawn.
        """
        now = self._clock.monotonic()
        if self._keys is None or now - self._keys[1] >= self._cache_times.keys_lifetime:
            return await asyncio.shield(self._request_keys())
        if now >= self._keys_renewal_due_at:
            self._keys_renewal_due_at = now + self._cache_times.keys_retry_interval
            self._request_keys()
        return self._keys[0]

    async def newer_signing_keys(self, known: SigningKeys) -> SigningKeys:
        """Return signing keys that were fetched after `known`, none of which verifies a token. Raises BankError.

        Concurrent calls share one request and its outcome, and `signing_keys` does not wait for it: tokens with
        unknown keys must not delay other requests, even while the provider does not answer.
        """
        if self._keys and self._keys[0] is not known:
            return await self.signing_keys()
        return await asyncio.shield(self._request_keys())

    def _request_keys(self) -> asyncio.Task[SigningKeys]:
        """Return the running request for the keys, or start one."""
        if self._keys_task is None or self._keys_task.done():
            self._keys_task = asyncio.create_task(self._fetch_keys())
            self._keys_task.add_done_callback(self._log_keys_failure)
        return self._keys_task

    def _log_keys_failure(self, task: asyncio.Task[SigningKeys]) -> None:
        """Log a failure of the provider, even if no call waits for it."""
        if not task.cancelled() and isinstance(error := task.exception(), BankError):
            logger.warning("jwks_unavailable", issuer=self.issuer, code=error.code)

    async def _fetch_keys(self) -> SigningKeys:
        metadata = await self.metadata()
        if self._keys:
            age = self._clock.monotonic() - self._keys[1]
            await asyncio.sleep(max(self._cache_times.min_keys_age - age, 0))
        keys = parse_jwks(await self._fetch_document(metadata.jwks_uri, "jwks"))
        fetched_at = self._clock.monotonic()
        self._keys, self._keys_renewal_due_at = (keys, fetched_at), fetched_at + self._cache_times.keys_renewal_age
        return keys

    async def _fetch_document(self, url: str, endpoint: str) -> dict[str, object]:
        """Fetch a JSON object. `endpoint` is its name in metrics and traces."""
        name = {"jwks": "JWKS"}.get(endpoint, endpoint)
        response = await send(self._client, "GET", url, endpoint=endpoint, timeout_seconds=self._timeout)
        if response.status != 200:
            raise BankResponseInvalid(f"the bank answered {response.status} for its {name} document")
        try:
            return parse_json_object(response.text())
        except ValueError as error:
            raise BankResponseInvalid(f"the bank's {name} document is not a JSON object") from error
