"""Checks of the alert rules that need no promtool; `make alerts` runs the others."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.series import exported_series, selected_series

DIRECTORY = Path("deploy/prometheus")
RULES = [rule for group in yaml.safe_load((DIRECTORY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_selects_existing_metrics_and_labels(rule: dict[str, Any]) -> None:
    exported = exported_series()
    selected = list(selected_series(rule["expr"]))
    assert selected
    for name, labels in selected:
        assert name in exported, f"there is no metric {name}"
        assert set(labels) <= exported[name], f"{name} has no such label"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_has_a_runbook_and_a_severity(rule: dict[str, Any]) -> None:
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor == rule["alert"].lower()
    assert f"\n## {rule['alert']}\n" in Path(page).read_text()


def test_every_rule_is_tested_and_every_runbook_has_a_rule() -> None:
    names = {rule["alert"] for rule in RULES}
    tested = {
        case["alertname"]
        for test in yaml.safe_load((DIRECTORY / "test_alerts.yml").read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert tested == names
    runbooks = re.findall(r"(?m)^## (\w+)$", Path("docs/operations/alerts.md").read_text())
    assert set(runbooks) == names
    assert len(runbooks) == len(names)


def test_the_selected_series_of_an_expression_are_found() -> None:
    expression = 'sum(rate(broker_nothing_total{route="/a/{b}", status=~"5.."}[5m])) > 1 and up == 1'
    assert list(selected_series(expression)) == [("broker_nothing_total", ["route", "status"]), ("up", [])]
