# SPDX-License-Identifier: MIT
"""Samples: one way to write each, exact integrals, and a log that locates a change and discloses one line."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.errors import FormatError, MrvError, StorageError
from mrv_core.merkle import tree_root
from mrv_core.mrv.record import Component
from mrv_core.mrv.samples import (
    MAX_SECTIONS,
    Sample,
    SampleProof,
    SampleWriter,
    changed_sections,
    parse_samples,
    prove_sample,
    read_samples,
    root_of_sections,
    verify_sample_proof,
)

from .making import CPU_RAM, file_of, record_of, steady

POWERS = st.none() | st.integers(0, 10**6)


@st.composite
def sample_lists(draw: st.DrawFn) -> list[Sample]:
    samples, now = [], 0
    for _ in range(draw(st.integers(1, 12))):
        now += draw(st.integers(0, 30))
        span = draw(st.integers(1, 40))
        now += span
        samples.append(Sample(now, span, (draw(POWERS), draw(POWERS))))
    return samples


@given(sample_lists())
def test_a_file_is_read_as_it_was_written(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("samples") / "a.csv"
    writer = SampleWriter(path, CPU_RAM)
    for sample in samples:
        writer.append(sample)
    writer.close()
    file = read_samples(path)
    assert (file.components, file.samples) == (CPU_RAM, tuple(samples))
    assert b"".join(line + b"\n" for line in file.lines) == path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_documented_file(tmp_path):
    path = tmp_path / "a.csv"
    writer = SampleWriter(path, CPU_RAM)
    writer.append(Sample(1003, 1003, (8500, 20000)))
    writer.append(Sample(2004, 1001, (None, 20000)))
    writer.close()
    assert path.read_text() == "end_ms,span_ms,cpu_mw,ram_mw\n1003,1003,8500,20000\n2004,1001,,20000\n"
    with pytest.raises(StorageError, match="cannot create"):
        SampleWriter(path, CPU_RAM)


HEAD = b"end_ms,span_ms,cpu_mw\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the last line is cut off"),
        (HEAD + b"1000,1000,5", "the last line is cut off"),
        (HEAD + b"1000,1000,\xb5\n", "not ASCII at byte 32"),
        (b"end_ms,span_ms\n", "line 1: not the head"),
        (b"end_ms,span_ms,cpu_mw,cpu_mw\n", "line 1: not the head"),
        (b"end_ms,span_ms,tpu_mw\n", "line 1: not the head"),
        (b"end_ms,span_ms,cpu\n", "line 1: not the head"),
        (b"end_ms,span_ms,cpu_mw\r\n", "line 1: not the head"),
        (HEAD + b"1000,1000,5\r\n", "line 2: '5\\\\r' is no number"),
        (HEAD + b"1000,1000,05\n", "line 2: '05' is no number"),
        (HEAD + b"1000,1000,-5\n", "line 2: '-5' is no number"),
        (HEAD + b"1000,1000,NaN\n", "line 2: 'NaN' is no number"),
        (HEAD + b"1000,1000,1e3\n", "line 2: '1e3' is no number"),
        (HEAD + b"1000,1000,1234567890123456\n", "line 2: '1234567890123456' is no number"),
        (HEAD + b"1000,,5\n", "line 2: '' is no number"),
        (HEAD + b",1000,5\n", "line 2: '' is no number"),
        (HEAD + b"1000,1000,5,6\n", "line 2: 4 numbers where there must be 3"),
        (HEAD + b"\n", "line 2: 1 numbers where there must be 3"),
        (HEAD + b"1000,0,5\n", "line 2: a span of 0 ms"),
        (HEAD + b"1000,1001,5\n", "line 2: a span of 1001 ms that ends at 1000 ms"),
        (HEAD + b"1000,1000,5\n1999,1000,5\n", "line 3: begins 1 ms before the one above it ends"),
        (HEAD + b"1000,1000,5\n900,100,5\n", "line 3: begins 200 ms before"),
    ],
)
def test_what_is_no_such_file_is_refused_with_its_line(data, message):
    with pytest.raises(FormatError, match=message):
        parse_samples(data, what="a.csv")


@given(sample_lists(), st.integers(0, 700), st.integers(0, 700))
def test_energy_is_the_power_of_each_millisecond(samples, start, end):
    file = file_of(samples)
    for index, component in enumerate(CPU_RAM):
        each_ms = {
            ms: sample.powers_mw[index]
            for sample in samples
            for ms in range(sample.start_ms, sample.end_ms)
            if sample.powers_mw[index] is not None
        }
        there = [power for ms, power in each_ms.items() if start <= ms < end]
        assert file.energy_uj(component, start, end) == (sum(there) if there else None)
        assert file.energy_uj(component) == (sum(each_ms.values()) if each_ms else None)


def test_gaps_are_what_no_sample_is_about():
    file = file_of(
        [
            Sample(2000, 500, (5, 6)),
            Sample(2500, 500, (None, 6)),
            Sample(3000, 500, (None, 6)),
            Sample(5000, 1000, (5, 6)),
            Sample(6000, 1000, (5, None)),
        ]
    )
    gaps = [(gap.component, gap.start_ms, gap.end_ms, gap.reason) for gap in file.gaps(7000, {Component.CPU: "broken"})]
    assert gaps == [
        (None, 0, 1500, "the hardware was being detected"),
        (None, 3000, 4000, "no sample was taken"),
        (None, 6000, 7000, "the last sample was not taken"),
        (Component.CPU, 2000, 3000, "broken"),
        (Component.RAM, 5000, 6000, "it could not be read"),
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 254, 255, 256, 257, 600, 1100])
def test_sections_make_the_root_of_the_log(count):
    file = steady(count)
    summary = file.summary()
    assert summary.size == count + 1
    assert summary.root.value == tree_root(file.lines)
    assert root_of_sections([section.value for section in summary.sections]) == tree_root(file.lines)
    assert len(summary.sections) <= MAX_SECTIONS
    assert changed_sections(file, summary) == []


def test_the_root_is_that_of_the_standard():
    """Over two lines, from the definition (RFC 9162, section 2.1.1)."""
    file = file_of([Sample(1000, 1000, (1, 2))])
    first, second = (hashlib.sha256(b"\x00" + line).digest() for line in file.lines)
    assert file.summary().root.value == hashlib.sha256(b"\x01" + first + second).digest()


@pytest.mark.parametrize(("count", "changed", "found"), [(200, 100, (102, 102)), (1000, 600, (601, 604))])
def test_a_changed_line_is_located(count, changed, found):
    file = steady(count)
    text = b"".join(line + b"\n" for line in file.lines).split(b"\n")
    end, span, cpu, ram = text[changed + 1].split(b",")
    text[changed + 1] = b",".join((end, span, str(int(cpu) + 1).encode(), ram))
    edited = parse_samples(b"\n".join(text), what="edited")
    ((first, last),) = changed_sections(edited, file.summary())
    assert (first, last) == found
    assert first <= changed + 2 <= last


@pytest.mark.parametrize("count", [199, 201, 0])
def test_lines_that_are_missing_or_added_are_found(count):
    changed = changed_sections(steady(count), steady(200).summary())
    assert changed[0][0] == min(count, 200) + 2
    assert changed[-1][1] == max(count, 200) + 1


def test_one_sample_is_disclosed_with_its_proof():
    file = steady(300)
    record = record_of(file)
    for at_ms in (1500, 2499, 2500, 301_499):
        proof = prove_sample(file, at_ms, mrv_id=record.mrv_id, record=record.hash)
        components, sample = verify_sample_proof(
            SampleProof.from_bytes(proof.to_bytes(), what="the proof"), record.samples
        )
        assert components == CPU_RAM
        assert sample.start_ms <= at_ms < sample.end_ms
        assert sample == file.samples[proof.index - 1]
    for at_ms in (0, 1499, 301_500):
        with pytest.raises(FormatError, match=f"no sample was taken at {at_ms} ms"):
            prove_sample(file, at_ms, mrv_id=record.mrv_id, record=record.hash)


@given(st.data())
def test_a_changed_proof_shows_nothing(data):
    file = steady(20)
    record = record_of(file)
    value = prove_sample(file, 5000, mrv_id=record.mrv_id, record=record.hash).to_json()
    kind = data.draw(st.sampled_from(["line", "head", "index", "path", "head_path", "shorter", "longer"]))
    if kind in ("line", "head"):
        at = data.draw(st.integers(0, len(value[kind]) - 1))
        letter = data.draw(st.sampled_from([c for c in "0123456789,x" if c != value[kind][at]]))
        value[kind] = value[kind][:at] + letter + value[kind][at + 1 :]
    elif kind == "index":
        value["index"] = data.draw(st.integers(-1, 30).filter(lambda index: index != value["index"]))
    elif kind in ("path", "head_path"):
        at = data.draw(st.integers(0, len(value[kind]) - 1))
        flipped = bytearray.fromhex(value[kind][at])
        flipped[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
        value[kind][at] = flipped.hex()
    else:
        value["path"] = value["path"][:-1] if kind == "shorter" else [*value["path"], "00" * 32]
    with pytest.raises(MrvError):
        verify_sample_proof(SampleProof.from_json(value, what="the proof"), record.samples)
