"""Tests of `app.wire`."""
