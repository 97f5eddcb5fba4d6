"""Fixtures for the tests of `app.http_client`."""

import pytest

from tests.http_client.certificates import Certificate, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate for `localhost`."""
    return make_certificate(tmp_path_factory.mktemp("tls"))
