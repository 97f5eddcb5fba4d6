"""The interface of everything that `node(id)` finds."""

import strawberry


@strawberry.interface
class Node:
    """Something with an identifier of its own."""

    id: strawberry.ID
