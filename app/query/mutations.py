"""Tells queries from mutations, by parsing each distinct document once.

The strictest reading counts: whatever a server could take for a mutation is one. Parsing holds up everybody's queries,
so what one request may have parsed is bounded before it is, and tenants take turns.
"""

import hashlib
from typing import NamedTuple, TypeVar

from app.base.strict_json import parse_json
from app.errors import InvalidRequest, RequestTooLarge
from app.query.fair_queue import FairQueue

# Of one request, all its documents together: what they hold at most, which takes tens of milliseconds to parse.
MOST_DOCUMENTS = 20
MOST_DOCUMENT_BYTES = 65_536
MOST_TOKENS = 4_000
# Objects and lists, which take longest to read for their bytes.
MOST_BRACKETS = 20_000
_REMEMBERED = 1_000
# Others name a document that is not there (`id`, `documentId`), or are another server's spelling of these (`Query`).
_MEMBERS = frozenset(("query", "variables", "operationName", "extensions"))
_PERSISTED = "persistedquery"
# What ends a line, and so a comment, for some readers and not for others: the specification of 2015 had two of them.
_ODD_LINE_ENDS = frozenset("\u2028\u2029\x85\v\f\0")
Value = TypeVar("Value")


class _Parsed(NamedTuple):
    tokens: int
    """Comments included."""
    may_mutate: bool


class MutationDetector:
    """Tells queries from mutations."""

    def __init__(self) -> None:
        self._queue = FairQueue()
        # By digest: a body may hold what is not to be kept.
        self._judged: dict[bytes, bool] = {}
        self._parsed: dict[bytes, _Parsed] = {}

    async def may_mutate(self, tenant: str, caller_id: str, body: bytes) -> bool:
        """Tell whether any operation of a caller's request body, or of a batch of them, is or may be no mere query.

        What cannot be told counts as a mutation: a document that does not parse here, or that the bank knows by a
        reference; and one that holds a mutation does, whichever of its operations is meant. Raises InvalidRequest where
        the body is no GraphQL request at all, RequestTooLarge where it is too much to be looked into, and
        BrokerUnavailable where others' bodies took too long.
        """
        # The same bodies come again and again: many have no variables, and the connection is not in them.
        # Of each tenant apart: how long an answer takes must not tell what values others have sent with a document.
        digest = hashlib.sha256(f"{tenant}\0".encode() + body).digest()
        known = self._judged.get(digest)
        if known is None:
            async with self._queue.turn(tenant, caller_id):
                known = self._judge(body)
            _remember(self._judged, digest, known)
        return known

    def _judge(self, body: bytes) -> bool:
        requests = _read(body)
        # Each is looked at, so that a batch is refused for any part of it that is no request.
        documents = [_document_of(one) for one in requests]
        texts = [text.encode("utf-8", "surrogatepass") for text in documents if text is not None]
        if sum(map(len, texts)) > MOST_DOCUMENT_BYTES:
            raise _too_large(f"the `query` texts of a request may have {MOST_DOCUMENT_BYTES} bytes together")
        may_mutate = len(texts) < len(documents)
        tokens_left = MOST_TOKENS
        for text in texts:
            parsed = self._parse(text, tokens_left)
            tokens_left -= parsed.tokens
            may_mutate = may_mutate or parsed.may_mutate
        return may_mutate

    def _parse(self, text: bytes, most_tokens: int) -> _Parsed:
        digest = hashlib.sha256(text).digest()
        known = self._parsed.get(digest)
        if known is None:
            known = _parse(text.decode("utf-8", "surrogatepass"), most_tokens)
            # What has more than all that a request may have is refused the next time without a look.
            if known.tokens <= most_tokens or most_tokens == MOST_TOKENS:
                _remember(self._parsed, digest, known)
        if known.tokens > most_tokens:
            raise _too_large(f"the `query` texts of a request may have {MOST_TOKENS} tokens together")
        return known


def _remember(memory: dict[bytes, Value], digest: bytes, value: Value) -> None:
    if len(memory) >= _REMEMBERED:
        del memory[next(iter(memory))]
    memory[digest] = value


def _read(body: bytes) -> list[object]:
    """Return the requests of a body: one, or those of a batch."""
    if body.count(b"{") + body.count(b"[") > MOST_BRACKETS:
        raise _too_large(f"a request may hold {MOST_BRACKETS} objects and lists")
    try:
        request = parse_json(body, strict=True)
    except ValueError as error:
        raise InvalidRequest("the body must be JSON, with `query`, `variables`, `operationName` each once") from error
    if not isinstance(request, list):
        return [request]
    if not request:
        raise InvalidRequest("the batch is empty")
    if len(request) > MOST_DOCUMENTS:
        raise _too_large(f"a batch may have {MOST_DOCUMENTS} requests")
    return request


def _document_of(request: object) -> str | None:
    """Return the text of a request's document; None where the request may be for another than that."""
    if not isinstance(request, dict):
        raise InvalidRequest("the body must be an object with `query`, or a list of such objects")
    query, name, extensions = request.get("query"), request.get("operationName"), request.get("extensions")
    if not request.keys() <= _MEMBERS or (query is None and extensions is not None):
        return None
    if not isinstance(query, str):
        raise InvalidRequest("`query` must be a text")
    if name is not None and not isinstance(name, str):
        raise InvalidRequest("`operationName` must be a text")
    if extensions is not None and not isinstance(extensions, dict):
        raise InvalidRequest("`extensions` must be an object")
    return None if any(name.casefold() == _PERSISTED for name in extensions or ()) else query


def _parse(text: str, most_tokens: int) -> _Parsed:
    # Imported with the first query, because a start need not wait for it.
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, Source  # noqa: PLC0415
    from graphql.language.parser import Parser  # noqa: PLC0415

    ends_lines_elsewhere = not _ODD_LINE_ENDS.isdisjoint(text)
    parser = Parser(Source(text), no_location=True, max_lexical_tokens=most_tokens)
    try:
        document = parser.parse_document()
    except (GraphQLError, RecursionError):
        return _Parsed(parser.token_count, may_mutate=True)
    operations = {part.operation for part in document.definitions if isinstance(part, OperationDefinitionNode)}
    return _Parsed(parser.token_count, may_mutate=ends_lines_elsewhere or operations != {OperationType.QUERY})


def _too_large(bound: str) -> RequestTooLarge:
    return RequestTooLarge(f"{bound}; send smaller documents, or fewer at once", code="query_too_complex")
