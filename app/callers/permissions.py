"""What a caller can be allowed to do."""

from enum import StrEnum


class Permission(StrEnum):
    """What a caller can be allowed."""

    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    CONNECTIONS_READ = "connections:read"
    CONNECTIONS_WRITE = "connections:write"
    GRAPHQL_QUERY = "graphql:query"
    GRAPHQL_MUTATE = "graphql:mutate"
    TOKENS_READ = "tokens:read"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    AUDIT_READ = "audit:read"
    ADMIN = "admin"
