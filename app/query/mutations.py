"""Tells GraphQL queries from mutations, by parsing each distinct document once.

The strictest reading counts: what any server could take for a mutation is one. Parsing blocks the event loop, so the
size of what one request may have parsed is limited, and tenants take turns.
"""

import hashlib
from typing import NamedTuple, TypeVar

from app.base.strict_json import parse_json
from app.errors import InvalidRequest, RequestTooLarge
from app.query.fair_queue import FairQueue

# Limits for all documents of one request together. Parsing that much takes tens of milliseconds.
MAX_DOCUMENTS = 20
MAX_DOCUMENT_BYTES = 65_536
MAX_TOKENS = 4_000
# Objects and lists: for their size, they take the longest to parse.
MAX_BRACKETS = 20_000
_CACHE_SIZE = 1_000
# Any other member may refer to a stored document (`id`, `documentId`) or be another spelling of these (`Query`).
_MEMBERS = frozenset(("query", "variables", "operationName", "extensions"))
_PERSISTED_QUERY = "persistedquery"
# Some parsers take these for the end of a line, and so of a comment. The 2015 specification included two of them.
_DISPUTED_LINE_ENDS = frozenset("\u2028\u2029\x85\v\f\0")
Value = TypeVar("Value")


class _ParsedDocument(NamedTuple):
    tokens: int
    """The number of tokens, including comments."""
    may_mutate: bool


class MutationDetector:
    """Tells queries from mutations."""

    def __init__(self, queue: FairQueue | None = None) -> None:
        self._queue = queue or FairQueue()
        # By digest, because a body may contain personal data that must not be kept.
        self._bodies: dict[bytes, bool] = {}
        self._documents: dict[bytes, _ParsedDocument] = {}

    async def may_mutate(self, tenant: str, caller_id: str, body: bytes) -> bool:
        """Return whether any operation in a request body, or in a batch of requests, is or may be a mutation.

        A document that does not parse here, or that the bank has stored, counts as a mutation; so does a document that
        contains a mutation, whichever operation is selected. Raises InvalidRequest if the body is not a GraphQL
        request, RequestTooLarge if it exceeds the limits, and BrokerUnavailable if the tenant's turn does not come.
        """
        # The same body often comes again: many have no variables, and the connection is not part of it. The cache is
        # per tenant, or the response time would reveal which values other tenants have sent with a document.
        digest = hashlib.sha256(f"{tenant}\0".encode() + body).digest()
        may_mutate = self._bodies.get(digest)
        if may_mutate is None:
            async with self._queue.turn(tenant, caller_id):
                may_mutate = self._inspect(body)
            _cache(self._bodies, digest, may_mutate)
        return may_mutate

    def _inspect(self, body: bytes) -> bool:
        # All requests are validated, so that a batch is rejected for any invalid one.
        documents = [_document_of(request) for request in _parse_body(body)]
        texts = [document.encode("utf-8", "surrogatepass") for document in documents if document is not None]
        if sum(map(len, texts)) > MAX_DOCUMENT_BYTES:
            raise _too_large(f"the `query` strings of a request may have {MAX_DOCUMENT_BYTES} bytes together")
        may_mutate = len(texts) < len(documents)
        tokens_left = MAX_TOKENS
        for text in texts:
            parsed = self._parse_document(text, tokens_left)
            tokens_left -= parsed.tokens
            may_mutate = may_mutate or parsed.may_mutate
        return may_mutate

    def _parse_document(self, text: bytes, max_tokens: int) -> _ParsedDocument:
        digest = hashlib.sha256(text).digest()
        parsed = self._documents.get(digest)
        if parsed is None:
            parsed = _parse_document(text.decode("utf-8", "surrogatepass"), max_tokens)
            # A document that exceeds the limit of a whole request is cached too: it is rejected without parsing next.
            if parsed.tokens <= max_tokens or max_tokens == MAX_TOKENS:
                _cache(self._documents, digest, parsed)
        if parsed.tokens > max_tokens:
            raise _too_large(f"the `query` strings of a request may have {MAX_TOKENS} tokens together")
        return parsed


def _cache(cache: dict[bytes, Value], digest: bytes, value: Value) -> None:
    if len(cache) >= _CACHE_SIZE:
        del cache[next(iter(cache))]
    cache[digest] = value


def _parse_body(body: bytes) -> list[object]:
    """Return the request in a body, or all requests of a batch."""
    if body.count(b"{") + body.count(b"[") > MAX_BRACKETS:
        raise _too_large(f"a request may contain {MAX_BRACKETS} objects and lists")
    try:
        request = parse_json(body, strict=True)
    except ValueError as error:
        raise InvalidRequest(
            "the body must be JSON, with `query`, `variables` and `operationName` at most once each"
        ) from error
    if not isinstance(request, list):
        return [request]
    if not request:
        raise InvalidRequest("the batch is empty")
    if len(request) > MAX_DOCUMENTS:
        raise _too_large(f"a batch may have {MAX_DOCUMENTS} requests")
    return request


def _document_of(request: object) -> str | None:
    """Return the document of a request, or None if the bank may take the request to be for another document."""
    if not isinstance(request, dict):
        raise InvalidRequest("the body must be an object with `query`, or a list of such objects")
    query, name, extensions = request.get("query"), request.get("operationName"), request.get("extensions")
    if not request.keys() <= _MEMBERS or (query is None and extensions is not None):
        return None
    if not isinstance(query, str):
        raise InvalidRequest("`query` must be a string")
    if name is not None and not isinstance(name, str):
        raise InvalidRequest("`operationName` must be a string")
    if extensions is not None and not isinstance(extensions, dict):
        raise InvalidRequest("`extensions` must be an object")
    return None if any(name.casefold() == _PERSISTED_QUERY for name in extensions or ()) else query


def _parse_document(text: str, max_tokens: int) -> _ParsedDocument:
    # Imported with the first query, so that it does not delay the start.
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, Source  # noqa: PLC0415
    from graphql.language.parser import Parser  # noqa: PLC0415

    has_disputed_line_end = not _DISPUTED_LINE_ENDS.isdisjoint(text)
    parser = Parser(Source(text), no_location=True, max_lexical_tokens=max_tokens)
    try:
        document = parser.parse_document()
    except (GraphQLError, RecursionError):
        return _ParsedDocument(parser.token_count, may_mutate=True)
    operations = {
        definition.operation for definition in document.definitions if isinstance(definition, OperationDefinitionNode)
    }
    may_mutate = has_disputed_line_end or operations != {OperationType.QUERY}
    return _ParsedDocument(parser.token_count, may_mutate=may_mutate)


def _too_large(limit: str) -> RequestTooLarge:
    return RequestTooLarge(f"{limit}; send smaller documents, or fewer in one request", code="query_too_complex")
