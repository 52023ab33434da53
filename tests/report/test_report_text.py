# SPDX-License-Identifier: MIT
"""Data becomes one visible line of text, whatever it is."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.models import Verdict
from mrv_core.report.text import LABEL_MEANINGS, MEANINGS, SYMBOLS, flatten, plain, verdict_word, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("data/été/日本.bin", "data/été/日本.bin"),
        ("two\nlines\r\n", r"two\nlines\r\n"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m", r"\x9b31m"),
        ("invoice\u202egnp.exe", r"invoice\u202egnp.exe"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("filler\u3164\u115f\u2800", r"filler\u3164\u115f\u2800"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("line\u2028separator", r"line\u2028separator"),
        ("lone\ud800", r"lone\ud800"),
        ("tab\there\x00", r"tab\there\x00"),
    ],
)
def test_what_acts_or_hides_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(alphabet=st.characters()))
def test_visible_text_is_one_printable_line_and_stays_the_same(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in shown)
    assert visible(shown) == shown


def test_every_verdict_has_its_own_symbol_word_and_meaning() -> None:
    for table in (SYMBOLS, MEANINGS):
        assert set(table) == set(Verdict)
        assert len(set(table.values())) == len(Verdict)
    assert verdict_word(Verdict.NOT_FOUND) == "NOT FOUND"
    assert all(LABEL_MEANINGS.values())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "none"),
        (True, "yes"),
        (False, "no"),
        (7, "7"),
        (0.123456789, "0.123457"),
        (2**53 - 1, "9007199254740991"),
        ({"non_finite": "-Infinity"}, "-Infinity"),
        ({"non_finite": "a lie"}, "non_finite: a lie"),
        ([1, "two", [True]], "1, two, yes"),
        ({"a": {"b": 1}}, "a: b: 1"),
    ],
)
def test_values_for_people(value: object, shown: str) -> None:
    assert plain(value) == shown


def test_nested_values_have_dotted_names() -> None:
    value = {"loss": {"train": 1, "val": {"non_finite": "NaN"}}, "list": [1, 2], "empty": {}}
    assert flatten(value) == {"loss.train": 1, "loss.val": {"non_finite": "NaN"}, "list": [1, 2], "empty": {}}
    assert flatten([1, 2]) == flatten(None) == flatten("text") == {}
