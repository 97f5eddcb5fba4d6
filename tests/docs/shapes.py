"""Compares what is shown with what was answered."""

from typing import Any

# What callers put in themselves, and what differs from event to event.
_FREE = {"metadata", "detail", "data"}


def require_same_shape(where: str, shown: Any, answered: Any) -> None:
    """Compare names and types; the values are of this run. What may be null may be so on one side."""
    if isinstance(shown, dict) and isinstance(answered, dict):
        assert shown.keys() == answered.keys(), where
        for name, value in shown.items():
            if name not in _FREE or "user" in (answered[name] or {}):
                require_same_shape(f"{where}.{name}", value, answered[name])
    elif isinstance(shown, list) and isinstance(answered, list):
        for value, found in zip(shown, answered, strict=False):
            require_same_shape(f"{where}[]", value, found)
    elif shown is not None and answered is not None:
        assert type(shown) is type(answered), f"{where}: {shown!r} is shown, {answered!r} was answered"
