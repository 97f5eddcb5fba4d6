"""Where the database is: the one that the settings name, or the embedded one."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from app.settings import DatabaseSettings


@contextmanager
def database_address(settings: DatabaseSettings) -> Iterator[SecretStr]:
    """Yield the address of the database; the embedded one runs for as long as the block.

    Raises ConfigurationError where neither is there.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    from app.store.postgresql.embedded import embedded_postgresql  # noqa: PLC0415 - uses what only Unix has

    with embedded_postgresql(settings.data_dir) as url:
        yield url
