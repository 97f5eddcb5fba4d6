"""The interface of the types that the query `node(id)` returns."""

import strawberry


@strawberry.interface
class Node:
    """An object with a globally unique identifier."""

    id: strawberry.ID
