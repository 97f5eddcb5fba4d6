"""The token endpoint: exchange, refresh, revoke (RFC 6749 sections 4.1.3 and 6, RFC 7009)."""

import email.utils
import math
from dataclasses import dataclass, field
from datetime import datetime

import httpx
from pydantic import SecretStr

from app.clock import Clock
from app.errors import BankError
from app.json_text import read_json, storable
from app.oidc.client_authentication import ClientAuthentication
from app.oidc.discovery import Provider
from app.oidc.transport import Answer, BankBadAnswer, send

# Where the bank does not say, or not sensibly: short enough to be safe, long enough to be used.
_DEFAULT_LIFETIME = 300
_MAX_LIFETIME = 86_400
_MAX_RETRY_AFTER = 3_600.0


class InvalidGrant(BankError):
    """The code or refresh token is not, or no longer, good."""

    default_code = "invalid_grant"


class ClientRefused(BankError):
    """The bank does not accept the broker itself: a wrong secret, say. No user's consent is affected."""

    default_code = "bank_refused_client"


class BankRateLimited(BankError):
    """The bank wants fewer requests; `retry_after` has its wish in seconds, if any."""

    default_code = "bank_rate_limited"


class BankFailed(BankError):
    """The bank answered with a server error."""

    default_code = "bank_failed"


class TokenRequestRefused(BankError):
    """The bank refused the request for another reason, which `code` keeps."""

    default_code = "bank_refused_request"


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """What the token endpoint answered. `lifetime` is in seconds. Only the form is checked."""

    access_token: SecretStr | None = field(repr=False)
    refresh_token: SecretStr | None = field(repr=False)
    id_token: SecretStr | None = field(repr=False)
    lifetime: int
    token_type: str
    scopes: list[str] | None


class TokenEndpoint:
    """Sends token requests as the one client that the settings name."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        provider: Provider,
        authentication: ClientAuthentication,
        clock: Clock,
    ) -> None:
        self._client = client
        self._provider = provider
        self._authentication = authentication
        self._clock = clock

    async def exchange(
        self, *, code: SecretStr, code_verifier: SecretStr, redirect_uri: str, deadline: float
    ) -> SecretStr:
        """Exchange a code. Returns the body as it came, to be stored before it is read with `read_tokens`.

        Raises the errors of `send` and those of this module; deadline in seconds.
        """
        return await self._request(
            {
                "grant_type": "authorization_code",
                "code": code.get_secret_value(),
                "redirect_uri": redirect_uri,
                "code_verifier": code_verifier.get_secret_value(),
            },
            deadline,
        )

    async def refresh(self, refresh_token: SecretStr, *, deadline: float) -> TokenResponse:
        """Present a refresh token, once. Raises the errors of `send` and of `read_tokens`."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.get_secret_value()}
        return read_tokens(await self._request(form, deadline))

    async def revoke(self, token: SecretStr, token_type_hint: str, *, deadline: float) -> None:
        """Have the bank revoke a token. An unknown one is as good as revoked. Raises BankError."""
        metadata = await self._provider.metadata()
        if metadata.revocation_endpoint is None:
            return
        form = {"token": token.get_secret_value(), "token_type_hint": token_type_hint}
        headers: dict[str, str] = {}
        self._authentication.apply(form, headers, metadata.token_endpoint)
        answer = await send(
            self._client, "POST", metadata.revocation_endpoint, deadline=deadline, form=form, headers=headers
        )
        self._raise_for(answer)

    async def _request(self, form: dict[str, str], deadline: float) -> SecretStr:
        metadata = await self._provider.metadata()
        headers: dict[str, str] = {}
        self._authentication.apply(form, headers, metadata.token_endpoint)
        answer = await send(
            self._client, "POST", metadata.token_endpoint, deadline=deadline, form=form, headers=headers
        )
        self._raise_for(answer)
        return SecretStr(answer.body.decode("utf-8", errors="replace"))

    def _raise_for(self, answer: Answer) -> None:
        """Raise what a refusal means. RFC 6749 section 5.2; `invalid_client` may come as 400 or 401."""
        if answer.status == 200:
            return
        error = _read_error(answer.body)
        if answer.status == 429:
            raise BankRateLimited(
                "the bank wants fewer requests", retry_after=parse_retry_after(answer.headers, self._clock.now())
            )
        if answer.status >= 500:
            raise BankFailed(
                f"the bank failed with status {answer.status}",
                retry_after=parse_retry_after(answer.headers, self._clock.now()),
            )
        if error in ("invalid_client", "unauthorized_client") or (answer.status == 401 and error is None):
            raise ClientRefused(
                "the bank does not accept the broker's client credentials; check BROKER_STITCH_CLIENT_*"
            )
        if error == "invalid_grant":
            raise InvalidGrant("the bank says that the grant is not, or no longer, good")
        if error is not None:
            raise TokenRequestRefused(f"the bank refused the request with {error}")
        raise BankBadAnswer(f"the bank answered with status {answer.status} and no OAuth error")


def read_tokens(body: SecretStr) -> TokenResponse:
    """Read a successful token response (RFC 6749 section 5.1), forgiving what does not matter.

    A rotated refresh token must never be lost over a detail, so only a body without any token raises BankBadAnswer.
    """
    try:
        values = read_json(body.get_secret_value())
    except ValueError as error:
        raise BankBadAnswer("the bank's token response is not JSON") from error
    if not isinstance(values, dict):
        raise BankBadAnswer("the bank's token response is not an object")
    access_token, refresh_token = _secret(values, "access_token"), _secret(values, "refresh_token")
    if access_token is None and refresh_token is None:
        raise BankBadAnswer("the bank's token response has no token")
    scope, token_type = values.get("scope"), values.get("token_type")
    return TokenResponse(
        access_token=access_token,
        refresh_token=refresh_token,
        id_token=_secret(values, "id_token"),
        lifetime=_lifetime(values.get("expires_in")),
        token_type=token_type if isinstance(token_type, str) else "",
        scopes=scope.split() if isinstance(scope, str) and storable(scope) else None,
    )


def parse_retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Return `Retry-After` in seconds, from its number or its date (RFC 9110 section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), _MAX_RETRY_AFTER)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return min(max((moment - now).total_seconds(), 0.0), _MAX_RETRY_AFTER)
    except (ValueError, TypeError):
        return None


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


def _read_error(body: bytes) -> str | None:
    """Return the OAuth error, if there is one that is safe to show."""
    try:
        values = read_json(body)
    except ValueError:
        return None
    error = values.get("error") if isinstance(values, dict) else None
    return error[:64] if isinstance(error, str) and error.isascii() and error.isprintable() else None
