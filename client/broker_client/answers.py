"""What the broker answers: a bank's answer to a query, or an error that says what to do."""

import json
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import httpx

from broker_client.generated.models.problem import Problem
from broker_client.generated.types import Response

T = TypeVar("T")
_VERSION = "broker-token-version"


class BrokerError(Exception):
    """The broker refused or could not do it. `code` is stable; `str()` says what is wrong and what to do."""

    def __init__(
        self, *, status: int, code: str, detail: str, request_id: str | None, retry_after: float | None
    ) -> None:
        """`retry_after` is in seconds; None where nothing is said about trying again."""
        super().__init__(f"{detail} ({code}, request {request_id})")
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after


@dataclass(frozen=True)
class Interaction:
    """The bank wants its customer to approve something, at `url`; `id` names it at the bank."""

    id: str
    url: str


@dataclass(frozen=True)
class Answer:
    """A bank's answer to a query. Data and errors may both be there: partial data is normal in GraphQL."""

    data: dict[str, Any] | None
    errors: list[dict[str, Any]] = field(default_factory=list)
    token_version: int | None = None

    @property
    def interaction(self) -> Interaction | None:
        """What the bank wants of its customer before it goes on (`USER_INTERACTION_REQUIRED`), or None."""
        for error in self.errors:
            extensions = error.get("extensions") or {}
            if extensions.get("code") == "USER_INTERACTION_REQUIRED":
                return Interaction(id=extensions["id"], url=extensions["userInteractionUrl"])
        return None


def refuse_errors(response: httpx.Response) -> None:
    """Raise BrokerError where an answer, whose body has been read, is an error of the broker or of what is before it.

    The bank's own answers to queries pass, whatever their status; the broker adds the token's version to each.
    """
    if response.status_code < 400 or _VERSION in response.headers:
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
        detail=body.get("detail", "this answer is not the broker's; see what is between it and this client"),
        request_id=body.get("request_id"),
        retry_after=float(retry_after) if retry_after.isdigit() else None,
    )


def result(response: Response[Problem | T]) -> T:
    """Return what a call answered that was no error."""
    # A call without content, 204, has None for T.
    return cast("T", response.parsed)


def answer(response: httpx.Response) -> Answer:
    """Return the bank's answer to a query; one that is no GraphQL has neither data nor errors."""
    body = _json(response.content)
    version = response.headers.get(_VERSION)
    return Answer(body.get("data"), body.get("errors") or [], None if version is None else int(version))


def _json(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
