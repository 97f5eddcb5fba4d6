"""`make interop`: the broker against a certified OpenID provider and GraphQL clients that we did not write."""
