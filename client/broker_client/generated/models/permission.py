from enum import StrEnum


class Permission(StrEnum):
    ADMIN = "admin"
    AUDITREAD = "audit:read"
    CONNECTIONSREAD = "connections:read"
    CONNECTIONSWRITE = "connections:write"
    GRAPHQLMUTATE = "graphql:mutate"
    GRAPHQLQUERY = "graphql:query"
    SESSIONSREAD = "sessions:read"
    SESSIONSWRITE = "sessions:write"
    TOKENSREAD = "tokens:read"
    WEBHOOKSREAD = "webhooks:read"
    WEBHOOKSWRITE = "webhooks:write"

    def __str__(self) -> str:
        return str(self.value)
