# SPDX-License-Identifier: MIT
"""The vectors of MRV records, their samples, and verdicts over a registry; scripts/generate_vectors.py writes them.

Every number here is worked out by hand or by tests/oracles.py, never by the product.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import oracles

Json = dict[str, Any]


def records() -> Json:
    """MRV records with their hashes and what is wrong with their numbers, files of samples, and files to refuse."""
    good = _record()
    return {
        "description": "MRV records of docs/spec/mrv-record.md and samples of docs/spec/mrv-samples.md.",
        "records": [
            {
                "name": name,
                "text": (text := oracles.jcs(value)),
                "hash": oracles.sha256(text.encode()).hex(),
                "wrong": wrong,
            }
            for name, value, wrong in _numbers(good)
        ],
        "first_version": [
            {"text": text, "hash": oracles.sha256(_dumped(text).encode()).hex()} for text in _first_version_texts()
        ],
        "samples": [{"name": name, "text": text, "wrong": wrong} for name, text, wrong in _sample_files()],
        "refused": [{"reason": reason, "text": text} for reason, text in _refused_records(good)],
        "refused_samples": [{"reason": reason, "text": text} for reason, text in REFUSED_SAMPLES],
    }


SAMPLES = "end_ms,span_ms,cpu_mw,ram_mw\n1000,1000,9000,20000\n2000,1000,18000,\n3600,1600,9000,20000\n"
# mW times ms are uJ, of which 3600 are 1 uWh: 41,400,000 and 52,000,000 uJ.
_CPU_UWH, _RAM_UWH = 11_500, 14_444
_FACTOR = {
    "value": 56_039,
    "unit": "mg CO2e/kWh",
    "source": "caf\u00e9 \U0001f600 \u202e",
    "region": None,
    "period": "2025",
    "stated_at": "2026-01-11T08:00:00Z",
}


def _summary(text: str) -> Json:
    lines = [line.encode() for line in text.splitlines()]
    sections = [oracles.sha256(b"\x00" + line).hex() for line in lines]
    return {
        "format": "mrv-samples/1",
        "size": len(lines),
        "root": f"sha256:{oracles.mth(lines).hex()}",
        "section_size": 1,
        "sections": [f"sha256:{section}" for section in sections],
    }


def _part(component: str, energy: int | None) -> Json:
    method = None if energy is None else "modelled"
    return {"component": component, "energy_uwh": energy, "method": method, "source": "a model", "limit_mw": 20_000}


def _record() -> Json:
    gap = {"component": "ram", "start_ms": 1000, "end_ms": 2000, "reason": "it could not be read"}
    epoch = {"epoch": 0, "start_ms": 0, "end_ms": 1800, "energy_uwh": 12_056, "metrics": {"loss": 0.5, "big": 1e21}}
    return {
        "schema_version": "1.0",
        "mrv_id": "MRV-fc25ba52-f439-4834-be2b-2dbae1e03437",
        "status": "completed",
        "interruption": None,
        "experiment": {
            "experiment_name": "<script>alert(1)</script>",
            "model_name": "\u00e9\u0301",
            "dataset_name": "",
        },
        "training": {"epochs": 1, "batch_size": 128, "framework": None},
        "hardware": {"cpu_type": None, "cpu_cores": 8, "gpu_types": [], "ram_bytes": 2**35},
        "timestamps": {
            "start_time": "2026-01-11T08:00:00Z",
            "end_time": "2026-01-11T08:00:03.600000Z",
            "duration_ms": 3600,
        },
        "measurement": {
            "measurement_tool": "CodeCarbon",
            "tool_version": "3.3.2",
            "scope": "machine",
            "interval_ms": 1000,
            "tolerance_permille": 1,
            "settings": {},
            "gaps": [gap],
            "concurrent": [],
        },
        "energy": {
            "total_uwh": _CPU_UWH + _RAM_UWH,
            "components": [_part("cpu", _CPU_UWH), _part("ram", _RAM_UWH), _part("gpu", None)],
        },
        "emissions": {"co2e_mg": 2, "pue_permille": 1200, "factor": _FACTOR},
        "epochs": [epoch],
        "metrics": {},
        "samples": _summary(SAMPLES),
        "job": None,
        "ranks": None,
        "environment": {},
        "provenance": None,
        "supersedes": None,
    }


def _with(value: Json, place: str, new: Any) -> Json:
    """Return a copy with one value replaced; `place` names keys and list indices, joined by dots."""
    result = copy.deepcopy(value)
    *parents, last = place.split(".")
    inner: Any = result
    for key in parents:
        inner = inner[int(key) if isinstance(inner, list) else key]
    inner[int(last) if isinstance(inner, list) else last] = new
    return result


def _numbers(good: Json) -> Iterator[tuple[str, Json, list[str]]]:
    """Yield records, and the places of the numbers in them that contradict others."""
    yield "right", good, []
    yield "a total of another sum", _with(good, "energy.total_uwh", 25_943), ["energy.total_uwh"]
    unknown = _with(_with(good, "energy.total_uwh", None), "energy.components", [])
    yield "no energy, but emissions", unknown, ["emissions.co2e_mg"]
    yield "nothing measured", _with(unknown, "emissions.co2e_mg", None), []
    yield "other emissions", _with(good, "emissions.co2e_mg", 3), ["emissions.co2e_mg"]
    # 20,000 uWh at 25 mg/kWh are half a milligram, 60,000 are one and a half: halves go to the even one.
    for energy, mass in ((20_000, 0), (60_000, 2)):
        half = _with(_with(good, "energy.components", [_part("cpu", energy)]), "energy.total_uwh", energy)
        half = _with(_with(half, "emissions.factor.value", 25_000), "emissions.pue_permille", 1000)
        yield f"half of a milligram, {mass}", _with(half, "emissions.co2e_mg", mass), []
        yield f"half of a milligram, {mass + 1}", _with(half, "emissions.co2e_mg", mass + 1), ["emissions.co2e_mg"]
    yield "an end two seconds late", _with(good, "timestamps.end_time", "2026-01-11T08:00:05.600000Z"), []
    late = _with(good, "timestamps.end_time", "2026-01-11T08:00:05.600001Z")
    yield "an end more than two seconds late", late, ["timestamps.duration_ms"]
    yield "an epoch after the end", _with(good, "epochs.0.end_ms", 3601), ["epochs.0"]
    yield "a section of another root", _with(good, "samples.sections.1", "sha256:" + "0" * 64), ["samples.sections"]
    yield "sections of another size", _with(good, "samples.section_size", 2), ["samples.sections"]
    yield "a rank", _share(good, 0, "machine"), []
    yield (
        "a rank that counts the host's",
        _share(good, 1, "machine"),
        ["energy.components.cpu", "energy.components.ram"],
    )
    yield "a rank of scope process", _share(good, 1, "process"), []
    yield "a rank of another id", _with(_share(good, 0, "machine"), "mrv_id", "MRV-other"), ["job"]
    job = _job(good)
    yield "a job", job, []
    yield "a job of another root", _with(job, "ranks.root", "sha256:" + "0" * 64), ["ranks.root"]
    yield "a job with a rank twice", _with(job, "ranks.entries.1.rank", 0), ["ranks", "rank 0"]
    yield "a job with a rank's other id", _with(job, "ranks.entries.1.mrv_id", "MRV-x"), ["rank 1"]
    yield "a job that lasted longer", _with(job, "timestamps.duration_ms", 3599), ["timestamps.duration_ms"]
    yield "a job that hides a time", _with(job, "measurement.gaps", []), ["measurement.gaps"]
    yield (
        "a job with a missing rank that is completed",
        _with(_with(job, "ranks.world_size", 3), "ranks.missing", [2]),
        ["status"],
    )


def _share(good: Json, local_rank: int, scope: str) -> Json:
    place = {"mrv_id": "MRV-job", "rank": 1, "world_size": 2, "local_rank": local_rank, "host": 0}
    return _with(_with(_with(good, "job", place), "mrv_id", "MRV-job.rank-1"), "measurement.scope", scope)


def _job(good: Json) -> Json:
    hashes = [oracles.sha256(b"rank %d" % rank) for rank in range(2)]
    entries = [
        {
            "rank": rank,
            "local_rank": rank,
            "host": 0,
            "mrv_id": f"{good['mrv_id']}.rank-{rank}",
            "hash": f"sha256:{hashes[rank].hex()}",
            "status": "completed",
            "start_ms": 100 * rank,
            "duration_ms": 3500,
            "energy_uwh": [_CPU_UWH + _RAM_UWH, None][rank],
            "co2e_mg": [2, None][rank],
        }
        for rank in range(2)
    ]
    ranks = {"world_size": 2, "missing": [], "root": f"sha256:{oracles.mth(hashes).hex()}", "entries": entries}
    gap = {"component": None, "start_ms": 3500, "end_ms": 3600, "reason": "host 0: its local rank 0 had ended"}
    job = {**copy.deepcopy(good), "epochs": [], "metrics": {}, "samples": None, "ranks": ranks}
    return _with(job, "measurement.gaps", [gap])


def _sample_files() -> Iterator[tuple[str, str, list[str]]]:
    """Yield files of samples, and what contradicts the record that sums up `SAMPLES`."""
    yield "the record's", SAMPLES, []
    yield "one digit changed", SAMPLES.replace("9000,20000\n2000", "9001,20000\n2000"), ["samples line 2"]
    yield "a line less", "\n".join(SAMPLES.split("\n")[:-2]) + "\n", ["samples line 4"]
    yield "a line more", f"{SAMPLES}4600,1000,1,1\n", ["samples line 5"]


def _dumped(text: str) -> str:
    """The formula of schema 0.1 (docs/spec/mrv-record.md)."""
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def _first_version_texts() -> Iterator[str]:
    numbers = [
        "0",
        "-0.0",
        "32",
        "32.0",
        "3.2e1",
        "1e-5",
        "0.0001",
        "0.00001234",
        "5e-324",
        "9007199254740991",
        "123456.789",
    ]
    numbers += ["1e3", "2.5E-7", "9007199254740991.0", "0.1", "1E+2", "-0"]
    for number in numbers:
        yield _first_version(number, "caf\\u00e9 \u00e9 \U0001f600 \\ud83d\\ude00 \u007f \\u0001\\n\\t\\/ \u2028 <b>")
    yield " \n" + _first_version("1", "x", ', "cpu_cores": null')


def _first_version(number: str, name: str, more: str = "") -> str:
    return (
        f'{{"schema_version": "0.1", "mrv_id": "MRV-1", "experiment": {{"experiment_name": "{name}", '
        f'"model_name": "m", "dataset_name": "d"}}, "training": {{"epochs": 90, '
        f'"batch_size": null, "framework": "PyTorch"}}, "hardware": '
        f'{{"gpu_type": "None", "num_gpus": 0, "cpu_type": "c", "ram_gb": {number}{more}}}, "energy_emissions": '
        f'{{"measurement_tool": "CodeCarbon", "energy_kwh": {number}, "co2_kg": null, "duration_seconds": {number}}}, '
        f'"timestamps": {{"start_time": "2026-01-11T08:00:00+02:00", "end_time": "2026-01-11T08:00:01.5Z"}}}}'
    )


def _refused_records(good: Json) -> Iterator[tuple[str, str]]:
    """Yield texts that are no record."""
    yield "an array", "[]"
    yield "no schema_version", '{"mrv_id":"MRV-1"}'
    yield "an unknown schema", '{"mrv_id":"MRV-1","schema_version":"2.0"}'
    yield "a space at the end", oracles.jcs(good) + " "
    yield (
        "keys in another order",
        '{"schema_version":"1.0",' + oracles.jcs(good).replace('"schema_version":"1.0",', "")[1:],
    )
    yield "a key twice", oracles.jcs(good)[:-1] + ',"supersedes":null}'
    changes: list[tuple[str, Any]] = [
        ("extra", 1),
        ("energy.extra", 1),
        ("mrv_id", ""),
        ("mrv_id", "a b"),
        ("mrv_id", "x" * 129),
        ("mrv_id", "\u00e9"),
        ("status", "done"),
        ("status", "interrupted"),
        ("interruption", "why"),
        ("energy.total_uwh", -1),
        ("energy.total_uwh", 0.5),
        ("energy.total_uwh", "1"),
        ("energy.total_uwh", True),
        ("energy.components.2.method", "measured"),
        ("energy.components.2.component", "cpu"),
        ("energy.components.0.method", None),
        ("emissions.pue_permille", 999),
        ("emissions.pue_permille", None),
        ("emissions.factor.unit", "g/kWh"),
        ("timestamps.start_time", "2026-01-11T08:00:00+00:00"),
        ("timestamps.start_time", "2026-02-30T08:00:00Z"),
        ("timestamps.start_time", "2026-01-11T08:00:00.5Z"),
        ("experiment.model_name", "x" * 1001),
        ("samples.root", "md5:" + "0" * 64),
        ("samples.root", "sha256:" + "A" * 64),
        ("samples.size", 0),
        ("samples.section_size", 0),
        ("measurement.scope", "host"),
        ("measurement.tolerance_permille", 1001),
        ("training.batch_size", 0),
        ("epochs.0.metrics", []),
        ("metrics", None),
        ("schema_version", 1.0),
        ("schema_version", "1"),
    ]
    for place, value in changes:
        yield f"{place} {str(value)[:40]}", oracles.jcs(_with(good, place, value))
    for key in good:
        yield f"no {key}", oracles.jcs({other: value for other, value in good.items() if other != key})
    job = _job(good)
    for place, value in (
        ("epochs", good["epochs"]),
        ("metrics", {"a": 1}),
        ("samples", good["samples"]),
        ("ranks.entries", []),
    ):
        yield f"a job with {place}", oracles.jcs(_with(job, place, value))
    for reason, old, new in (
        ("0.1 with another key", '"mrv_id"', '"other": 1, "mrv_id"'),
        ("0.1 with a float of epochs", ": 90", ": 90.0"),
        ("0.1 with a negative energy", '"energy_kwh": 1', '"energy_kwh": -1'),
        ("0.1 with text", '"num_gpus": 0', '"num_gpus": "0"'),
        ("0.1 with a time without zone", "+02:00", ""),
        ("0.1 with an energy that is too large", '"energy_kwh": 1', '"energy_kwh": 1e16'),
        ("0.1 with true", '"num_gpus": 0', '"num_gpus": true'),
        ("0.1 of the 31st of April", "2026-01-11T08:00:01", "2026-04-31T08:00:01"),
    ):
        yield reason, _first_version("1", "x").replace(old, new)


_HEAD = "end_ms,span_ms,cpu_mw\n"
REFUSED_SAMPLES: list[tuple[str, str]] = [
    ("nothing", ""),
    ("the last line cut off", f"{_HEAD}1000,1000,5"),
    ("an empty line", f"{_HEAD}\n"),
    ("a carriage return", f"{_HEAD}1000,1000,5\r\n"),
    ("no component", "end_ms,span_ms\n1000,1000\n"),
    ("a component twice", "end_ms,span_ms,cpu_mw,cpu_mw\n"),
    ("an unknown component", "end_ms,span_ms,disk_mw\n"),
    ("a component without its unit", "end_ms,span_ms,cpu\n"),
    ("a number too few", f"{_HEAD}1000,1000\n"),
    ("a number too many", f"{_HEAD}1000,1000,5,5\n"),
    ("a leading zero", f"{_HEAD}01000,1000,5\n"),
    ("a sign", f"{_HEAD}1000,1000,-5\n"),
    ("a fraction", f"{_HEAD}1000,1000,5.0\n"),
    ("16 digits", f"{_HEAD}1000,1000,{'1' * 16}\n"),
    ("no end", f"{_HEAD},1000,5\n"),
    ("a span of nothing", f"{_HEAD}1000,0,5\n"),
    ("a start before the run", f"{_HEAD}1000,1001,5\n"),
    ("an overlap", f"{_HEAD}1000,1000,5\n1999,1000,5\n"),
    ("what is not ASCII", f"{_HEAD}1000,1000,\u0665\n"),
]


# --- verdicts.json ---------------------------------------------------------------------------------------------------


def verdicts() -> Json:
    """Return what was registered under an id, whose word counts, and a verifier's verdict on the file (docs/mrv.md)."""
    return {
        "description": "Registrations of one id in MRVRegistry, in order: by whom, of this file or another one.",
        "cases": [
            {
                "name": name,
                "registrations": registrations,
                "expected": expected,
                "anchored_elsewhere": elsewhere,
                "verdict": verdict,
            }
            for name, registrations, expected, elsewhere, verdict in CASES
        ],
    }


