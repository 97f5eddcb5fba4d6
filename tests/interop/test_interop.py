"""The harness of `make interop`, as far as it needs no Node."""

import json
import re
import stat
from pathlib import Path

import pytest

from interop.node import HERE, NodeMissing, require_node
from interop.report import Failed, Report, expect
from interop.variants import METHODS, variants_of


def test_a_machine_without_node_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NodeMissing, match=r"needs Node 20\.9 or newer with npm: install"):
        require_node()


def test_an_old_node_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("node", "npm"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho v18.19.0\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(NodeMissing, match=r"this is v18\.19\.0"):
        require_node()


def test_the_lock_names_no_address_to_fetch_from() -> None:
    """Whoever installs decides from where; what is installed is held by its hash."""
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    fetched = {name: package for name, package in packages.items() if name}
    assert fetched
    assert all("resolved" not in package and package["integrity"] for package in fetched.values())


def test_a_step_that_fails_ends_its_chapter_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    report, played = Report(), []
    with report.chapter("first"):
        with report.step("holds"):
            played.append("holds")
        with report.step("does not"):
            expect(False, "what was found")
        played.append("never")
    with report.chapter("second"):
        raise ValueError("between steps")
    with report.chapter("third"), report.step("holds too"):
        played.append("holds too")
    assert not report.verdict()
    assert played == ["holds", "holds too"]
    printed = capsys.readouterr().out
    assert re.search(r"ok    holds \(", printed)
    assert "FAIL  does not: Failed: what was found" in printed
    assert "FAIL  the steps between: ValueError: between steps" in printed


def test_nothing_that_failed_is_a_good_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    with report.chapter("first"), report.step("holds"):
        expect(True, "")
    assert report.verdict()
    assert "all 1 steps hold" in capsys.readouterr().out
    with pytest.raises(Failed):
        expect(False, "why")


def test_the_full_form_has_every_way_of_authentication_and_the_quick_one_has_one() -> None:
    assert [variant.method for variant in variants_of(fapi=True, quick=False)] == list(METHODS)
    assert [len(variants_of(fapi=fapi, quick=True)) for fapi in (False, True)] == [1, 1]
