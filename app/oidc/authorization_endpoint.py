"""Starts logins: creates authorization requests and their URLs, and pushes them if supported (RFC 9126)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import SecretStr

from app.errors import BankResponseInvalid
from app.oidc.authorization_request import AuthorizationRequest, new_authorization_request
from app.oidc.back_channel import BackChannel
from app.oidc.response_body import parse_json_object

_REQUEST_URI = re.compile(r"[!-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class AuthorizationUrl:
    """The URL that starts a login. That of a pushed request works once, and only for a short time."""

    url: SecretStr
    is_pushed: bool


class AuthorizationEndpoint:
    """Creates authorization requests and their URLs for one client."""

    def __init__(self, back_channel: BackChannel, *, client_id: str, timeout: float, prompt: str | None = None) -> None:
        """`timeout` is in seconds. `prompt` is sent with every request (OpenID Connect Core 3.1.2.1)."""
        self._back_channel = back_channel
        self._client_id = client_id
        self._timeout = timeout
        self._prompt = prompt

    async def new_request(self, *, redirect_uri: str, scopes: Sequence[str]) -> AuthorizationRequest:
        """Create the request of a new login. Raises BankError."""
        return new_authorization_request(
            client_id=self._client_id,
            redirect_uri=redirect_uri,
            scopes=scopes,
            prompt=self._prompt,
            proof_key=await self._back_channel.new_proof_key(),
        )

    async def url_for(self, parameters: SecretStr) -> AuthorizationUrl:
        """Return the URL for form-encoded parameters, which are pushed first if the provider supports that.

        The same request may be pushed again. Raises BankError.
        """
        metadata = await self._back_channel.metadata()
        par_endpoint = metadata.pushed_authorization_request_endpoint
        if par_endpoint is None:
            return AuthorizationUrl(_with_query(metadata.authorization_endpoint, parameters), is_pushed=False)
        response = await self._back_channel.post(
            par_endpoint,
            dict(parse_qsl(parameters.get_secret_value())),
            endpoint="pushed_authorization_request",
            timeout_seconds=self._timeout,
        )
        # FAPI 2.0 Security Profile 5.3.3: the browser carries no other parameter.
        reference = {"client_id": self._client_id, "request_uri": _parse_request_uri(response.text())}
        query = SecretStr(urlencode(reference, quote_via=quote))
        return AuthorizationUrl(_with_query(metadata.authorization_endpoint, query), is_pushed=True)


def _parse_request_uri(text: str) -> str:
    """Return the `request_uri` of a pushed authorization response (RFC 9126 section 2.2)."""
    try:
        request_uri = parse_json_object(text).get("request_uri")
    except ValueError as error:
        raise BankResponseInvalid("the bank's answer to a pushed authorization request is not a JSON object") from error
    # It becomes part of a URL, so only printable ASCII is accepted.
    if not isinstance(request_uri, str) or not _REQUEST_URI.fullmatch(request_uri):
        raise BankResponseInvalid("the bank's answer to a pushed authorization request has no usable request_uri")
    return request_uri


def _with_query(endpoint: str, query: SecretStr) -> SecretStr:
    separator = "&" if urlsplit(endpoint).query else "?"
    return SecretStr(f"{endpoint}{separator}{query.get_secret_value()}")
