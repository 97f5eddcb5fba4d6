"""The time series of the broker's metrics, and those that a PromQL expression selects."""

import re
from collections.abc import Iterator

from prometheus_client.metrics import MetricWrapperBase

from app.observability import metrics

# Prometheus adds this series for each target.
_UP = {"up": {"job", "instance"}}
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def exported_series() -> dict[str, set[str]]:
    """Return the names and the labels of all series of the broker's metrics."""
    labels = dict(_UP)
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            description = next(iter(metric.describe()))
            for suffix in _SUFFIXES[description.type]:
                labels[description.name + suffix] = {*metric._labelnames, "instance", "job"}
                if suffix == "_bucket":
                    labels[description.name + suffix].add("le")
    return labels


def selected_series(expression: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each series that an expression selects, with the labels that it selects by."""
    for name, matchers in re.findall(r'\b(up|broker_\w+)\b(?:\{((?:"[^"]*"|[^"}])*)\})?', expression):
        yield name, re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", matchers)
