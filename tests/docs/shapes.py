"""Compares an example of the documentation with an actual response."""

from typing import Any

# Objects whose fields are chosen by callers or depend on the event.
_FREE_FORM = {"metadata", "detail", "data"}


def require_same_shape(where: str, example: Any, actual: Any) -> None:
    """Require the same names and types, but not the same values. Null matches everything."""
    if isinstance(example, dict) and isinstance(actual, dict):
        assert example.keys() == actual.keys(), where
        for name, value in example.items():
            if name not in _FREE_FORM or "user" in (actual[name] or {}):
                require_same_shape(f"{where}.{name}", value, actual[name])
    elif isinstance(example, list) and isinstance(actual, list):
        for value, found in zip(example, actual, strict=False):
            require_same_shape(f"{where}[]", value, found)
    elif example is not None and actual is not None:
        assert type(example) is type(actual), f"{where}: the example has {example!r}, the response {actual!r}"
