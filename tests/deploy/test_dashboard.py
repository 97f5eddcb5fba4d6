"""Grafana's dashboard: it asks for what there is."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.series import selectors, series

DASHBOARD: dict[str, Any] = json.loads(Path("deploy/grafana/dashboards/broker.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    known = series()
    for target in panel["targets"]:
        asked = [one for one in selectors(target["expr"]) if not one[0].startswith("process_")]
        assert asked or "process_" in target["expr"]
        for name, labels in asked:
            assert name in known, f"there is no metric {name}"
            assert set(labels) <= known[name], f"{name} has no such label"


def test_panels_do_not_lie_over_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
