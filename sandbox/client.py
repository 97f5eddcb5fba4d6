"""A client of a running sandbox, for tests and demos: its registered OAuth client and its control API."""

import base64
import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypedDict
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from pydantic import JsonValue

from sandbox.browser import log_in_and_decide
from sandbox.ledger import LedgerReport
from sandbox.oidc.authorization_request import SCOPES
from sandbox.settings import CLIENT_ID, CLIENT_SECRET, REDIRECT_URIS

EVERY_SCOPE = " ".join(SCOPES)


class TokenResponse(TypedDict):
    """The members of a token response. `refresh_token` is present only with the scope `offline_access`."""

    id_token: str
    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str
    scope: str


@dataclass(frozen=True, kw_only=True)
class Login:
    """An authorization response, and the secrets of the authorization request that it belongs to."""

    response: dict[str, str]
    state: str
    nonce: str
    code_verifier: str

    def code_grant(self) -> dict[str, str]:
        """Return the token request that exchanges the code."""
        return {
            "grant_type": "authorization_code",
            "code": self.response["code"],
            "redirect_uri": REDIRECT_URIS[0],
            "code_verifier": self.code_verifier,
        }


class SandboxClient:
    """Calls one sandbox. The base URL of `http` is the address of the sandbox."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def log_in(
        self,
        scope: str = EVERY_SCOPE,
        *,
        bank: str = "fnb",
        username: str = "thandi",
        scopes: Collection[str] | None = None,
        accounts: Collection[str] | None = None,
        decision: str = "allow",
    ) -> Login:
        """Go through the bank's pages as a user; `scopes` and `accounts` are the values that stay ticked."""
        parameters, code_verifier = authorization_parameters(scope)
        location = await log_in_and_decide(
            self.http,
            f"/connect/authorize?{urlencode(parameters)}",
            bank=bank,
            username=username,
            password=f"{username}-123",
            scopes=scopes,
            accounts=accounts,
            decision=decision,
        )
        return Login(
            response={name: values[0] for name, values in parse_qs(urlsplit(location).query).items()},
            state=parameters["state"],
            nonce=parameters["nonce"],
            code_verifier=code_verifier,
        )

    async def request_token(self, parameters: dict[str, str]) -> httpx.Response:
        """Call the token endpoint, authenticated with `client_secret_post`."""
        client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        return await self.http.post("/connect/token", data=client | parameters)

    async def link(self, scope: str = EVERY_SCOPE, *, accounts: Collection[str] | None = None) -> TokenResponse:
        """Log in and exchange the code; return the token response."""
        login = await self.log_in(scope, accounts=accounts)
        response = await self.request_token(login.code_grant())
        response.raise_for_status()
        tokens: TokenResponse = response.json()
        return tokens

    async def refresh(self, refresh_token: str) -> httpx.Response:
        """Send a refresh request to the token endpoint."""
        return await self.request_token({"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def query(self, access_token: str, text: str, **variables: JsonValue) -> httpx.Response:
        """Send a GraphQL request."""
        return await self.http.post(
            "/graphql",
            json={"query": text, "variables": variables or None},
            headers={"authorization": f"Bearer {access_token}"},
        )

    async def set_faults(self, **faults: JsonValue) -> None:
        """Set these faults and leave the others unchanged."""
        (await self.http.put("/sandbox/faults", json=faults)).raise_for_status()

    async def control(self, path: str, **parameters: JsonValue) -> httpx.Response:
        """Send a POST request to the control API."""
        response = await self.http.post(f"/sandbox/{path}", json=parameters)
        response.raise_for_status()
        return response

    async def ledger(self) -> LedgerReport:
        """Return every token family of the bank, and its request counts."""
        response = await self.http.get("/sandbox/ledger")
        response.raise_for_status()
        return LedgerReport.model_validate_json(response.content)

    async def sub_of(self, username: str) -> str:
        """Return the `sub` of a customer."""
        customers: list[dict[str, str]] = (await self.http.get("/sandbox/customers")).json()
        return next(customer["sub"] for customer in customers if customer["username"] == username)


def authorization_parameters(scope: str = EVERY_SCOPE) -> tuple[dict[str, str], str]:
    """Return the parameters of a valid authorization request, and its `code_verifier`."""
    code_verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()
    return {
        "client_id": CLIENT_ID,
        "scope": scope,
        "response_type": "code",
        "redirect_uri": REDIRECT_URIS[0],
        "state": secrets.token_urlsafe(32),
        "nonce": secrets.token_urlsafe(32),
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }, code_verifier
