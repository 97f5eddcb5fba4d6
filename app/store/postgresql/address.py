"""The address of the database: from the settings, or of the embedded server."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from app.settings import DatabaseSettings


@contextmanager
def database_address(settings: DatabaseSettings) -> Iterator[SecretStr]:
    """Yield the address of the database. The embedded server, if it is used, runs until the block ends.

    Raises ConfigurationError if no address is set and the embedded server is not available.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    from app.store.postgresql.embedded import embedded_postgresql  # noqa: PLC0415 - imports fcntl, which only Unix has

    with embedded_postgresql(settings.data_dir) as url:
        yield url
