"""The broker, called synchronously."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Self, TypeVar

import httpx

from broker_client.answers import Answer, answer, refuse_errors, result
from broker_client.generated.api.link_an_account import get_session, start_session
from broker_client.generated.client import AuthenticatedClient
from broker_client.generated.models.problem import Problem
from broker_client.generated.models.session_view import SessionView
from broker_client.generated.types import Response
from broker_client.requests import HELD, TIMEOUT, clean_key, graphql, path_of_queries, session_request

T = TypeVar("T")


class Broker:
    """Calls a broker as one caller. To be closed, or used in a `with` block; threads may share one."""

    def __init__(self, url: str, api_key: str, *, timeout: float = TIMEOUT) -> None:
        """`timeout` is in seconds, for each request; queries may take 60, and so may a wait."""
        self.client = AuthenticatedClient(
            base_url=url,
            token=clean_key(api_key),
            timeout=httpx.Timeout(timeout),
            httpx_args={"event_hooks": {"response": [_check]}},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self.client.get_httpx_client().close()

    def call(self, operation: Callable[..., Response[Problem | T]], *arguments: Any, **options: Any) -> T:
        """Make any call: `broker.call(get_connection.sync_detailed, connection_id)`. Raises BrokerError."""
        return result(operation(*arguments, client=self.client, **options))

    def pages(self, operation: Callable[..., Response[Any]], **options: Any) -> Iterator[Any]:
        """Go through all items of a list: `broker.pages(list_connections.sync_detailed, user_id="user-42")`."""
        cursor: dict[str, str] = {}
        while True:
            page = self.call(operation, **options, **cursor)
            yield from page.items
            if page.next_cursor is None:
                return
            cursor = {"cursor": page.next_cursor}

    def start_session(
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
        """Start a login; send the user to the session's `connect_url`. Raises BrokerError."""
        wanted = session_request(
            user_id=user_id,
            return_url=return_url,
            connection_id=connection_id,
            scopes=scopes,
            require_confirmation=require_confirmation,
            metadata=metadata,
        )
        headers = {} if idempotency_key is None else {"idempotency_key": idempotency_key}
        return self.call(start_session.sync_detailed, body=wanted, **headers)

    def wait_for_session(self, session_id: str, *, seconds: float = 900) -> SessionView:
        """Wait until a login has ended, and return the session. Raises TimeoutError, and BrokerError.

        A session that awaits its confirmation has not ended.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            session = self.call(get_session.sync_detailed, session_id, wait=max(0, min(HELD, int(left))))
            if session.ended_at is not None:
                return session
            if left <= 0:
                raise TimeoutError(f"session {session_id} is still {session.status} after {seconds:g} s")
            # A broker that is to stop answers at once, whatever `wait` says.
            time.sleep(min(1, max(0, left)))

    def query(
        self,
        connection_id: str,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        operation_name: str | None = None,
    ) -> Answer:
        """Send a GraphQL query or mutation to the bank. Raises BrokerError where the broker itself had to answer."""
        return answer(
            self.client.get_httpx_client().post(
                path_of_queries(connection_id), json=graphql(query, variables, operation_name)
            )
        )


def _check(response: httpx.Response) -> None:
    if response.is_error:
        response.read()
        refuse_errors(response)
