"""Compares what a step expects with what it got."""


class Unexpected(Exception):
    """A step did not get what it expects, so it fails."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected {expected}, got {actual}")
        self.expected = expected
        self.actual = actual


def expect(expected: object, actual: object, *, what: str) -> None:
    """Raise Unexpected unless both are equal. `what` names the compared value."""
    if expected != actual:
        raise Unexpected(f"{what}: {expected}", str(actual))


def expect_that(condition: bool, *, expected: str, actual: object) -> None:
    """Raise Unexpected unless `condition` is true."""
    if not condition:
        raise Unexpected(expected, str(actual))
