"""What a step expected, and what came instead."""


class Unexpected(Exception):
    """Something else came than the step expects; it fails the step."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, came {came}")
        self.expected = expected
        self.came = came


def expect(expected: object, came: object, *, what: str) -> None:
    """Raise Unexpected unless both are equal. `what` says of what."""
    if expected != came:
        raise Unexpected(f"{what}: {expected}", str(came))


def expect_that(condition: bool, *, expected: str, came: object) -> None:
    """Raise Unexpected unless `condition` holds."""
    if not condition:
        raise Unexpected(expected, str(came))
