# SPDX-License-Identifier: MIT
"""Records: one way to write each, a hash that `sha256sum` prints, and the first version's formula."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from mrv_core import compute_hash, generate_mrv_id, get_hardware_info, save_mrv, validate_mrv_json
from mrv_core.errors import FormatError
from mrv_core.mrv.record import MAX_RECORD_BYTES, MrvRecord, parse_record
from mrv_core.mrv.schema_0_1 import MrvRecord01, parse_record_0_1, to_schema_0_1
from mrv_core.mrv.verification import read_record

from .making import record_of, record_value, steady

ROOT = Path(__file__).parents[2]
FIRST = {
    "schema_version": "0.1",
    "mrv_id": "MRV-fc25ba52-f439-4834-be2b-2dbae1e03437",
    "experiment": {
        "experiment_name": "resnet18_cifar10_baseline",
        "model_name": "ResNet18",
        "dataset_name": "CIFAR-10",
    },
    "training": {"epochs": 90, "batch_size": 128, "framework": "PyTorch"},
    "hardware": {"gpu_type": "NVIDIA RTX 3090", "num_gpus": 1, "cpu_type": "Intel i7-12700H", "ram_gb": 32},
    "energy_emissions": {
        "measurement_tool": "CodeCarbon",
        "energy_kwh": 0.87,
        "co2_kg": 0.42,
        "duration_seconds": 5400,
    },
    "timestamps": {"start_time": "2026-01-11T08:00:00Z", "end_time": "2026-01-11T09:30:00Z"},
}


def test_the_hash_is_that_of_the_file(tmp_path):
    record = record_of(steady(60))
    path = save_mrv(record, storage_dir=tmp_path / "new" / "folder")
    printed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert printed == record.hash.hex
    assert parse_record(Path(path).read_bytes(), what=path) == record


def test_a_record_is_read_as_it_was_written_and_in_no_other_way():
    record = record_of(steady(60))
    data = record.to_bytes()
    assert read_record(data, what="a.json") == (record, record.hash)
    for other in (json.dumps(json.loads(data), indent=2).encode(), data + b"\n", b" " + data):
        with pytest.raises(FormatError, match="not in canonical form"):
            read_record(other, what="a.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": "2.0"}, "schema version '2.0' is not one that this program knows"),
        ({"mrv_id": "MRV 1"}, "mrv_id"),
        ({"mrv_id": "MRV-\u00e9"}, "mrv_id"),
        ({"status": "interrupted"}, "status and interruption contradict each other"),
        ({"status": "finished"}, "status"),
        ({"more": 1}, "more"),
        ({"energy": {"total_uwh": -1, "components": []}}, "energy.total_uwh"),
        ({"energy": {"total_uwh": 1.5, "components": []}}, "energy.total_uwh"),
    ],
)
def test_what_is_no_record_is_refused(changes, message):
    data = json.dumps(record_value(steady(3), **changes), sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(FormatError, match=message):
        read_record(data, what="a.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "not an MRV record"),
        (b"{}", "not an MRV record"),
        (b'{"mrv_id":"MRV-1","mrv_id":"MRV-2","schema_version":"1.0"}', "mrv_id"),
        (b'{"mrv_id":"MRV-1","schema_version":"1.0","x":NaN}', "NaN"),
        (b'{"mrv_id":"MRV-1","schema_version":"1.0"}', "status: Field required"),
        (b" " * (MAX_RECORD_BYTES + 1), "is more than"),
        (b"[" * 100_000, "nested deeper"),
    ],
)
def test_what_is_no_record_at_all_is_refused(data, message):
    with pytest.raises(FormatError, match=message):
        read_record(data, what="a.json")


def test_the_first_version_is_hashed_by_its_own_formula(tmp_path):
    expected = hashlib.sha256(json.dumps(FIRST, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert compute_hash(FIRST) == expected
    for data in (json.dumps(FIRST).encode(), json.dumps(FIRST, indent=2, sort_keys=True).encode()):
        record, digest = read_record(data, what="a.json")
        assert (record.mrv_id, digest.hex) == (FIRST["mrv_id"], expected)
    path = Path(save_mrv(FIRST, FIRST["mrv_id"], tmp_path))
    assert path.name == f"{FIRST['mrv_id']}.json"
    assert path.read_text().startswith('{\n  "energy_emissions": {\n')
    with pytest.raises(FormatError, match="the record is MRV-fc25"):
        save_mrv(FIRST, "MRV-other", tmp_path)


def test_the_first_version_is_hashed_as_it_is_written():
    """32 and 32.0 are two hashes; white space, and zeros behind a fraction, are not."""

    def hash_with(old: str, new: str) -> str:
        return parse_record_0_1(json.dumps(FIRST).replace(old, new).encode(), what="a.json").hash.hex

    assert hash_with("0.87", "0.870") == hash_with(": ", ":") == compute_hash(FIRST)
    for old, new in (("0.87", "0.88"), ('"ram_gb": 32', '"ram_gb": 32.0'), ("08:00:00Z", "08:00:00+00:00")):
        assert hash_with(old, new) != compute_hash(FIRST)
    for time in ("2026-01-11T08:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        with pytest.raises(FormatError, match="not a time with its zone"):
            hash_with("2026-01-11T08:00:00Z", time)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [("hardware", "num_gpus", 2**53 - 1), ("hardware", "ram_gb", 1e308), ("energy_emissions", "co2_kg", 1e308)],
)
def test_a_number_that_no_machine_has_is_refused(part, key, value):
    data = json.dumps({**FIRST, part: {**FIRST[part], key: value}}).encode()
    with pytest.raises(FormatError, match=key):
        parse_record_0_1(data, what="a.json")


def test_a_time_before_the_first_year_is_no_defect():
    value = record_value(steady(3))
    value["timestamps"]["start_time"] = "0001-01-01T00:00:00+14:00"
    with pytest.raises(FormatError, match="not an RFC 3339 time"):
        MrvRecord.from_json(value, what="the record")


def test_validation_says_yes_or_no():
    assert validate_mrv_json(FIRST)
    assert validate_mrv_json(record_value(steady(3)))
    for wrong in ({}, [], None, {**FIRST, "mrv_id": 1}, {**FIRST, "more": 1}, record_value(steady(3), training=None)):
        assert not validate_mrv_json(wrong)
    for key in FIRST:
        assert not validate_mrv_json(
            {name: value for name, value in FIRST.items() if name not in (key, "schema_version")}
        )


def test_a_record_can_be_said_in_the_first_version():
    record = record_of(steady(60))
    first = to_schema_0_1(record)
    assert first.energy_emissions.energy_kwh == record.energy.total_uwh / 1e9
    assert first.hardware.gpu_type == "None"
    assert first.hardware.ram_gb == 32
    assert MrvRecord01.from_json(first.to_json(), what="a.json") == first
    unknown = to_schema_0_1(record_of(None, samples=None))
    assert (unknown.energy_emissions.energy_kwh, unknown.energy_emissions.co2_kg) == (None, None)


def test_ids_and_hardware():
    ids = {generate_mrv_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(each) == 40 and each.startswith("MRV-") for each in ids)
    found = get_hardware_info()
    assert set(found) == {"cpu_type", "cpu_cores", "gpu_type", "num_gpus", "ram_gb"}
    assert found["ram_gb"] > 0


@pytest.mark.parametrize("mrv_id", ["../x", "a/b", ".hidden", "x" * 201])
def test_an_id_that_is_no_file_name_is_refused(tmp_path, mrv_id):
    with pytest.raises(FormatError):
        save_mrv(record_of(steady(3), mrv_id=mrv_id), storage_dir=tmp_path)


@pytest.mark.parametrize(("version", "model"), [("1.0", MrvRecord), ("0.1", MrvRecord01)])
def test_the_published_schema_is_the_model_s(version, model):
    published = json.loads((ROOT / f"docs/mrv-record-{version}.schema.json").read_text())
    assert published == model.model_json_schema(mode="serialization"), (
        f"write docs/mrv-record-{version}.schema.json again"
    )
    import jsonschema

    validator = jsonschema.Draft202012Validator(published)
    validator.validate(record_value(steady(60)) if version == "1.0" else FIRST)
    assert not validator.is_valid({"schema_version": version})
