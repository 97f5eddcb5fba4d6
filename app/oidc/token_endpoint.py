"""Requests to the token and revocation endpoints (RFC 6749 sections 4.1.3 and 6, RFC 7009)."""

from pydantic import SecretStr

from app.errors import BankError
from app.oidc.authorization_response import CheckedAuthorizationResponse
from app.oidc.back_channel import BackChannel
from app.oidc.dpop import ProofKey
from app.oidc.oauth_errors import raise_for_revocation_error
from app.oidc.token_response import TokenResponse, parse_token_response


class TokenEndpoint:
    """Exchanges authorization codes, and refreshes and revokes tokens."""

    def __init__(self, back_channel: BackChannel) -> None:
        self._back_channel = back_channel

    async def exchange(
        self,
        response: CheckedAuthorizationResponse,
        *,
        code_verifier: SecretStr,
        redirect_uri: str,
        timeout_seconds: float,
        proof_key: ProofKey | None = None,
    ) -> SecretStr:
        """Exchange an authorization code, for tokens that are bound to `proof_key` if it is given.

        Returns the response's body unparsed, so that it can be stored before `parse_token_response` reads it.
        Raises the errors of `BackChannel.post`.
        """
        form = {
            "grant_type": "authorization_code",
            "code": response.code.get_secret_value(),
            "redirect_uri": redirect_uri,
            "code_verifier": code_verifier.get_secret_value(),
        }
        return await self._request_tokens(form, timeout_seconds, proof_key)

    async def refresh(
        self, refresh_token: SecretStr, *, timeout_seconds: float, is_bound: bool = False
    ) -> TokenResponse:
        """Send a refresh token, once. Raises the errors of `BackChannel.post` and `parse_token_response`.

        If the tokens that it replaces are bound to a key (`is_bound`), the new access token is bound to a new key,
        whatever the settings say now: a connection keeps the way it was linked. Refresh tokens are not bound, because
        this client authenticates (RFC 9449 section 5).
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.get_secret_value()}
        proof_key = ProofKey.generate() if is_bound else None
        body = await self._request_tokens(form, timeout_seconds, proof_key)
        return parse_token_response(body, proof_key.private_jwk if proof_key else None)

    async def can_revoke(self) -> bool:
        """Return whether the bank has a revocation endpoint. Raises BankError if its metadata are not available."""
        return (await self._back_channel.metadata()).revocation_endpoint is not None

    async def revoke(self, token: SecretStr, token_type_hint: str, *, timeout_seconds: float) -> None:
        """Revoke a token at the bank, which also succeeds if the bank does not know the token.

        Raises BankError, with the code `revocation_impossible` if another attempt cannot succeed.
        """
        metadata = await self._back_channel.metadata()
        if metadata.revocation_endpoint is None:
            raise BankError(
                "the bank announces no revocation_endpoint; set BROKER_STITCH_REVOCATION_ENDPOINT if it has one",
                code="revocation_unsupported",
            )
        form = {"token": token.get_secret_value(), "token_type_hint": token_type_hint}
        await self._back_channel.post(
            metadata.revocation_endpoint,
            form,
            endpoint="revocation",
            timeout_seconds=timeout_seconds,
            raise_for_error=raise_for_revocation_error,
        )

    async def _request_tokens(
        self, form: dict[str, str], timeout_seconds: float, proof_key: ProofKey | None
    ) -> SecretStr:
        metadata = await self._back_channel.metadata()
        response = await self._back_channel.post(
            metadata.token_endpoint, form, endpoint="token", timeout_seconds=timeout_seconds, proof_key=proof_key
        )
        return SecretStr(response.text())
