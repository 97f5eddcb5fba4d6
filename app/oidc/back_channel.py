"""Requests that the broker makes to the provider itself, with its client authentication."""

from collections.abc import Mapping

import httpx

from app.base.clock import Clock
from app.errors import BankUnreachable
from app.oidc.client_authentication import ClientAuthentication
from app.oidc.dpop import NONCE_WANTED, ProofKey, Prover, target_of
from app.oidc.oauth_errors import raise_for_refusal, read_error
from app.oidc.provider import Provider, ProviderMetadata
from app.oidc.transport import Answer, send


class BackChannel:
    """Sends forms as the one client that the settings name."""

    def __init__(
        self, client: httpx.AsyncClient, provider: Provider, authentication: ClientAuthentication, clock: Clock
    ) -> None:
        self._client = client
        self._provider = provider
        self._authentication = authentication
        self._clock = clock
        self._prover = Prover(clock)

    async def metadata(self) -> ProviderMetadata:
        """Return what the provider says of itself. Raises BankError."""
        return await self._provider.metadata()

    async def new_proof_key(self) -> ProofKey | None:
        """Return a key to bind tokens to, where that is done. Raises BankError."""
        return ProofKey.new() if (await self.metadata()).binds_tokens else None

    async def post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        endpoint: str,
        deadline: float,
        proof_key: ProofKey | None = None,
    ) -> Answer:
        """Send a form and return a successful answer; deadline in seconds, `endpoint` for the metrics.

        With `proof_key`, a proof goes along. A server that wants its nonce in it has not processed the request
        (RFC 9449 section 8), so it is made again, once, within the same deadline.

        Raises the errors of `send`, and those of `raise_for_refusal` for any other answer.
        """
        ends_at = self._clock.monotonic() + deadline
        answer = await self._send(endpoint, url, form, proof_key, deadline)
        if proof_key is not None and "dpop-nonce" in answer.headers and read_error(answer.body) == NONCE_WANTED:
            left = ends_at - self._clock.monotonic()
            if left <= 0:
                raise BankUnreachable("there was no time left to make the request again with the bank's nonce")
            answer = await self._send(endpoint, url, form, proof_key, left)
        raise_for_refusal(answer, self._clock.now())
        return answer

    async def _send(
        self, endpoint: str, url: str, form: Mapping[str, str], proof_key: ProofKey | None, deadline: float
    ) -> Answer:
        metadata = await self.metadata()
        sent, headers = dict(form), dict[str, str]()
        self._authentication.apply(sent, headers, metadata)
        if proof_key is not None:
            headers["dpop"] = self._prover.proof(proof_key, target_of(url))
        answer = await send(self._client, "POST", url, endpoint=endpoint, deadline=deadline, form=sent, headers=headers)
        self._prover.heed(answer.headers.get("dpop-nonce"))
        return answer
