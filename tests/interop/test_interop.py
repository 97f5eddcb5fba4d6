"""The parts of `make interop` that work without Node."""

import json
import re
import stat
from pathlib import Path

import pytest

from interop.node import NODE_DIRECTORY, NodeUnavailable, require_node
from interop.report import CheckFailed, Report, expect
from interop.variants import METHODS, select_variants


def test_without_node_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NodeUnavailable, match=r"needs Node 20\.9 or newer with npm: install"):
        require_node()


def test_an_old_node_is_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("node", "npm"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho v18.19.0\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(NodeUnavailable, match=r"but this is v18\.19\.0"):
        require_node()


def test_the_lock_file_has_hashes_but_no_download_urls() -> None:
    """The registry is a choice of the machine that installs; the hashes fix the content."""
    packages = json.loads((NODE_DIRECTORY / "package-lock.json").read_text())["packages"]
    dependencies = {name: package for name, package in packages.items() if name}
    assert dependencies
    assert all("resolved" not in package and package["integrity"] for package in dependencies.values())


def test_a_failed_step_ends_its_section_and_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    report, completed = Report(), []
    with report.section("first"):
        with report.step("passes"):
            completed.append("passes")
        with report.step("does not"):
            expect(False, "what was found")
        completed.append("never")
    with report.section("second"):
        raise ValueError("between steps")
    with report.section("third"), report.step("passes too"):
        completed.append("passes too")
    assert not report.print_summary()
    assert completed == ["passes", "passes too"]
    printed = capsys.readouterr().out
    assert re.search(r"ok    passes \(", printed)
    assert "FAIL  does not: CheckFailed: what was found" in printed
    assert "FAIL  outside the steps: ValueError: between steps" in printed


def test_a_run_without_a_failure_passes(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    with report.section("first"), report.step("passes"):
        expect(True, "")
    assert report.print_summary()
    assert "all 1 steps passed" in capsys.readouterr().out
    with pytest.raises(CheckFailed):
        expect(False, "why")


def test_a_full_run_has_every_authentication_method_and_a_quick_run_has_one() -> None:
    assert [variant.method for variant in select_variants(fapi=True, quick=False)] == list(METHODS)
    assert [len(select_variants(fapi=fapi, quick=True)) for fapi in (False, True)] == [1, 1]
