"""The permissions of callers."""

from enum import StrEnum


class Permission(StrEnum):
    """A permission that can be granted to a caller."""

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
