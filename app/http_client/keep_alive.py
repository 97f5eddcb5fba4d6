"""How long a server says that it keeps an idle connection."""

import re
from functools import lru_cache

_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?(\d{1,6})", re.IGNORECASE)


@lru_cache(maxsize=16)
def idle_limit(keep_alive: str, otherwise: float) -> float:
    """Return the seconds after which an idle connection must not be used again, as a `Keep-Alive` header has it.

    RFC 2068, section 19.7.1.1: Node sends it with 5 seconds. A second less, since the request needs its time to get
    there: what is written to a connection that is just being closed can be neither answered nor repeated.
    """
    match = _TIMEOUT.search(keep_alive)
    if match is None:
        return otherwise
    announced = float(match[1])
    return min(otherwise, max(announced - 1, announced / 2))
