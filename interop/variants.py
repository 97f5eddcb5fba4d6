"""The tested variants: each client authentication method, as Stitch documents it and as FAPI 2.0 requires it."""

from dataclasses import dataclass
from typing import Literal

Method = Literal["client_secret_post", "client_secret_basic", "private_key_jwt"]
# Contains characters that must be form-encoded, both in the form and in the header.
CLIENT_SECRET = "a+wrong/encoding=shows:up%20here"
METHODS: tuple[Method, ...] = ("client_secret_post", "client_secret_basic", "private_key_jwt")


@dataclass(frozen=True, slots=True)
class Variant:
    """One kind of client. `fapi` requires pushed requests, DPoP-bound tokens with nonces, and PS256."""

    method: Method
    fapi: bool

    @property
    def client_id(self) -> str:
        """The identifier under which the client is registered."""
        return f"broker-{self.method}"

    @property
    def title(self) -> str:
        """The title in the report."""
        return f"{self.method}, {'with PAR and DPoP' if self.fapi else 'code and PKCE'}"

    def registration(self, redirect_uri: str, jwk: dict[str, object]) -> dict[str, object]:
        """Return the client metadata (OpenID Connect Dynamic Client Registration 1.0 section 2)."""
        credentials: dict[str, object] = {"client_secret": CLIENT_SECRET}
        if self.method == "private_key_jwt":
            credentials = {"jwks": {"keys": [jwk]}}
        return {
            "client_id": self.client_id,
            "token_endpoint_auth_method": self.method,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "redirect_uris": [redirect_uri],
            "dpop_bound_access_tokens": self.fapi,
            "require_pushed_authorization_requests": self.fapi,
            **credentials,
        }


def select_variants(*, fapi: bool, quick: bool) -> list[Variant]:
    """Return the variants to test against one provider; only one if `quick`."""
    quick_method: Method = "private_key_jwt" if fapi else "client_secret_basic"
    return [Variant(method, fapi) for method in METHODS if not quick or method == quick_method]
