# SPDX-License-Identifier: MIT
"""The driver on the page for driver authors is complete, is found, and passes the conformance suite."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mrv_core.driver import AnchorDriver, ReplacingDriver, SearchingDriver
from mrv_core.testing.conformance import DriverConformance
from mrv_core.testing.memory import Fault

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-driver.md"
FILE_BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The page's files, installed as a distribution the way an installer leaves it behind."""
    for name, content in FILE_BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, encoding="utf-8")
    described = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = "".join(f"{name} = {place}\n" for name, place in described["entry-points"]["mrv.drivers"].items())
    info = tmp_path / "mrv_folder-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {described['name']}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mrv.drivers]\n{points}")
    return tmp_path


def python(project: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_driver_passes_the_suite(project):
    output = python(project, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "tests")
    passed = re.search(r"(\d+) passed", output)
    scenarios = [name for name in dir(DriverConformance) if name.startswith("test_")]
    assert passed is not None
    assert int(passed[1]) > len(scenarios), "some scenarios are parametrised, few are skipped"
    assert "failed" not in output


def test_the_driver_is_found_and_configured(project):
    program = """
        from mrv_core.config import load_config
        from mrv_core.registry import Registry
        registry = Registry.load()
        sections = {"folder": {}, "second": {"driver": "folder", "path": "/mnt/usb"}}
        config = load_config({"blockchain": sections}, environment={"MRV_FOLDER_PATH": "/srv"}, registry=registry)
        print(registry.factory("folder").summary)
        print(*(network.settings.path for network in config.networks.values()))
    """
    output = python(project, "-c", inspect.cleandoc(program))
    assert output.splitlines() == ["one file for each anchor, in a folder that others keep too", "/srv /mnt/usb"]


def test_the_page_names_everything():
    page = PAGE.read_text(encoding="utf-8")
    hooks = [name for name in dir(DriverConformance) if not name.startswith(("_", "test_")) and name != "anchor"]
    protocols = (AnchorDriver, ReplacingDriver, SearchingDriver)
    methods = [name for kind in protocols for name in vars(kind) if callable(getattr(kind, name)) and name[0] != "_"]
    assert {"settle", "reorg", "context", "overtake"} <= set(hooks)
    assert {"prepare", "verify", "close", "replace", "find"} <= set(methods)
    missing = [name for name in (*hooks, *methods, *Fault) if f"`{name}" not in page]
    assert not missing
