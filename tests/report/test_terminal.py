# SPDX-License-Identifier: MIT
"""The report on a terminal: verdicts in words, names as text, nothing raw."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from mrv_core.models import Verdict
from mrv_core.report.model import Finding, IntegrityReport
from mrv_core.report.terminal import render_terminal
from mrv_core.report.text import verdict_word

MakeReport = Callable[..., IntegrityReport]

HOSTILE = "\x1b]0;owned\x07\x1b[2J[bold red]VALID[/] :bomb:\u202e\u200b\nverdict: VALID"
SHOWN = r"\x1b]0;owned\x07\x1b[2J[bold red]VALID[/] :bomb:\u202e\u200b\nverdict: VALID"


def _render(report: IntegrityReport, *, terminal: bool = False, width: int = 200) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=terminal, color_system="truecolor" if terminal else None, width=width
    )
    render_terminal(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_verdict_comes_first_in_words(verdict: Verdict, sample_report: MakeReport) -> None:
    report = sample_report(verdict)
    first, *_ = _render(report).splitlines()
    assert verdict_word(verdict) in first
    assert report.summary in _render(report)


def test_anchors_by_networks(sample_report: MakeReport) -> None:
    text = _render(sample_report(Verdict.PENDING))
    rows = [line for line in text.splitlines() if "-before_training" in line or "-after_training" in line]
    assert [row.count("VALID") for row in rows[:2]] == [3, 2]
    assert "⏳ PENDING" in rows[1]
    assert text.count("embedded") >= 3


def test_a_finding_names_the_exact_leaf_and_both_digests(sample_report: MakeReport) -> None:
    report = sample_report(Verdict.TAMPERED)
    text = _render(report)
    for value in (report.findings[0].place, report.findings[0].expected, report.findings[0].computed):
        assert value is not None
        assert value in text


def test_what_to_do_is_said(sample_report: MakeReport) -> None:
    text = _render(sample_report(Verdict.UNREACHABLE))
    assert "001-after_training on log: no answer from log within 30 s" in text
    assert "check the connection and verify again" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_hostile_names_are_text(terminal: bool, sample_report: MakeReport) -> None:
    finding = Finding(verdict=Verdict.TAMPERED, place=HOSTILE, message=HOSTILE, expected=HOSTILE, computed=HOSTILE)
    report = sample_report(
        Verdict.TAMPERED,
        metrics=lambda epoch: {HOSTILE: 1.0},
        run_id=HOSTILE,
        summary=HOSTILE,
        policy=HOSTILE,
        findings=(finding,),
        uncovered=(HOSTILE,),
    )
    anchors = tuple(
        anchor.model_copy(
            update={
                "name": HOSTILE,
                "networks": tuple(
                    result.model_copy(
                        update={
                            "network": HOSTILE,
                            "detail": HOSTILE,
                            "hint": HOSTILE,
                            "trusts": (HOSTILE,),
                            "verdict": Verdict.PENDING,
                        }
                    )
                    for result in anchor.networks
                ),
            }
        )
        for anchor in report.anchors
    )
    contents = tuple(
        check.model_copy(update=dict.fromkeys(("path", "source", "detail"), HOSTILE)) for check in report.contents
    )
    text = _render(report.model_copy(update={"anchors": anchors, "contents": contents}), terminal=terminal, width=1000)
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text
    assert not set(text) & set("\x07\u202e\u200b\r\x00")
    assert text.count(SHOWN) >= 10
    if not terminal:
        assert "\x1b" not in text
        assert not any(line.startswith("verdict:") for line in text.splitlines())


def test_a_report_without_anything_in_it(sample_report: MakeReport) -> None:
    report = sample_report(Verdict.NOT_FOUND, anchors=(), epochs=(), tree=(), contents=(), root=None)
    text = _render(report)
    assert "NOT FOUND" in text
    assert "Anchors" not in text


def test_long_lists_are_cut_and_say_so(sample_report: MakeReport) -> None:
    text = _render(sample_report(uncovered=tuple(f"training/epochs/{epoch}" for epoch in range(100))))
    assert "and 60 more lines; the JSON form has all of it" in text


def test_a_narrow_terminal_loses_nothing(sample_report: MakeReport) -> None:
    report = sample_report()
    text = _render(report, width=40)
    squeezed = "".join(char for char in text if char not in " \n│")
    assert str(report.root) in squeezed
