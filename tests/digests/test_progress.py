# SPDX-License-Identifier: MIT
"""Progress bars: on a terminal, after a second, on stderr; silent everywhere else."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from mrv_core.digests import content_node
from mrv_core.progress import SILENT, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Return a function that makes stderr a terminal; called by the test itself, since pytest changes stderr too."""

    def make_terminal() -> Terminal:
        stream = Terminal()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return make_terminal


def test_short_work_draws_nothing(attach: Callable[[], Terminal]) -> None:
    terminal = attach()
    clock = Clock()
    with Progress(clock=clock).task("hashing x", total=100) as task:
        for _ in range(99):
            clock.now += 0.01
            task.advance(1)
    assert terminal.getvalue() == ""


def test_long_work_draws_a_bar_and_takes_it_away(attach: Callable[[], Terminal]) -> None:
    terminal = attach()
    clock = Clock()
    with Progress(clock=clock).task("hashing x [1]", total=4096) as task:
        for _ in range(4):
            clock.now += 0.5
            task.advance(1024)
    text = terminal.getvalue()
    assert "hashing x [1]" in text
    assert "4.0/4.0 KiB" in text
    assert text.endswith("\x1b[2K")


def test_bars_are_not_drawn_more_often_than_eyes_see(attach: Callable[[], Terminal]) -> None:
    terminal = attach()
    clock = Clock()
    with Progress(clock=clock).task("samples", total=1000, unit="samples") as task:
        clock.now += 2
        for _ in range(1000):
            clock.now += 0.001
            task.advance(1)
    assert 5 < terminal.getvalue().count("samples") < 60


@pytest.mark.parametrize("enabled", [False, None])
def test_silenced_by_choice_or_without_a_terminal(enabled: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal() if enabled is False else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    clock = Clock()
    progress = Progress(enabled, clock=clock)
    with progress.task("x") as task:
        clock.now += 10
        task.advance(1)
    assert task is SILENT
    assert stream.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    assert not Progress(True).visible


def test_inner_work_adds_to_the_outer_bar_of_the_same_unit(attach: Callable[[], Terminal]) -> None:
    terminal = attach()
    clock = Clock()
    progress = Progress(clock=clock)
    with progress.task("outer", total=3072) as outer:
        clock.now += 2
        with progress.task("inner", total=1024) as same:
            assert same is outer
            same.advance(1024)
        with progress.task("samples", total=10, unit="samples") as other:
            assert other is SILENT
            other.advance(5)
        clock.now += 1
        outer.advance(2048)
    text = terminal.getvalue()
    assert "3.0/3.0 KiB" in text
    assert "inner" not in text
    with progress.task("next", total=1) as following:
        assert following is not outer


def test_an_error_takes_the_bar_away(attach: Callable[[], Terminal]) -> None:
    terminal = attach()
    clock = Clock()
    progress = Progress(clock=clock)

    def fail() -> None:
        with progress.task("x", total=2) as task:
            clock.now += 2
            task.advance(1)
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    assert terminal.getvalue().endswith("\x1b[2K")
    with progress.task("y") as task:
        assert task is not SILENT


SLOW = """
import time, sys
import numpy as np
from mrv_core.digests import content_node
class Slow:
    def __len__(self): return 3
    def __getitem__(self, index):
        clock[0] += 0.7
        return np.arange(index)
clock = [0.0]
import mrv_core.progress
mrv_core.progress.Progress.__init__.__kwdefaults__["clock"] = lambda: clock[0]
content_node(Slow(), label="train", progress=%s)
sys.exit("rich" in sys.modules)
"""


@pytest.mark.parametrize(("progress", "shown"), [("None", True), ("True", True), ("False", False)])
def test_on_a_real_terminal(progress: str, shown: bool) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-c", SLOW % progress], stderr=follower, stdout=subprocess.PIPE, env=environment
    ) as process:
        os.close(follower)
        text = b""
        try:
            while part := os.read(leader, 4096):
                text += part
        except OSError:  # the other end is closed
            pass
        output = process.communicate()[0]
    os.close(leader)
    assert process.returncode == int(shown)
    assert output == b""
    assert (b"hashing train" in text) == shown
    assert (b"samples" in text) == shown


def test_bars_change_no_digest(attach: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = attach()
    content = {"a": np.arange(1000), "b": [np.ones(2)] * 5, "c": b"x" * 1000}
    quiet = content_node(content, progress=False)
    clock = Clock()
    monkeypatch.setitem(Progress.__init__.__kwdefaults__, "delay_s", -1.0)
    monkeypatch.setitem(Progress.__init__.__kwdefaults__, "clock", clock)
    assert content_node(content) == quiet
    assert "hashing content" in terminal.getvalue()
