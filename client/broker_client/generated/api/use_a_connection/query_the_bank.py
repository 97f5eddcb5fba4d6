from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...models.graph_ql_error import GraphQLError
from ...models.graph_ql_request import GraphQLRequest
from ...types import Response


def _get_kwargs(
    connection_id: str,
    *,
    body: GraphQLRequest,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/connections/{connection_id}/graphql".format(
            connection_id=quote(str(connection_id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Any | GraphQLError:
    if response.status_code == 200:
        response_200 = response.json()
        return response_200

    if response.status_code == 400:
        response_400 = GraphQLError.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = GraphQLError.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = GraphQLError.from_dict(response.json())

        return response_403

    if response.status_code == 404:
        response_404 = GraphQLError.from_dict(response.json())

        return response_404

    if response.status_code == 405:
        response_405 = GraphQLError.from_dict(response.json())

        return response_405

    if response.status_code == 409:
        response_409 = GraphQLError.from_dict(response.json())

        return response_409

    if response.status_code == 413:
        response_413 = GraphQLError.from_dict(response.json())

        return response_413

    if response.status_code == 429:
        response_429 = GraphQLError.from_dict(response.json())

        return response_429

    if response.status_code == 502:
        response_502 = GraphQLError.from_dict(response.json())

        return response_502

    if response.status_code == 503:
        response_503 = GraphQLError.from_dict(response.json())

        return response_503

    if response.status_code == 504:
        response_504 = GraphQLError.from_dict(response.json())

        return response_504

    response_default = cast(Any, None)
    return response_default


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Any | GraphQLError]:
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
    body: GraphQLRequest,
) -> Response[Any | GraphQLError]:
    """Query the bank

     Send a GraphQL request to the bank with the connection's token. Mutations also need the permission
    `graphql:mutate`. An expired token is refreshed and the request repeated, once.

    Args:
        connection_id (str):
        body (GraphQLRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | GraphQLError]
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
    body: GraphQLRequest,
) -> Any | GraphQLError | None:
    """Query the bank

     Send a GraphQL request to the bank with the connection's token. Mutations also need the permission
    `graphql:mutate`. An expired token is refreshed and the request repeated, once.

    Args:
        connection_id (str):
        body (GraphQLRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | GraphQLError
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
    body: GraphQLRequest,
) -> Response[Any | GraphQLError]:
    """Query the bank

     Send a GraphQL request to the bank with the connection's token. Mutations also need the permission
    `graphql:mutate`. An expired token is refreshed and the request repeated, once.

    Args:
        connection_id (str):
        body (GraphQLRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Any | GraphQLError]
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
    body: GraphQLRequest,
) -> Any | GraphQLError | None:
    """Query the bank

     Send a GraphQL request to the bank with the connection's token. Mutations also need the permission
    `graphql:mutate`. An expired token is refreshed and the request repeated, once.

    Args:
        connection_id (str):
        body (GraphQLRequest):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Any | GraphQLError
    """

    return (
        await asyncio_detailed(
            connection_id=connection_id,
            client=client,
            body=body,
        )
    ).parsed
