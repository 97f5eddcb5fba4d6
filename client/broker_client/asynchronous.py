"""The asyncio client."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any, Self, TypeVar

import httpx

from broker_client.generated.api.link_an_account import get_session, start_session
from broker_client.generated.client import AuthenticatedClient
from broker_client.generated.models.problem import Problem
from broker_client.generated.models.session_view import SessionView
from broker_client.generated.types import Response
from broker_client.requests import (
    DEFAULT_TIMEOUT_SECONDS,
    clean_api_key,
    create_session_request,
    graphql_body,
    graphql_path,
    wait_seconds,
)
from broker_client.responses import Answer, parse_answer, parse_result, raise_for_error

T = TypeVar("T")


class AsyncBroker:
    """A client with one API key. Close it after use, or use it in an `async with` block."""

    def __init__(self, url: str, api_key: str, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        """`timeout` is in seconds, for each request. A query can take 60 seconds."""
        self.client = AuthenticatedClient(
            base_url=url,
            token=clean_api_key(api_key),
            timeout=httpx.Timeout(timeout),
            httpx_args={"event_hooks": {"response": [_raise_for_error]}},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.client.get_async_httpx_client().aclose()

    async def call(
        self, operation: Callable[..., Awaitable[Response[Problem | T]]], *arguments: Any, **options: Any
    ) -> T:
        """Call any operation: `await broker.call(get_connection.asyncio_detailed, id)`. Raises BrokerError."""
        return parse_result(await operation(*arguments, client=self.client, **options))

    async def pages(self, operation: Callable[..., Awaitable[Response[Any]]], **options: Any) -> AsyncIterator[Any]:
        """Iterate over all items of a list: `broker.pages(list_connections.asyncio_detailed, user_id="user-42")`."""
        cursor: dict[str, str] = {}
        while True:
            page = await self.call(operation, **options, **cursor)
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            cursor = {"cursor": page.next_cursor}

    async def start_session(
        self,
        user_id: str,
        *,
        return_url: str | None = None,
        connection_id: str | None = None,
        scopes: Collection[str] | None = None,
        require_confirmation: bool = False,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> SessionView:
        """Start a session; then send the user to its `connect_url`. Raises BrokerError."""
        request = create_session_request(
            user_id=user_id,
            return_url=return_url,
            connection_id=connection_id,
            scopes=scopes,
            require_confirmation=require_confirmation,
            metadata=metadata,
        )
        headers = {} if idempotency_key is None else {"idempotency_key": idempotency_key}
        return await self.call(start_session.asyncio_detailed, body=request, **headers)

    async def wait_for_session(self, session_id: str, *, seconds: float = 900) -> SessionView:
        """Wait until a session has ended, and return it. Raises TimeoutError after `seconds`, and BrokerError.

        A session that awaits its confirmation has not ended.
        """
        deadline = time.monotonic() + seconds
        while True:
            remaining = deadline - time.monotonic()
            session = await self.call(get_session.asyncio_detailed, session_id, wait=wait_seconds(remaining))
            if session.ended_at is not None:
                return session
            if remaining <= 0:
                raise TimeoutError(f"session {session_id} is still {session.status} after {seconds:g} s")
            # A broker that is shutting down responds immediately, whatever `wait` is.
            await asyncio.sleep(min(1, max(0, remaining)))

    async def query(
        self,
        connection_id: str,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        operation_name: str | None = None,
    ) -> Answer:
        """Send a GraphQL query or mutation to the bank. Raises BrokerError if the broker rejects it or fails."""
        return parse_answer(
            await self.client.get_async_httpx_client().post(
                graphql_path(connection_id), json=graphql_body(query, variables, operation_name)
            )
        )


async def _raise_for_error(response: httpx.Response) -> None:
    if response.is_error:
        await response.aread()
        raise_for_error(response)
