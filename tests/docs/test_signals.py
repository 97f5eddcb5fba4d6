"""docs/operations/signals.md: every metric and every log event has a row, and every row has one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from app.observability import metrics

APP = Path("app")
PAGE = Path("docs/operations/signals.md").read_text()
_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
_LOGGED_AS = {"exception": "error"}


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the one table below a heading."""
    section = re.split(r"(?m)^## ", PAGE.partition(f"## {heading}\n")[2])[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def events_of(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Give the event and the level of each call of a logger."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"), attr=method), args=[event, *_]):
                assert method in _LEVELS
                # A name that is not written out here is found nowhere, neither by this test nor by a reader.
                assert isinstance(event, ast.Constant), ast.unparse(node)
                yield str(event.value), _LOGGED_AS.get(method, method)


def logged() -> dict[str, set[str]]:
    """Return the levels of every event that the broker logs."""
    found: dict[str, set[str]] = {"request": {"info"}}  # the access line, which goes past the loggers
    for path in APP.rglob("*.py"):
        for event, level in events_of(ast.parse(path.read_text())):
            found.setdefault(event, set()).add(level)
    return found


def test_every_log_event_has_a_row_with_its_level_and_every_row_an_event() -> None:
    documented: dict[str, set[str]] = {}
    for events, levels, _ in rows_of("Logs"):
        names = named_in(events)
        for name in names:
            assert name not in documented, f"{name} has two rows"
            documented[name] = set(levels.split(", "))
    found = logged()
    assert set(documented) == set(found)
    for name, levels_found in found.items():
        assert levels_found <= documented[name], name


def test_every_metric_has_a_row_with_its_labels_and_every_row_a_metric() -> None:
    documented = {named_in(name)[0]: named_in(labels) for name, labels, _ in rows_of("Metrics")}
    found: dict[str, list[str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            described = next(iter(metric.describe()))
            name = f"{described.name}_total" if described.type == "counter" else described.name
            found[name] = list(metric._labelnames)
    assert documented == found


def test_names_follow_the_conventions() -> None:
    for name, _, _ in rows_of("Metrics"):
        assert re.fullmatch(r"broker(_[a-z]+)+", named_in(name)[0])


def test_a_log_event_without_a_row_is_found() -> None:
    tree = ast.parse('logger.warning("nobody_knows", code=1)\nlogger.exception("a_fault")\nother.info("no event")')
    assert list(events_of(tree)) == [("nobody_knows", "warning"), ("a_fault", "error")]
