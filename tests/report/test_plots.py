# SPDX-License-Identifier: MIT
"""Charts hold every point they claim to, at the right place, for any numbers at all."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.canonical import to_json_value
from mrv_core.report.plots import HEIGHT, WIDTH, describe, line_chart, series_of

NAN = {"non_finite": "NaN"}


def _chart(rows: list[tuple[int, Any]]) -> ET.Element:
    (series,) = series_of(rows)
    return ET.fromstring(str(line_chart(series)))  # noqa: S314 - our own output


def _rows(*values: Any) -> list[tuple[int, Any]]:
    return [(epoch, {"loss": value}) for epoch, value in enumerate(values)]


def _titles(chart: ET.Element, group: str) -> list[str]:
    return [item.findtext("title", "") for item in chart.findall(f"g[@class='{group}']")]


def _places(chart: ET.Element) -> list[tuple[float, float]]:
    return [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot in chart.iter("circle")
        if dot.attrib["class"] == "dot"
    ]


def test_every_epoch_is_a_point_with_its_exact_value() -> None:
    chart = _chart(_rows(2.5, 1.25, 0.1))
    assert _titles(chart, "point") == ["epoch 0: 2.5", "epoch 1: 1.25", "epoch 2: 0.1"]
    (x0, y0), (x1, y1), (x2, y2) = _places(chart)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert (y1 - y0) / (y2 - y1) == pytest.approx((2.5 - 1.25) / (1.25 - 0.1), rel=0.02)
    assert y0 < y1 < y2  # larger values stand higher


def test_ticks_are_round_numbers_around_the_values() -> None:
    chart = _chart(_rows(2.31, 0.42))
    labels = [
        float(text.text or "")
        for text in chart.iter("text")
        if text.attrib["text-anchor"] == "end" and text.text != "epoch"
    ]
    assert labels == [0, 0.5, 1, 1.5, 2, 2.5]


def test_one_epoch_is_one_point() -> None:
    chart = _chart(_rows(0.5))
    assert _titles(chart, "point") == ["epoch 0: 0.5"]
    (line,) = chart.findall("path[@class='line']")
    assert re.fullmatch(r"M(\S+ \S+)L\1", line.attrib["d"])


def test_what_is_not_finite_is_a_gap_with_a_mark() -> None:
    chart = _chart(_rows(1.0, 0.9, NAN, {"non_finite": "Infinity"}, 0.7))
    (line,) = chart.findall("path[@class='line']")
    assert line.attrib["d"].count("M") == 2
    assert _titles(chart, "mark") == ["epoch 2: NaN", "epoch 3: Infinity"]
    assert "no number to draw in 2 epochs" in chart.attrib["aria-label"]


def test_a_missing_value_is_a_gap_without_a_mark() -> None:
    chart = _chart([(0, {"loss": 1}), (1, None), (2, {"other": "text"}), (3, {"loss": 2})])
    (line,) = chart.findall("path[@class='line']")
    assert line.attrib["d"].count("M") == 2
    assert _titles(chart, "mark") == []


def test_only_nan_still_gives_a_chart() -> None:
    assert _titles(_chart(_rows(NAN)), "mark") == ["epoch 0: NaN"]


def test_series_are_the_numbers_in_order_of_appearance() -> None:
    rows: list[tuple[int, Any]] = [
        (1, {"b": 1, "flag": True, "name": "x", "list": [1]}),
        (2, {"b": 2, "a": {"c": 3}}),
        (3, "no object"),
    ]
    assert [series.name for series in series_of(rows)] == ["b", "a.c"]


def test_constants_are_recognised_only_where_nothing_is_missing() -> None:
    def constant(*values: Any) -> bool:
        return series_of(_rows(*values))[0].is_constant

    assert constant(0.1, 0.1, 0.1)
    assert not constant(0.1)
    assert not constant(0.1, 0.2)
    assert not constant(0.1, NAN, 0.1)
    assert not constant(0.1, None, 0.1)


def test_a_hostile_name_stays_text() -> None:
    (series,) = series_of([(0, {'"><script>\u202e\n': 1}), (1, {'"><script>\u202e\n': 2})])
    svg = str(line_chart(series))
    assert "<script" not in svg
    assert "\u202e" not in svg
    assert ET.fromstring(svg).attrib["aria-label"].startswith(r'"><script>\u202e\n: 1 in epoch 0')  # noqa: S314


def test_a_long_training_keeps_its_extremes_and_stays_small() -> None:
    rows = [(epoch, {"loss": 1000.0 if epoch == 31_337 else epoch % 7}) for epoch in range(100_000)]
    (series,) = series_of(rows)
    svg = str(line_chart(series))
    assert len(svg) < 20_000
    assert "highest 1000" in describe(series)
    ys = [float(y) for y in re.findall(r"[ML ](?:\d+\.\d) (\d+\.\d)", svg)]
    assert min(ys) == pytest.approx(12.0)  # the one peak is at the top of the plot


number = st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.floats())


@given(st.dictionaries(st.integers(0, 2**53 - 1), number, min_size=1, max_size=20))
def test_any_numbers_give_a_well_formed_chart_inside_its_frame(values: dict[int, float]) -> None:
    rows = [(epoch, {"loss": to_json_value(values[epoch], non_finite=True)}) for epoch in sorted(values)]
    chart = _chart(rows)
    for x, y in _places(chart):
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
    assert len(_titles(chart, "point")) + sum(1 for _ in chart.findall("g[@class='mark']")) >= 1
    assert "nan" not in str([path.attrib["d"] for path in chart.findall("path")]).lower()
