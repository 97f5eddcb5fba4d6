"""The series that the broker's metrics make, and those that an expression of Prometheus asks for."""

import re
from collections.abc import Iterator

from prometheus_client.metrics import MetricWrapperBase

from app.observability import metrics

# What Prometheus itself tells of a target.
_PROMETHEUS = {"up": {"job", "instance"}}


def series() -> dict[str, set[str]]:
    """Return the labels of every series that the broker's metrics make."""
    found = dict(_PROMETHEUS)
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            described = next(iter(metric.describe()))
            suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
            for suffix in suffixes[described.type]:
                found[described.name + suffix] = {*metric._labelnames, "instance", "job"}
                if suffix == "_bucket":
                    found[described.name + suffix].add("le")
    return found


def selectors(expression: str) -> Iterator[tuple[str, list[str]]]:
    """Give each metric that an expression selects, and the labels that it selects by."""
    for name, matchers in re.findall(r'\b(up|broker_\w+)\b(?:\{((?:"[^"]*"|[^"}])*)\})?', expression):
        yield name, re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", matchers)
