"""What the checks of `broker doctor` report."""

from collections.abc import Awaitable
from dataclasses import dataclass

import httpx

from app.errors import BrokerError


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    healthy: bool
    finding: str
    mend: str = ""


async def attempt(check: str, mend: str, work: Awaitable[Finding]) -> Finding:
    """Return the finding of a check, or the error that it ended with and `mend`."""
    try:
        return await work
    except BrokerError as error:
        return Finding(check, False, f"{error.detail} ({error.reason})" if error.reason else error.detail, mend)
    except httpx.HTTPError as error:
        return Finding(check, False, type(error).__name__, mend)
