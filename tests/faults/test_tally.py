# SPDX-License-Identifier: MIT
"""The table of `make faults` adds up, and says when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults import tally

RIGHT = {"fired": 2, "planned": 2, "lost": 0, "duplicated": 0, "fsck_errors": 0}


def test_what_is_counted_is_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tally.jsonl"
    monkeypatch.setenv("MRV_FAULTS_TALLY", str(file))
    for network in ("ethereum", "ethereum", "bitcoin"):
        tally.count("killed", network, **RIGHT)
    text, right = tally.table(file.read_text().splitlines())
    assert right
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["killed", "ethereum", "2", "4", "4", "0", "0", "0"],
        ["killed", "bitcoin", "1", "2", "2", "0", "0", "0"],
        ["everything", "all", "3", "6", "6", "0", "0", "0"],
    ]
    done = subprocess.run([sys.executable, tally.__file__, file], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{text}\n")


@pytest.mark.parametrize("wrong", [{"fired": 1}, {"lost": 1}, {"duplicated": 1}, {"fsck_errors": 1}])
def test_what_is_wrong_fails_at_once_and_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, int]
) -> None:
    file = tmp_path / "tally.jsonl"
    monkeypatch.setenv("MRV_FAULTS_TALLY", str(file))
    with pytest.raises(AssertionError, match="killed on ethereum"):
        tally.count("killed", "ethereum", **{**RIGHT, **wrong})
    assert not tally.table(file.read_text().splitlines())[1]
    assert subprocess.run([sys.executable, tally.__file__, file], capture_output=True).returncode == 1


def test_nothing_counted_is_not_right() -> None:
    assert not tally.table([])[1]
    assert not tally.table([json.dumps({"what": "x", "network": "y", **RIGHT, "fired": 3})])[1]
