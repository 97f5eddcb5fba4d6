"""What is tried: each way of client authentication, as Stitch documents it and as FAPI 2.0 asks for it."""

from dataclasses import dataclass
from typing import Literal

Method = Literal["client_secret_post", "client_secret_basic", "private_key_jwt"]
# Characters that must be form-encoded, in the form as in the header.
CLIENT_SECRET = "a+wrong/encoding=shows:up%20here"
METHODS: tuple[Method, ...] = ("client_secret_post", "client_secret_basic", "private_key_jwt")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to be a client. `fapi`: pushed requests, tokens bound to keys with nonces, PS256."""

    method: Method
    fapi: bool

    @property
    def client_id(self) -> str:
        """The client that the provider knows for it."""
        return f"broker-{self.method}"

    @property
    def title(self) -> str:
        """What the report calls it."""
        return f"{self.method}, {'with PAR and DPoP' if self.fapi else 'code and PKCE'}"

    def registration(self, redirect_uri: str, jwk: dict[str, object]) -> dict[str, object]:
        """Return the client metadata (OpenID Connect Dynamic Client Registration 1.0 section 2)."""
        proof = {"jwks": {"keys": [jwk]}} if self.method == "private_key_jwt" else {"client_secret": CLIENT_SECRET}
        return {
            "client_id": self.client_id,
            "token_endpoint_auth_method": self.method,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "redirect_uris": [redirect_uri],
            "dpop_bound_access_tokens": self.fapi,
            "require_pushed_authorization_requests": self.fapi,
            **proof,
        }


def variants_of(*, fapi: bool, quick: bool) -> list[Variant]:
    """Return what is tried against one provider; in the quick form one way of authentication each."""
    quick_method: Method = "private_key_jwt" if fapi else "client_secret_basic"
    return [Variant(method, fapi) for method in METHODS if not quick or method == quick_method]
