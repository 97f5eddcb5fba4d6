"""SQLAlchemy's asyncio engine without the ORM, which the broker does not use.

`import sqlalchemy.ext.asyncio` imports the whole ORM too, which costs 6 MiB of memory and a tenth of a start's CPU. So
the package is registered here without running its `__init__`, which runs when something asks for one of its names.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING

__all__ = ["AsyncConnection", "create_async_engine"]

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

_PACKAGE = "sqlalchemy.ext.asyncio"


def _register_package() -> None:
    spec = find_spec(_PACKAGE)
    assert spec is not None
    loader = spec.loader
    assert loader is not None
    package = module_from_spec(spec)

    def load_name(name: str) -> object:
        if find_spec(f"{_PACKAGE}.{name}") is not None:
            # A submodule, which the import system finds by itself.
            raise AttributeError(name)
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, name)

    vars(package)["__getattr__"] = load_name
    sys.modules[_PACKAGE] = package
    vars(import_module("sqlalchemy.ext"))["asyncio"] = package


if not TYPE_CHECKING:
    if _PACKAGE not in sys.modules:
        _register_package()
    _engine = import_module(f"{_PACKAGE}.engine")
    AsyncConnection, create_async_engine = _engine.AsyncConnection, _engine.create_async_engine
