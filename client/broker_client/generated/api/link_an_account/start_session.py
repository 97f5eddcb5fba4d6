from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.problem import Problem
from ...models.session_request import SessionRequest
from ...models.session_view import SessionView
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    body: SessionRequest,
    idempotency_key: None | str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["idempotency-key"] = idempotency_key

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/sessions",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Problem | SessionView | None:
    if response.status_code == 201:
        response_201 = SessionView.from_dict(response.json())

        return response_201

    if response.status_code == 400:
        response_400 = Problem.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Problem.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = Problem.from_dict(response.json())

        return response_403

    if response.status_code == 404:
        response_404 = Problem.from_dict(response.json())

        return response_404

    if response.status_code == 409:
        response_409 = Problem.from_dict(response.json())

        return response_409

    if response.status_code == 413:
        response_413 = Problem.from_dict(response.json())

        return response_413

    if response.status_code == 422:
        response_422 = Problem.from_dict(response.json())

        return response_422

    if response.status_code == 429:
        response_429 = Problem.from_dict(response.json())

        return response_429

    if response.status_code == 502:
        response_502 = Problem.from_dict(response.json())

        return response_502

    if response.status_code == 503:
        response_503 = Problem.from_dict(response.json())

        return response_503

    if response.status_code == 504:
        response_504 = Problem.from_dict(response.json())

        return response_504

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Problem | SessionView]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    body: SessionRequest,
    idempotency_key: None | str | Unset = UNSET,
) -> Response[Problem | SessionView]:
    """Start a login

     Start a login and send the user to `connect_url`, which binds the browser and leads on to the bank.

    `authorization_url` leads straight to the bank, and only binds the browser that returns first:
    prefer `connect_url`.

    Then wait for the end with `GET /v1/sessions/{id}?wait=30`.

    Args:
        idempotency_key (None | str | Unset): Repeating the request with the same key returns the
            same session.
        body (SessionRequest): What to link.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | SessionView]
    """

    kwargs = _get_kwargs(
        body=body,
        idempotency_key=idempotency_key,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    body: SessionRequest,
    idempotency_key: None | str | Unset = UNSET,
) -> Problem | SessionView | None:
    """Start a login

     Start a login and send the user to `connect_url`, which binds the browser and leads on to the bank.

    `authorization_url` leads straight to the bank, and only binds the browser that returns first:
    prefer `connect_url`.

    Then wait for the end with `GET /v1/sessions/{id}?wait=30`.

    Args:
        idempotency_key (None | str | Unset): Repeating the request with the same key returns the
            same session.
        body (SessionRequest): What to link.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | SessionView
    """

    return sync_detailed(
        client=client,
        body=body,
        idempotency_key=idempotency_key,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: SessionRequest,
    idempotency_key: None | str | Unset = UNSET,
) -> Response[Problem | SessionView]:
    """Start a login

     Start a login and send the user to `connect_url`, which binds the browser and leads on to the bank.

    `authorization_url` leads straight to the bank, and only binds the browser that returns first:
    prefer `connect_url`.

    Then wait for the end with `GET /v1/sessions/{id}?wait=30`.

    Args:
        idempotency_key (None | str | Unset): Repeating the request with the same key returns the
            same session.
        body (SessionRequest): What to link.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | SessionView]
    """

    kwargs = _get_kwargs(
        body=body,
        idempotency_key=idempotency_key,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    body: SessionRequest,
    idempotency_key: None | str | Unset = UNSET,
) -> Problem | SessionView | None:
    """Start a login

     Start a login and send the user to `connect_url`, which binds the browser and leads on to the bank.

    `authorization_url` leads straight to the bank, and only binds the browser that returns first:
    prefer `connect_url`.

    Then wait for the end with `GET /v1/sessions/{id}?wait=30`.

    Args:
        idempotency_key (None | str | Unset): Repeating the request with the same key returns the
            same session.
        body (SessionRequest): What to link.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | SessionView
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
            idempotency_key=idempotency_key,
        )
    ).parsed
