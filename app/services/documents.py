"""What a GraphQL request asks for, told by parsing each distinct document once."""

import hashlib
from dataclasses import dataclass

from cachetools import LRUCache
from graphql import GraphQLError, OperationDefinitionNode, OperationType, Source, parse

from app.errors import InvalidRequest
from app.json_text import read_json

_REMEMBERED = 1_000
# Beyond this, a document costs more to parse than any query is worth (graphql-core raises GraphQLError).
_MAX_TOKENS = 20_000


@dataclass(frozen=True, slots=True)
class _Document:
    """The operations of a document, each with its name or None; empty where it cannot be parsed."""

    operations: tuple[tuple[str | None, OperationType], ...]


class Documents:
    """Tells queries from mutations."""

    def __init__(self) -> None:
        self._parsed: LRUCache[bytes, _Document] = LRUCache(_REMEMBERED)

    def may_mutate(self, body: bytes) -> bool:
        """Tell whether any operation of a request body, or of a batch of them, is or may be more than a query.

        What cannot be told counts as a mutation: a document that does not parse here, or that the bank knows by a
        hash alone. Raises InvalidRequest where the body is no GraphQL request at all.
        """
        try:
            request = read_json(body, members_once=True)
        except ValueError as error:
            raise InvalidRequest(
                "the body must be JSON, with `query`, `variables`, `operationName` each once"
            ) from error
        requests = request if isinstance(request, list) else [request]
        if not requests:
            raise InvalidRequest("the batch is empty")
        # Each is looked at, so that a batch is refused for any part of it that is no request.
        mutating = [self._mutates(one) for one in requests]
        return any(mutating)

    def _mutates(self, request: object) -> bool:
        if not isinstance(request, dict):
            raise InvalidRequest("the body must be an object with `query`, or a list of such objects")
        query, name = request.get("query"), request.get("operationName")
        if query is None and "extensions" in request:
            return True
        if not isinstance(query, str):
            raise InvalidRequest("`query` must be a text")
        if name is not None and not isinstance(name, str):
            raise InvalidRequest("`operationName` must be a text")
        operations = self._operations(query)
        meant = [kind for known, kind in operations if known == name] if name else []
        # Where it is not plain which one is meant, the bank may run any of them.
        kinds = meant if len(meant) == 1 else [kind for _, kind in operations]
        return not kinds or any(kind is not OperationType.QUERY for kind in kinds)

    def _operations(self, query: str) -> tuple[tuple[str | None, OperationType], ...]:
        digest = hashlib.sha256(query.encode("utf-8", "surrogatepass")).digest()
        known = self._parsed.get(digest)
        if known is None:
            known = self._parsed[digest] = _Document(_parse(query))
        return known.operations


def _parse(query: str) -> tuple[tuple[str | None, OperationType], ...]:
    try:
        document = parse(Source(query), no_location=True, max_tokens=_MAX_TOKENS)
    except (GraphQLError, RecursionError):
        return ()
    return tuple(
        (definition.name.value if definition.name else None, definition.operation)
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    )
