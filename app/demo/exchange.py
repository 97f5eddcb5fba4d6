"""One HTTP request, shown with its answer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from app.demo.expectations import Unexpected
from app.demo.printing import Step

TIMEOUT = 60.0


def open_client(
    base_url: str = "", headers: Mapping[str, str] | None = None, transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """Return a client that heeds no proxy, and follows no redirect without being told."""
    return httpx.Client(
        base_url=base_url,
        headers=headers,
        timeout=TIMEOUT,
        trust_env=False,
        follow_redirects=False,
        transport=transport,
    )


@dataclass(frozen=True)
class Answer:
    """An answer of which single members are read."""

    response: httpx.Response

    def member(self, *path: str | int) -> Any:  # noqa: ANN401 - JSON
        """Return what stands at `path` of the JSON body. Raises Unexpected where nothing does."""
        try:
            found = self.response.json()
            for part in path:
                found = found[part]
        except (ValueError, LookupError, TypeError):
            wanted = ".".join(str(part) for part in path)
            raise Unexpected(f"a JSON body with {wanted or 'anything'}", said(self.response)) from None
        return found


def exchange(
    step: Step,
    client: httpx.Client,
    method: str,
    path: str,
    *,
    expected: int = 200,
    body: Mapping[str, object] | None = None,
) -> Answer:
    """Send a request, show it and its answer's status. Raises Unexpected where that is another than expected."""
    request = client.build_request(method, path, json=body)
    step.sent(f"{request.method} {request.url}")
    if authorization := request.headers.get("authorization"):
        step.note(f"Authorization: {authorization}")
    if body is not None:
        step.note(json.dumps(body))
    response = client.send(request)
    require_status(response, expected)
    step.came(f"{response.status_code} {response.reason_phrase}")
    return Answer(response)


def require_status(response: httpx.Response, expected: int) -> None:
    """Raise Unexpected where an answer has another status."""
    if response.status_code != expected:
        raise Unexpected(f"status {expected}", f"{response.status_code} {said(response)}")


def said(response: httpx.Response) -> str:
    """Return the beginning of an answer's body."""
    return response.text[:500].strip() or "an empty body"
