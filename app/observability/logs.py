"""Logs: one JSON object per line, with the event name first, and the ids of the request and the trace if there are any.

Loggers are only given values that are safe to read; there is no filter that would have to find secrets.
"""

import logging
import sys
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO, cast

from app.observability.access_log import AccessLog, ServedRequest
from app.observability.trace_context import current_trace_context

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Libraries that log parameters or whole URLs below the level WARNING.
_NOISY_LIBRARIES = (
    "httpx",
    "httpcore",
    "aiohttp.access",
    "asyncio",
    "sqlalchemy.engine",
    "urllib3",
    "uvicorn.access",
)

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def set_request_id(request_id: str) -> None:
    """Set the id that the log lines of this request, and of the tasks that it starts, contain."""
    _request_id.set(request_id)


def current_request_id() -> str | None:
    """Return the id of the current request, or None outside a request."""
    return _request_id.get()


def log_request(request: ServedRequest, seconds: float) -> None:
    """Write the access line of a request that took `seconds`."""
    if _write_access_line is not None:
        _write_access_line(request, seconds)


class _Logger:
    """Imports structlog for its first line, so that a command that logs nothing starts sooner."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        import structlog  # noqa: PLC0415

        return cast("Callable[..., Any]", getattr(structlog.get_logger(module=self._name), method))


def get_logger(name: str) -> "FilteringBoundLogger":
    """Return a logger whose lines carry `name`, the module that logs."""
    return cast("FilteringBoundLogger", _Logger(name))


def configure_logs(level: str, style: str, stream: TextIO | None = None) -> None:
    """Write the logs of the process and its libraries to `stream` (default: standard error), as `json` or `console`."""
    import structlog  # noqa: PLC0415

    shared: list[structlog.typing.Processor] = [
        _add_request_and_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [_hide_error_messages, structlog.processors.JSONRenderer()]
        if style == "json"
        else [_hide_error_messages, _format_exception, structlog.dev.ConsoleRenderer()]
    )
    output = stream or sys.stderr
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _add_library_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderer,
            ],
        )
    )
    global _write_access_line  # noqa: PLW0603 - per process, like the configuration of structlog and logging
    _write_access_line = _access_writer(level, style, output)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[level])
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    for name in _NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It would log the `tracestate` that callers have sent.
    logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)


_AccessWriter = Callable[[ServedRequest, float], None]
_write_access_line: _AccessWriter | None = None


def _access_writer(level: str, style: str, output: TextIO) -> _AccessWriter | None:
    if _LEVELS[level] > logging.INFO:
        return None
    if style == "console":
        return _write_to_console
    access_log = AccessLog(output)

    def write(request: ServedRequest, seconds: float) -> None:
        trace = current_trace_context()
        access_log.write(request, seconds, request_id=_request_id.get(), trace_id=trace.trace_id if trace else None)

    return write


def _write_to_console(request: ServedRequest, seconds: float) -> None:
    get_logger("app.access").info("request", **request._asdict(), milliseconds=round(seconds * 1000, 1))


def _add_request_and_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    request_id = _request_id.get()
    if request_id is not None:
        event["request_id"] = request_id
    if trace := current_trace_context():
        event["trace_id"] = trace.trace_id
    return event


def _add_library_name(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["module"] = record.name
    return event


def _hide_error_messages(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace a traceback by types and code locations: messages of third-party exceptions may quote a secret."""
    exc_info = event.pop("exc_info", None)
    if not exc_info:
        return event
    error = (
        exc_info
        if isinstance(exc_info, BaseException)
        else (exc_info[1] if isinstance(exc_info, tuple) else sys.exc_info()[1])
    )
    chain: list[dict[str, Any]] = []
    while error is not None and len(chain) < 5:
        frames: list[str] = []
        traceback = error.__traceback__
        while traceback is not None:
            code = traceback.tb_frame.f_code
            frames.append(f"{code.co_filename.rpartition('/site-packages/')[2]}:{traceback.tb_lineno} {code.co_name}")
            traceback = traceback.tb_next
        chain.append({"type": f"{type(error).__module__}.{type(error).__qualname__}", "frames": frames[-12:]})
        error = error.__cause__ or error.__context__
    event["exception"] = chain
    return event


def _format_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if "exception" in event:
        causes = [f"{cause['type']}\n  " + "\n  ".join(cause["frames"]) for cause in event["exception"]]
        event["exception"] = "\n".join(causes)
    return event
