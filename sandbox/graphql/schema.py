"""The part of Stitch's GraphQL schema that its public clients use."""

import strawberry
from graphql import GraphQLError
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from sandbox.graphql.mutations import Mutation, PaymentInitiation, ReauthorizationRequired
from sandbox.graphql.queries import Query
from sandbox.graphql.scalars import SCALARS


class Schema(strawberry.Schema):
    """Logs unexpected errors only, not those that the bank raises on purpose."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Skip invalid queries and the GraphQL errors raised by resolvers."""
        unexpected = [error for error in errors if not isinstance(error.original_error, GraphQLError | None)]
        super().process_errors(unexpected, execution_context)


schema = Schema(
    query=Query,
    mutation=Mutation,
    types=[PaymentInitiation, ReauthorizationRequired],
    # Load tests send the same few queries thousands of times.
    extensions=[ParserCache, ValidationCache],
    config=StrawberryConfig(scalar_map=SCALARS),
)
