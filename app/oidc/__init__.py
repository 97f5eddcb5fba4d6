"""OpenID Connect client. Imports neither the database nor the web framework."""
