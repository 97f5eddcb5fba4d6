"""The discovery document (OpenID Connect Discovery 1.0, section 4) and the JWK Set."""

from fastapi import APIRouter, Request
from pydantic import JsonValue
from starlette.responses import JSONResponse

from sandbox.bank import BankDependency
from sandbox.faults import DiscoveryFault, override
from sandbox.oidc.authorization_request import SCOPES
from sandbox.oidc.dpop import ALGORITHM

router = APIRouter()

CLIENT_AUTHENTICATION_METHODS = ("client_secret_post", "client_secret_basic", "private_key_jwt")


@router.get("/.well-known/openid-configuration")
async def discovery(request: Request, bank: BankDependency) -> JSONResponse:
    """Return the provider's metadata."""
    fault: DiscoveryFault = getattr(request.state, "fault", DiscoveryFault())
    issuer = bank.settings.issuer
    methods: list[JsonValue] = list(CLIENT_AUTHENTICATION_METHODS)
    document: dict[str, JsonValue] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/.well-known/openid-configuration/jwks",
        "authorization_endpoint": f"{issuer}/connect/authorize",
        "token_endpoint": f"{issuer}/connect/token",
        "revocation_endpoint": f"{issuer}/connect/revocation",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "revocation_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
    }
    if bank.faults.pushed_requests != "none":
        document["pushed_authorization_request_endpoint"] = f"{issuer}/connect/par"
        document["require_pushed_authorization_requests"] = bank.faults.pushed_requests == "required"
    if bank.faults.dpop != "none":
        document["dpop_signing_alg_values_supported"] = [ALGORITHM]
    if bank.faults.announce_iss:
        document["authorization_response_iss_parameter_supported"] = True
    return JSONResponse(override(document, fault.document))


@router.get("/.well-known/openid-configuration/jwks")
async def jwks(bank: BankDependency) -> JSONResponse:
    """Return the public keys that sign id_tokens."""
    return JSONResponse(bank.signing_keys.jwk_set())
