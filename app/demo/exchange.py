"""HTTP requests that are shown with their responses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from app.demo.expectations import Unexpected
from app.demo.printing import Step

_TIMEOUT = 60.0  # seconds
_EXCERPT_LENGTH = 500


def open_client(
    base_url: str = "", headers: Mapping[str, str] | None = None, transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """Return a client that uses no proxy of the environment and follows no redirect."""
    return httpx.Client(
        base_url=base_url,
        headers=headers,
        timeout=_TIMEOUT,
        trust_env=False,
        follow_redirects=False,
        transport=transport,
    )


@dataclass(frozen=True)
class JsonResponse:
    """A response with a JSON body."""

    response: httpx.Response

    def member(self, *path: str | int) -> Any:  # noqa: ANN401 - JSON
        """Return the value at `path` of the body. Raises Unexpected if there is none."""
        try:
            value = self.response.json()
            for part in path:
                value = value[part]
        except (ValueError, LookupError, TypeError):
            name = ".".join(str(part) for part in path)
            raise Unexpected(f"a JSON body with {name or 'anything'}", body_excerpt(self.response)) from None
        return value


def exchange(
    step: Step,
    client: httpx.Client,
    method: str,
    path: str,
    *,
    expected: int = 200,
    body: Mapping[str, object] | None = None,
) -> JsonResponse:
    """Send a request, and show it with the status of its response. Raises Unexpected for any other status."""
    request = client.build_request(method, path, json=body)
    step.sent(f"{request.method} {request.url}")
    if authorization := request.headers.get("authorization"):
        step.note(f"Authorization: {authorization}")
    if body is not None:
        step.note(json.dumps(body))
    response = client.send(request)
    require_status(response, expected)
    step.received(f"{response.status_code} {response.reason_phrase}")
    return JsonResponse(response)


def require_status(response: httpx.Response, expected: int) -> None:
    """Raise Unexpected if a response has another status."""
    if response.status_code != expected:
        raise Unexpected(f"status {expected}", f"{response.status_code} {body_excerpt(response)}")


def body_excerpt(response: httpx.Response) -> str:
    """Return the beginning of a response's body."""
    return response.text[:_EXCERPT_LENGTH].strip() or "an empty body"
