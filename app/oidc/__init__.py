"""OpenID Connect as a client speaks it. Knows neither database nor web framework."""
