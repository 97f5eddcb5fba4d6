"""The schema, as far as public clients of Stitch use it."""

import strawberry
from graphql import GraphQLError
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from sandbox.graphql.mutations import Mutation, PaymentInitiation, ReauthorizationRequired
from sandbox.graphql.queries import Query
from sandbox.graphql.scalars import SCALARS


class Schema(strawberry.Schema):
    """Logs what went wrong here, and not what the bank refused on purpose."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Leave out errors that a resolver raised as GraphQL errors, and wrong queries."""
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
