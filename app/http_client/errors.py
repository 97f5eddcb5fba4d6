"""What can go wrong between a request and the end of its answer, told apart by what the origin may have done with it.

    WireError
    ├── Congested              every connection is taken, and so is the queue: nothing was written
    ├── NotSent                no connection could be opened: nothing was written, so it may be tried again
    │   ├── ConnectTimedOut
    │   └── PoolClosed
    ├── Unanswered             written, perhaps in part, and not a byte came back: it may have been processed
    │   └── FirstByteTimedOut
    └── Broken                 the answer ended, or ceased to be HTTP, in the middle: it was processed
        ├── BetweenBytesTimedOut
        ├── WholeTimedOut
        └── Malformed

`TimedOut` stands beside the tree and catches all that are for want of time. No message holds anything of a request or
of an answer.
"""


class WireError(Exception):
    """A request that did not end with a whole answer."""


class TimedOut(Exception):
    """Beside a WireError: it was for want of time."""


class Congested(WireError):
    """Too many requests are waiting for a connection already, or this one has waited for too long."""


class NotSent(WireError):
    """No connection could be opened; nothing of the request was written."""


class ConnectTimedOut(NotSent, TimedOut):
    """No connection could be opened in time."""


class PoolClosed(NotSent):
    """The pool takes no requests any more."""


class Unanswered(WireError):
    """The request was written, at least in part, and nothing came back."""


class FirstByteTimedOut(Unanswered, TimedOut):
    """The request was written, and nothing came back in time."""


class Broken(WireError):
    """The answer has begun, and cannot be had to its end."""


class BetweenBytesTimedOut(Broken, TimedOut):
    """The answer has begun, and then nothing more of it came for too long."""


class WholeTimedOut(Broken, TimedOut):
    """The answer has begun, and has not come to its end within the time for the whole exchange."""


class Malformed(Broken):
    """What came is not an HTTP/1.1 response, or one that nobody should send."""
