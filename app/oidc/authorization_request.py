"""The authorization request (RFC 6749 section 4.1.1, RFC 7636, OpenID Connect Core 3.1.2.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from app.base.randomness import random_urlsafe_text
from app.oidc.dpop import ProofKey
from app.oidc.pkce import code_challenge


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """The secrets of one login, and its form-encoded request parameters."""

    state: SecretStr
    nonce: SecretStr
    code_verifier: SecretStr
    code_challenge: str
    parameters: SecretStr
    proof_key: ProofKey | None = None


def new_authorization_request(
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    prompt: str | None = None,
    proof_key: ProofKey | None = None,
) -> AuthorizationRequest:
    """Generate state, nonce and code verifier, and return the request with the parameters that Stitch documents.

    With `proof_key`, the code can only be exchanged with a proof of that key (RFC 9449 section 10).
    """
    state, nonce, code_verifier = random_urlsafe_text(), random_urlsafe_text(), random_urlsafe_text()
    challenge = code_challenge(code_verifier)
    parameters = {
        "client_id": client_id,
        "scope": " ".join(scopes),
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "nonce": nonce,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if prompt is not None:
        parameters["prompt"] = prompt
    if proof_key is not None:
        parameters["dpop_jkt"] = proof_key.thumbprint
    return AuthorizationRequest(
        state=SecretStr(state),
        nonce=SecretStr(nonce),
        code_verifier=SecretStr(code_verifier),
        code_challenge=challenge,
        parameters=SecretStr(urlencode(parameters, quote_via=quote)),
        proof_key=proof_key,
    )