Registrations = list[tuple[str, str]]
_OWN, _SQUATTED = ("author", "this"), ("squatter", "another")
CASES: list[tuple[str, Registrations, list[str], bool, str]] = [
    ("nobody registered it", [], [], False, "NOT_FOUND"),
    ("nobody registered it, who counts is named", [], ["author"], False, "NOT_FOUND"),
    ("registered", [_OWN], [], False, "VALID"),
    ("registered by who counts", [_OWN], ["author"], False, "VALID"),
    ("registered by somebody else than who counts", [_OWN], ["squatter"], False, "NOT_FOUND"),
    ("changed", [("author", "another")], [], False, "TAMPERED"),
    ("changed, by who counts", [("author", "another")], ["author"], False, "TAMPERED"),
    ("squatted only", [_SQUATTED], ["author"], False, "NOT_FOUND"),
    ("squatted first", [_SQUATTED, _OWN], [], False, "VALID"),
    ("squatted first, who counts is named", [_SQUATTED, _OWN], ["author"], False, "VALID"),
    ("squatted afterwards", [_OWN, _SQUATTED], [], False, "VALID"),
    ("the squatter's word counts", [_SQUATTED, _OWN], ["squatter"], False, "TAMPERED"),
    ("who counts contradict each other", [_SQUATTED, _OWN], ["author", "squatter"], False, "TAMPERED"),
    ("a copier registered the same first", [("squatter", "this"), _OWN], ["author"], False, "VALID"),
    ("only a copier registered the same", [("squatter", "this")], ["author"], False, "NOT_FOUND"),
    ("two others, and not this", [_SQUATTED, ("author", "third")], [], False, "TAMPERED"),
    ("squatted, and anchored elsewhere", [_SQUATTED], [], True, "DISAGREE"),
    ("changed by who counts, and anchored elsewhere", [("author", "another")], ["author"], True, "TAMPERED"),
]
