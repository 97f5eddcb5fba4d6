from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.interaction_request import InteractionRequest
from ...models.interaction_view import InteractionView
from ...models.problem import Problem
from ...types import Response


def _get_kwargs(
    connection_id: str,
    *,
    body: InteractionRequest,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/connections/{connection_id}/interactions".format(
            connection_id=quote(str(connection_id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> InteractionView | Problem | None:
    if response.status_code == 201:
        response_201 = InteractionView.from_dict(response.json())

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

    if response.status_code == 503:
        response_503 = Problem.from_dict(response.json())

        return response_503

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[InteractionView | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    connection_id: str,
    *,
    client: AuthenticatedClient,
    body: InteractionRequest,
) -> Response[InteractionView | Problem]:
    """Take the user to the bank

     When the bank answers a query with `USER_INTERACTION_REQUIRED`, send the user to `connect_url`.

    Then wait with `GET …/interactions/{id}?wait=30`, and once it is `completed`, send the query again.

    Args:
        connection_id (str):
        body (InteractionRequest): What the bank's error USER_INTERACTION_REQUIRED says in its
            `extensions`.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[InteractionView | Problem]
    """

    kwargs = _get_kwargs(
        connection_id=connection_id,
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    connection_id: str,
    *,
    client: AuthenticatedClient,
    body: InteractionRequest,
) -> InteractionView | Problem | None:
    """Take the user to the bank

     When the bank answers a query with `USER_INTERACTION_REQUIRED`, send the user to `connect_url`.

    Then wait with `GET …/interactions/{id}?wait=30`, and once it is `completed`, send the query again.

    Args:
        connection_id (str):
        body (InteractionRequest): What the bank's error USER_INTERACTION_REQUIRED says in its
            `extensions`.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        InteractionView | Problem
    """

    return sync_detailed(
        connection_id=connection_id,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    connection_id: str,
    *,
    client: AuthenticatedClient,
    body: InteractionRequest,
) -> Response[InteractionView | Problem]:
    """Take the user to the bank

     When the bank answers a query with `USER_INTERACTION_REQUIRED`, send the user to `connect_url`.

    Then wait with `GET …/interactions/{id}?wait=30`, and once it is `completed`, send the query again.

    Args:
        connection_id (str):
        body (InteractionRequest): What the bank's error USER_INTERACTION_REQUIRED says in its
            `extensions`.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[InteractionView | Problem]
    """

    kwargs = _get_kwargs(
        connection_id=connection_id,
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    connection_id: str,
    *,
    client: AuthenticatedClient,
    body: InteractionRequest,
) -> InteractionView | Problem | None:
    """Take the user to the bank

     When the bank answers a query with `USER_INTERACTION_REQUIRED`, send the user to `connect_url`.

    Then wait with `GET …/interactions/{id}?wait=30`, and once it is `completed`, send the query again.

    Args:
        connection_id (str):
        body (InteractionRequest): What the bank's error USER_INTERACTION_REQUIRED says in its
            `extensions`.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        InteractionView | Problem
    """

    return (
        await asyncio_detailed(
            connection_id=connection_id,
            client=client,
            body=body,
        )
    ).parsed
