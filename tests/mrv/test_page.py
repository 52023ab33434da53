# SPDX-License-Identifier: MIT
"""The page of a record: complete, self-contained, and safe whatever the record says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.models import Verdict, utc_now
from mrv_core.mrv.page import render_record_html, same_experiment
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.samples import Sample
from mrv_core.mrv.storage import samples_path, save_mrv
from mrv_core.mrv.verification import RecordReport

from .making import file_of, record_of, steady
from .test_commands import config, mrv, record  # noqa: F401 - fixtures
from .test_verification import manager  # noqa: F401 - a fixture

FILE = steady(60)


def report_of(record: MrvRecord, **changes) -> RecordReport:  # noqa: F811
    known = {
        "source": "a.json",
        "verdict": Verdict.NOT_FOUND,
        "summary": "nowhere",
        "created_at": utc_now(),
        "mrv_id": record.mrv_id,
        "hash": record.hash,
        "schema_version": "1.0",
        "experiment_name": record.experiment.experiment_name,
        "rule": "every receipt must be valid",
        "steps": (),
        "findings": (),
        "networks": (),
    }
    return RecordReport(**{**known, **changes})


def test_it_shows_what_the_record_says():
    made = record_of(FILE)
    html = render_record_html(report_of(made), made, FILE)
    for text in ("cpu, W", "ram, W", "ResNet18", "stated by the user", "modelled", "nothing from 0 s to 1.5 s", "PUE"):
        assert text in html
    assert html.count('<svg class="chart') == 2
    assert "Records of the same experiment" not in html
    assert render_record_html(report_of(made), made, FILE) == html, "the same bytes each time"


def test_a_chart_has_a_gap_where_nothing_was_measured():
    file = file_of([Sample(2000, 2000, (1000, None)), Sample(3000, 1000, (None, 5)), Sample(5000, 1000, (3000, 5))])
    html = render_record_html(report_of(record_of(file)), record_of(file), file)
    cpu, ram = re.findall(r'<path class="line" d="([^"]*)"/>', html)
    assert (cpu.count("M"), ram.count("M")) == (2, 2)
    assert "<title>0 s: 1.0</title>" in html
    assert "<title>4 s: 3.0</title>" in html


def test_a_long_run_is_thinned():
    file = file_of([Sample(10_000 * number, 10_000, (number, 1)) for number in range(1, 2001)])
    html = render_record_html(report_of(record_of(file)), record_of(file), file)
    assert len(html) < 200_000


def test_without_record_and_samples_there_is_a_page_too():
    made = record_of(FILE)
    assert "The samples are not beside the record." in render_record_html(report_of(made), made, None)
    html = render_record_html(report_of(made, schema_version=None, verdict=Verdict.TAMPERED), None, None)
    assert "TAMPERED" in html


def test_records_of_the_same_experiment_are_compared(tmp_path):
    made = record_of(FILE)
    save_mrv(made, storage_dir=tmp_path)
    save_mrv(record_of(FILE, mrv_id="MRV-earlier"), storage_dir=tmp_path)
    other = {"experiment_name": "another", "model_name": "m", "dataset_name": "d"}
    save_mrv(record_of(FILE, mrv_id="MRV-other", experiment=other), storage_dir=tmp_path)
    (tmp_path / "broken.json").write_text("{")
    found = same_experiment(made, tmp_path)
    assert [each.mrv_id for each in found] == ["MRV-earlier"]
    html = render_record_html(report_of(made), made, FILE, found)
    assert "MRV-earlier" in html
    assert html.count("this one") == 1


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_nothing_in_a_record_is_markup(text):
    names = {"experiment_name": text, "model_name": f"<script>{text}", "dataset_name": f'"onload="{text}'}
    made = record_of(FILE, experiment=names, metrics={text: f"<img src=x onerror={text}>"})
    html = render_record_html(report_of(made, summary=f"</title><script>{text}"), made, FILE)
    assert "<script" not in html
    assert "<img" not in html
    assert not re.search(r"<[^>]*\son\w+\s*=", html)
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in html


@pytest.mark.parametrize("option", [(), ("--html",)])
def test_the_command_writes_it(mrv, record, config, option, tmp_path):  # noqa: F811
    target = tmp_path / "pages" / "a.html" if option else record.with_suffix(".html")
    words = (*option, target) if option else ()
    done = mrv("report", record, *words, "--config", config)
    assert done.exit_code == 0, done.output
    assert "Power over time" in target.read_text()
    samples_path(record).write_text("end_ms,span_ms,cpu_mw\n")
    assert mrv("report", record, *words, "--config", config).exit_code == 1
    assert "TAMPERED" in target.read_text()
