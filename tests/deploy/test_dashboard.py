"""The Grafana dashboard."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.series import exported_series, selected_series

DASHBOARD: dict[str, Any] = json.loads(Path("deploy/grafana/dashboards/broker.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_selects_existing_metrics_and_labels(panel: dict[str, Any]) -> None:
    exported = exported_series()
    for target in panel["targets"]:
        selected = list(selected_series(target["expr"]))
        assert selected or "process_" in target["expr"]
        for name, labels in selected:
            assert name in exported, f"there is no metric {name}"
            assert set(labels) <= exported[name], f"{name} has no such label"


def test_panels_do_not_overlap() -> None:
    occupied: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        position = panel["gridPos"]
        cells = {(position["x"] + x, position["y"] + y) for x in range(position["w"]) for y in range(position["h"])}
        assert not cells & occupied
        assert position["x"] + position["w"] <= 24
        occupied |= cells
