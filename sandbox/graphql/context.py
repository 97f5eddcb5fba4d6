"""The context of a GraphQL request: the bank, the access token, and the data that its consent covers."""

from dataclasses import dataclass

from graphql import GraphQLError
from strawberry.types import Info

from sandbox.bank import Bank
from sandbox.customers import Account, Customer
from sandbox.tokens import AccessToken


@dataclass(frozen=True)
class Context:
    """The bank and the access token of one request."""

    bank: Bank
    access_token: AccessToken

    @property
    def customer(self) -> Customer:
        """The customer who consented."""
        return self.bank.customers[self.access_token.family.consent.sub]

    @property
    def visible_accounts(self) -> list[Account]:
        """The accounts that the customer ticked."""
        ticked = self.access_token.family.consent.account_ids
        return [account for account in self.customer.accounts if account.id in ticked]

    def require(self, scope: str) -> None:
        """Raise Stitch's FORBIDDEN unless the token has this scope."""
        if scope not in self.access_token.scope:
            raise GraphQLError("Missing required scopes", extensions={"code": "FORBIDDEN", "missingScopes": [scope]})


GraphQLInfo = Info[Context, None]
