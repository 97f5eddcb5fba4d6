"""The check of `broker doctor` that starts a login at the bank, as far as that is possible without a user."""

import json
from urllib.parse import parse_qs, urlsplit

import httpx

from app.bank.providers import client_authentication
from app.base.clock import SystemClock
from app.cli.findings import Finding
from app.oidc.authorization_endpoint import AuthorizationEndpoint
from app.oidc.authorization_response import ERROR_CODES
from app.oidc.back_channel import BackChannel
from app.oidc.provider import Provider
from app.settings import Settings

CHECK = "login request"
MEND = "correct the setting that the finding names, or have the bank correct the client's registration"
_PARAMETERS = {"client_id", "redirect_uri", "response_type", "scope", "prompt", "request_uri", "code_challenge_method"}
# A firewall in front of the bank may refuse what is not a browser.
_SAYS_NOTHING = {401, 403, 405, 429}


async def examine_login_request(settings: Settings, client: httpx.AsyncClient, provider: Provider) -> Finding:
    """Open the bank's login page with the broker's redirect URI and scopes; pushes the request if logins do."""
    clock = SystemClock()
    endpoint = AuthorizationEndpoint(
        BackChannel(client, provider, client_authentication(settings, clock), clock),
        client_id=settings.stitch_client_id,
        timeout=settings.bank_timeout,
        prompt=settings.stitch_prompt,
    )
    request = await endpoint.new_request(redirect_uri=settings.redirect_uri, scopes=settings.stitch_scopes)
    url = await endpoint.url_for(request.parameters)
    response = await client.get(
        url.url.get_secret_value(), headers={"accept": "text/html,application/json;q=0.9"}, timeout=10
    )
    if (fault := _fault_of(response, settings)) is not None:
        return Finding(CHECK, False, fault, MEND)
    if response.status_code in _SAYS_NOTHING:
        return Finding(CHECK, True, f"cannot be checked: the bank answers {response.status_code} to a program")
    pushed = "pushed, and " if url.is_pushed else ""
    return Finding(CHECK, True, f"{pushed}accepted with {settings.redirect_uri}")


def _fault_of(response: httpx.Response, settings: Settings) -> str | None:
    """Return what the bank refuses about the request, or None. Nothing that the bank says is quoted."""
    if response.is_redirect:
        return _fault_of_redirect(response.headers.get("location", ""))
    if response.is_success or response.status_code in _SAYS_NOTHING:
        return None
    members = _members(response)
    if "redirect_uri" in members:
        # Stitch's own form: 400 with {"redirect_uri": ["Invalid redirect_uri. …"]}.
        return f"the redirect URI {settings.redirect_uri} is not registered with the bank; see BROKER_PUBLIC_URL"
    if (error := members.get("error")) in ERROR_CODES:
        return f"the bank refuses it with {error}; {_advice(settings)}"
    if names := sorted(_PARAMETERS & members.keys()):
        return f"the bank refuses its {', '.join(names)}; {_advice(settings)}"
    return f"the bank answers {response.status_code}; {_advice(settings)}"


def _fault_of_redirect(location: str) -> str | None:
    query = parse_qs(urlsplit(location).query)
    error = next(iter(query.get("error", [])), None)
    if error in ERROR_CODES:
        return f"the bank refuses it with {error}; check BROKER_STITCH_SCOPES and BROKER_STITCH_PROMPT"
    if "errorId" in query:
        # IdentityServer shows its own error page if it cannot trust the redirect URI or the client.
        return "the bank redirects to its error page; check the registered redirect URI and BROKER_STITCH_CLIENT_ID"
    return None


def _members(response: httpx.Response) -> dict[str, object]:
    try:
        value = json.loads(response.content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _advice(settings: Settings) -> str:
    return f"is {settings.redirect_uri} registered, and are BROKER_STITCH_CLIENT_ID and BROKER_STITCH_SCOPES right?"
