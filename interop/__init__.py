"""`make interop`: tests the broker against a certified third-party OpenID provider and third-party GraphQL clients."""
