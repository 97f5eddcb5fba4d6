"""Tests of `app.http_client`."""
