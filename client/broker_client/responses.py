"""Responses of the broker: the bank's response to a query, or an error."""

import json
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import httpx

from broker_client.generated.models.problem import Problem
from broker_client.generated.types import Response

T = TypeVar("T")
_VERSION_HEADER = "broker-token-version"


class BrokerError(Exception):
    """An error response. `code` is stable; `str()` says what is wrong and what to do."""

    def __init__(
        self, *, status: int, code: str, detail: str, request_id: str | None, retry_after: float | None
    ) -> None:
        """`retry_after` is in seconds, or None if the response does not contain it."""
        super().__init__(f"{detail} ({code}, request {request_id})")
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after


@dataclass(frozen=True)
class Interaction:
    """An approval that the bank requires from its customer, on the page `url`. `id` is the bank's identifier."""

    id: str
    url: str


@dataclass(frozen=True)
class Answer:
    """The bank's response to a query. It can have both data and errors: partial data is normal in GraphQL."""

    data: dict[str, Any] | None
    errors: list[dict[str, Any]] = field(default_factory=list)
    token_version: int | None = None

    @property
    def interaction(self) -> Interaction | None:
        """The approval that the bank requires first (`USER_INTERACTION_REQUIRED`), or None."""
        for error in self.errors:
            extensions = error.get("extensions") or {}
            if extensions.get("code") == "USER_INTERACTION_REQUIRED":
                return Interaction(id=extensions["id"], url=extensions["userInteractionUrl"])
        return None


def raise_for_error(response: httpx.Response) -> None:
    """Raise BrokerError if a response is an error of the broker or of a proxy. The body must have been read.

    The bank's own responses to queries never raise, whatever their status; they have the header with the token version.
    """
    if response.status_code < 400 or _VERSION_HEADER in response.headers:
        return
    body = _json(response.content)
    for error in body.get("errors") or []:
        if "extensions" in error and "message" in error:
            body = {"detail": error["message"], **error["extensions"]}
            break
    retry_after = response.headers.get("retry-after", "")
    raise BrokerError(
        status=response.status_code,
        code=body.get("code", "unknown"),
        detail=body.get("detail", "the response is not from the broker; check the proxies between it and this client"),
        request_id=body.get("request_id"),
        retry_after=float(retry_after) if retry_after.isdigit() else None,
    )


def parse_result(response: Response[Problem | T]) -> T:
    """Return the body of a successful response."""
    # For a response without a body (204), T is None.
    return cast("T", response.parsed)


def parse_answer(response: httpx.Response) -> Answer:
    """Return the bank's response to a query. If it is not GraphQL, it has neither data nor errors."""
    body = _json(response.content)
    version = response.headers.get(_VERSION_HEADER)
    return Answer(body.get("data"), body.get("errors") or [], None if version is None else int(version))


def _json(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
