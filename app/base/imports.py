"""Imports that make a start cheaper."""

import gc
import sys
from importlib import import_module
from types import ModuleType


def import_large_module(name: str) -> ModuleType:
    """Import a module with the garbage collector paused, and exempt all that exists then from later collections.

    A large import creates hundreds of thousands of objects that live as long as the process. Scanning them again and
    again takes a seventh of the CPU time of a start.
    """
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def hide_package(name: str) -> None:
    """Make later imports of an optional package fail, so that libraries do without it."""
    # https://docs.python.org/3/reference/import.html#the-module-cache
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]
