"""Where a browser is sent to begin a login: with the request itself, or with a reference to one that was pushed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import SecretStr

from app.base.strict_json import parse_json
from app.errors import BankResponseInvalid
from app.oidc.authorization import AuthorizationRequest, new_authorization_request
from app.oidc.back_channel import BackChannel

_REQUEST_URI = re.compile(r"[!-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class AuthorizationAddress:
    """The address that starts a login. One of a pushed request works once, and for a short time only."""

    url: SecretStr
    is_pushed: bool


class FrontChannel:
    """Begins logins."""

    def __init__(self, back_channel: BackChannel, *, client_id: str, timeout: float, prompt: str | None = None) -> None:
        """`prompt` is what every login asks the provider to show (OpenID Connect Core 3.1.2.1)."""
        self._back_channel = back_channel
        self._client_id = client_id
        self._timeout = timeout
        self._prompt = prompt

    async def new_request(self, *, redirect_uri: str, scopes: Sequence[str]) -> AuthorizationRequest:
        """Draw the secrets of a login, and write its request. Raises BankError."""
        return new_authorization_request(
            client_id=self._client_id,
            redirect_uri=redirect_uri,
            scopes=scopes,
            prompt=self._prompt,
            proof_key=await self._back_channel.new_proof_key(),
        )

    async def address_of(self, parameters: SecretStr) -> AuthorizationAddress:
        """Return the address for form-encoded parameters, which are pushed first where the provider has it so.

        A pushed request may be pushed again. Raises BankError.
        """
        metadata = await self._back_channel.metadata()
        endpoint = metadata.pushed_authorization_request_endpoint
        if endpoint is None:
            return AuthorizationAddress(_with_query(metadata.authorization_endpoint, parameters), is_pushed=False)
        form = dict(parse_qsl(parameters.get_secret_value()))
        answer = await self._back_channel.post(
            endpoint, form, endpoint="pushed_authorization_request", deadline=self._timeout
        )
        # FAPI 2.0 Security Profile 5.3.3: no other parameter goes through the browser.
        reference = {"client_id": self._client_id, "request_uri": _request_uri(answer.body)}
        query = SecretStr(urlencode(reference, quote_via=quote))
        return AuthorizationAddress(_with_query(metadata.authorization_endpoint, query), is_pushed=True)


def _request_uri(body: bytes) -> str:
    """Read a pushed authorization response (RFC 9126 section 2.2)."""
    try:
        values = parse_json(body)
    except ValueError as error:
        raise BankResponseInvalid("the bank's answer to a pushed authorization request is not JSON") from error
    request_uri = values.get("request_uri") if isinstance(values, dict) else None
    # It goes through the browser, within an address.
    if not isinstance(request_uri, str) or not _REQUEST_URI.fullmatch(request_uri):
        raise BankResponseInvalid("the bank's answer to a pushed authorization request has no usable request_uri")
    return request_uri


def _with_query(endpoint: str, query: SecretStr) -> SecretStr:
    separator = "&" if urlsplit(endpoint).query else "?"
    return SecretStr(f"{endpoint}{separator}{query.get_secret_value()}")
