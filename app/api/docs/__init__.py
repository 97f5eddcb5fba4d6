"""The OpenAPI document and the pages under /docs."""
