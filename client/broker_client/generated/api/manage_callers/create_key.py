from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.api_key_request import ApiKeyRequest
from ...models.new_api_key_view import NewApiKeyView
from ...models.problem import Problem
from ...types import UNSET, Response, Unset


def _get_kwargs(
    caller_id: str,
    *,
    body: ApiKeyRequest | None | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/callers/{caller_id}/keys".format(
            caller_id=quote(str(caller_id), safe=""),
        ),
    }

    if isinstance(body, ApiKeyRequest):
        _kwargs["json"] = body.to_dict()
    else:
        _kwargs["json"] = body

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> NewApiKeyView | Problem | None:
    if response.status_code == 201:
        response_201 = NewApiKeyView.from_dict(response.json())

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
) -> Response[NewApiKeyView | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    caller_id: str,
    *,
    client: AuthenticatedClient,
    body: ApiKeyRequest | None | Unset = UNSET,
) -> Response[NewApiKeyView | Problem]:
    """Create an API key

     Create another key; the others stay valid. It is shown only this once.

    Args:
        caller_id (str):
        body (ApiKeyRequest | None | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[NewApiKeyView | Problem]
    """

    kwargs = _get_kwargs(
        caller_id=caller_id,
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    caller_id: str,
    *,
    client: AuthenticatedClient,
    body: ApiKeyRequest | None | Unset = UNSET,
) -> NewApiKeyView | Problem | None:
    """Create an API key

     Create another key; the others stay valid. It is shown only this once.

    Args:
        caller_id (str):
        body (ApiKeyRequest | None | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        NewApiKeyView | Problem
    """

    return sync_detailed(
        caller_id=caller_id,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    caller_id: str,
    *,
    client: AuthenticatedClient,
    body: ApiKeyRequest | None | Unset = UNSET,
) -> Response[NewApiKeyView | Problem]:
    """Create an API key

     Create another key; the others stay valid. It is shown only this once.

    Args:
        caller_id (str):
        body (ApiKeyRequest | None | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[NewApiKeyView | Problem]
    """

    kwargs = _get_kwargs(
        caller_id=caller_id,
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    caller_id: str,
    *,
    client: AuthenticatedClient,
    body: ApiKeyRequest | None | Unset = UNSET,
) -> NewApiKeyView | Problem | None:
    """Create an API key

     Create another key; the others stay valid. It is shown only this once.

    Args:
        caller_id (str):
        body (ApiKeyRequest | None | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        NewApiKeyView | Problem
    """

    return (
        await asyncio_detailed(
            caller_id=caller_id,
            client=client,
            body=body,
        )
    ).parsed
