"""The token endpoint: exchange, refresh, revoke (RFC 6749 sections 4.1.3 and 6, RFC 7009)."""

import math
from dataclasses import dataclass, field

from pydantic import SecretStr

from app.base.strict_json import is_storable_in_postgresql, parse_json
from app.errors import BankResponseInvalid, RevocationUnsupported
from app.oidc.back_channel import BackChannel
from app.oidc.dpop import ProofKey

# Where the bank does not say, or not sensibly: short enough to be safe, long enough to be used.
_DEFAULT_LIFETIME = 300
_MAX_LIFETIME = 86_400


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """What the token endpoint answered. `lifetime` is in seconds. Only the form is checked.

    `proof_key` is the key that the access token is bound to, if it is.
    """

    access_token: SecretStr | None = field(repr=False)
    refresh_token: SecretStr | None = field(repr=False)
    id_token: SecretStr | None = field(repr=False)
    lifetime: int
    token_type: str
    scopes: list[str] | None
    proof_key: SecretStr | None = field(default=None, repr=False)


class TokenEndpoint:
    """Exchanges, refreshes and revokes."""

    def __init__(self, back_channel: BackChannel) -> None:
        self._back_channel = back_channel

    async def exchange(
        self,
        *,
        code: SecretStr,
        code_verifier: SecretStr,
        redirect_uri: str,
        deadline: float,
        proof_key: ProofKey | None = None,
    ) -> SecretStr:
        """Exchange a code, for tokens bound to `proof_key` if there is one.

        Returns the body as it came, to be stored before it is read with `read_tokens`.

        Raises the errors of `BackChannel.post`; deadline in seconds.
        """
        return await self._request(
            {
                "grant_type": "authorization_code",
                "code": code.get_secret_value(),
                "redirect_uri": redirect_uri,
                "code_verifier": code_verifier.get_secret_value(),
            },
            deadline,
            proof_key,
        )

    async def refresh(self, refresh_token: SecretStr, *, deadline: float) -> TokenResponse:
        """Present a refresh token, once. Raises the errors of `BackChannel.post` and of `read_tokens`.

        Each new access token is bound to a key of its own, as a refresh token is to none: this client authenticates
        (RFC 9449 section 5).
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.get_secret_value()}
        proof_key = await self._back_channel.new_proof_key()
        body = await self._request(form, deadline, proof_key)
        return read_tokens(body, proof_key.secret if proof_key else None)

    async def revoke(self, token: SecretStr, token_type_hint: str, *, deadline: float) -> None:
        """Have the bank revoke a token. An unknown one is as good as revoked. Raises BankError."""
        metadata = await self._back_channel.metadata()
        if metadata.revocation_endpoint is None:
            raise RevocationUnsupported(
                "the bank announces no revocation_endpoint; set BROKER_STITCH_REVOCATION_ENDPOINT if it has one"
            )
        form = {"token": token.get_secret_value(), "token_type_hint": token_type_hint}
        await self._back_channel.post(metadata.revocation_endpoint, form, endpoint="revocation", deadline=deadline)

    async def _request(self, form: dict[str, str], deadline: float, proof_key: ProofKey | None) -> SecretStr:
        metadata = await self._back_channel.metadata()
        answer = await self._back_channel.post(
            metadata.token_endpoint, form, endpoint="token", deadline=deadline, proof_key=proof_key
        )
        return SecretStr(answer.body.decode("utf-8-sig", errors="replace"))


def read_tokens(body: SecretStr, proof_key: SecretStr | None = None) -> TokenResponse:
    """Read a successful token response (RFC 6749 section 5.1), forgiving what does not matter.

    `proof_key` is the key whose proof went along. The answer tells whether the server bound the token to it
    (RFC 9449 section 5).

    A detail must never cost a rotated refresh token, so only a body without tokens raises BankResponseInvalid.
    """
    try:
        values = parse_json(body.get_secret_value())
    except ValueError as error:
        raise BankResponseInvalid("the bank's token response is not JSON") from error
    if not isinstance(values, dict):
        raise BankResponseInvalid("the bank's token response is not an object")
    access_token, refresh_token = _secret(values, "access_token"), _secret(values, "refresh_token")
    if access_token is None and refresh_token is None:
        raise BankResponseInvalid("the bank's token response has no token")
    scope, token_type = values.get("scope"), values.get("token_type")
    token_type = token_type if isinstance(token_type, str) else ""
    return TokenResponse(
        access_token=access_token,
        refresh_token=refresh_token,
        id_token=_secret(values, "id_token"),
        lifetime=_lifetime(values.get("expires_in")),
        token_type=token_type,
        scopes=scope.split() if isinstance(scope, str) and is_storable_in_postgresql(scope) else None,
        proof_key=proof_key if token_type.lower() == "dpop" else None,
    )


def _secret(values: dict[str, object], name: str) -> SecretStr | None:
    value = values.get(name)
    # Printable ASCII, as RFC 6749 appendix A has tokens: they go into header lines.
    is_token = isinstance(value, str) and value and value.isascii() and value.isprintable()
    return SecretStr(str(value)) if is_token else None


def _lifetime(value: object) -> int:
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except ValueError:
        seconds = math.nan
    except OverflowError:
        seconds = math.inf
    if math.isnan(seconds):
        return _DEFAULT_LIFETIME
    return int(min(max(seconds, 0.0), _MAX_LIFETIME))
