"""Requests that the broker sends directly to the provider, with its client authentication."""

from collections.abc import Callable, Mapping
from datetime import datetime

import httpx

from app.base.clock import Clock
from app.errors import BankUnreachable
from app.oidc.client_authentication import ClientAuthentication
from app.oidc.dpop import USE_DPOP_NONCE, ProofFactory, ProofKey, htu_of
from app.oidc.oauth_errors import parse_error_code, raise_for_error
from app.oidc.provider import Provider
from app.oidc.provider_metadata import ProviderMetadata
from app.oidc.transport import BankResponse, send


class BackChannel:
    """Sends forms as the client that the settings name."""

    def __init__(
        self, client: httpx.AsyncClient, provider: Provider, authentication: ClientAuthentication, clock: Clock
    ) -> None:
        self._client = client
        self._provider = provider
        self._authentication = authentication
        self._clock = clock
        self._proofs = ProofFactory(clock)

    async def metadata(self) -> ProviderMetadata:
        """Return the provider's metadata. Raises BankError."""
        return await self._provider.metadata()

    async def new_proof_key(self) -> ProofKey | None:
        """Return a key to bind the tokens of a new login to, or None if DPoP is not used. Raises BankError."""
        return ProofKey.generate() if (await self.metadata()).uses_dpop else None

    async def post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        endpoint: str,
        timeout_seconds: float,
        proof_key: ProofKey | None = None,
        raise_for_error: Callable[[BankResponse, datetime], None] = raise_for_error,
    ) -> BankResponse:
        """Send a form and return the successful response. `endpoint` is its name in metrics and traces.

        With `proof_key`, the request carries a DPoP proof. A server that requires its nonce has not processed the
        request (RFC 9449 section 8), so the request is sent once more, within the same timeout.

        Raises the errors of `send` and `raise_for_error`.
        """
        ends_at = self._clock.monotonic() + timeout_seconds
        response = await self._send(endpoint, url, form, proof_key, timeout_seconds)
        if proof_key is not None and _requires_nonce(response):
            seconds_left = ends_at - self._clock.monotonic()
            if seconds_left <= 0:
                raise BankUnreachable("there was no time left to make the request again with the bank's nonce")
            response = await self._send(endpoint, url, form, proof_key, seconds_left)
        raise_for_error(response, self._clock.now())
        return response

    async def _send(
        self, endpoint: str, url: str, form: Mapping[str, str], proof_key: ProofKey | None, timeout_seconds: float
    ) -> BankResponse:
        authenticated_form, headers = dict(form), dict[str, str]()
        self._authentication.apply(authenticated_form, headers, await self.metadata())
        if proof_key is not None:
            headers["dpop"] = self._proofs.new_proof(proof_key, htu_of(url))
        response = await send(
            self._client,
            "POST",
            url,
            endpoint=endpoint,
            timeout_seconds=timeout_seconds,
            form=authenticated_form,
            headers=headers,
        )
        self._proofs.remember_nonce(response.headers.get("dpop-nonce"))
        return response


def _requires_nonce(response: BankResponse) -> bool:
    return response.status >= 400 and "dpop-nonce" in response.headers and parse_error_code(response) == USE_DPOP_NONCE
