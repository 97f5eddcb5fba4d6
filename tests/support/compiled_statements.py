"""Shares compiled SQL statements between all engines of a test run.

SQLAlchemy caches them for each engine. Most tests open engines of their own, so compiling the same statements again and
again took a seventh of the CPU time.
"""

from functools import partial
from typing import Any

from sqlalchemy.engine import Compiled

from app.store.postgresql import asyncio_engine, database


class _SharedStatements:
    """A cache of compiled statements, as the execution option `compiled_cache` expects it.

    The first element of each key is the engine's dialect. It is ignored, because all engines use the same driver.
    """

    def __init__(self) -> None:
        self._compiled: dict[tuple[Any, ...], Compiled] = {}

    def get(self, key: tuple[Any, ...]) -> Compiled | None:
        """Return a statement, or None if it was not compiled yet."""
        return self._compiled.get(key[1:])

    def __setitem__(self, key: tuple[Any, ...], compiled: Compiled) -> None:
        self._compiled[key[1:]] = compiled


_STATEMENTS = _SharedStatements()


def share_compiled_statements() -> None:
    """Let every engine that is opened from now on use the shared statements."""

    create_async_engine = partial(asyncio_engine.create_async_engine, execution_options={"compiled_cache": _STATEMENTS})
    database.create_async_engine = create_async_engine  # type: ignore[attr-defined]
