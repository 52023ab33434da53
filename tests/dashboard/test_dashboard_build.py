# SPDX-License-Identifier: MIT
"""The committed page is what the committed sources make, byte for byte; and the tests of its modules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from dashboard.conftest import PAGE, ROOT

FOLDER = ROOT / "dashboard"
PROGRAMS = FOLDER / "node_modules" / ".bin"


@pytest.fixture(scope="module")
def programs() -> Path:
    """Return where the programs from npm are; missing ones fail in continuous integration and skip elsewhere."""
    if not PROGRAMS.is_dir() or shutil.which("node") is None:
        if os.environ.get("CI"):
            pytest.fail("the dashboard's packages are missing; run: make node-programs")
        pytest.skip("needs the dashboard's packages; run: make node-programs")
    return PROGRAMS


def run(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.node
def test_building_gives_the_committed_bytes(programs: Path, tmp_path: Path) -> None:
    run(programs / "vite", "build", "--outDir", tmp_path, "--logLevel", "error")
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert built == {path.name: path.read_bytes() for path in PAGE.parent.iterdir()}, "run: make dashboard"


@pytest.mark.node
def test_types(programs: Path) -> None:
    run(programs / "tsc")


@pytest.mark.node
def test_modules(programs: Path) -> None:
    run(programs / "vitest", "run")


def test_lock_file_names_no_registry_and_what_is_shipped_keeps_its_licence() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    packages = {path: entry for path, entry in lock["packages"].items() if path}
    assert not [path for path, entry in packages.items() if "resolved" in entry]
    assert not [path for path, entry in packages.items() if "integrity" not in entry]
    page = PAGE.read_text("utf-8")
    shipped = [path for path, entry in packages.items() if path.startswith("node_modules/@noble/") and entry["dev"]]
    assert len(shipped) == 2
    assert page.count("Permission is hereby granted, free of charge") == len(shipped)
