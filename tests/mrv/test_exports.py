# SPDX-License-Identifier: MIT
"""Exports: each passes its standard's own schema, in its own units, and nothing unknown becomes a number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource

from mrv_core.errors import FormatError
from mrv_core.mrv.exports.formats import FORMATS, export_record
from mrv_core.mrv.exports.sci import Declared
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.schema_0_1 import MrvRecord01

from .making import record_of, record_value, steady
from .test_records import FIRST

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
FILE = steady(60)


def measured(**changes: Any) -> MrvRecord:
    return record_of(FILE, **changes)


def unmeasured() -> MrvRecord:
    return record_of(None)


def without_factor() -> MrvRecord:
    value = record_value(FILE)
    value["emissions"] = {"co2e_mg": None, "pue_permille": 1000, "factor": None}
    return MrvRecord.from_json(value, what="")


def first() -> MrvRecord01:
    return MrvRecord01.from_json(FIRST, what="")


def named(model: str, dataset: str) -> MrvRecord:
    names = {"experiment_name": "=1+1", "model_name": model, "dataset_name": dataset}
    return measured(experiment=names)


def test_both_schemas_are_exported_in_every_format():
    for name in FORMATS:
        assert export_record(measured(), name)
        assert export_record(first(), name)


# --- SCI ------------------------------------------------------------------------------------------


def sci(record: Any, declared: Declared | None = None) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(export_record(record, "sci", declared))
    return result


def test_sci_is_the_formula_of_the_standard():
    record = measured()
    declared = Declared(embodied_g=12.0, unit="epoch", units=4)
    found = sci(record, declared)
    energy, intensity = record.energy.total_uwh / 1e9 * 1.2, 56.039
    assert found["E_kwh"] == pytest.approx(energy)
    assert found["I_g_per_kwh"] == intensity
    assert found["SCI_g_per_unit"] == pytest.approx((energy * intensity + 12.0) / 4)
    assert found["O_g"] == pytest.approx(record.emissions.co2e_mg / 1000, abs=0.001)
    assert found["record"] == f"sha256:{record.hash.hex}"


@pytest.mark.parametrize(
    ("record", "declared"),
    [
        (measured(), Declared()),
        (measured(), Declared(embodied_g=1.0)),
        (measured(), Declared(unit="epoch", units=2)),
        (unmeasured(), Declared(1.0, "epoch", 2)),
        (without_factor(), Declared(1.0, "epoch", 2)),
        (first(), Declared(1.0, "epoch", 2)),
    ],
)
def test_sci_has_no_score_without_its_terms(record, declared):
    assert sci(record, declared)["SCI_g_per_unit"] is None


IMPOSSIBLE = (
    Declared(embodied_g=-1.0),
    Declared(embodied_g=float("nan")),
    Declared(unit="epoch"),
    Declared(units=2),
    Declared(1, "epoch", 0),
)


@pytest.mark.parametrize("declared", IMPOSSIBLE)
def test_sci_refuses_what_cannot_be(declared):
    with pytest.raises(FormatError):
        sci(measured(), declared)


# --- BoAmps ---------------------------------------------------------------------------------------


@pytest.fixture
def boamps(vectors: Callable[[str], Path]) -> jsonschema.protocols.Validator:
    """Return a validator of the published schemas, which refer to each other by the address they are published at."""
    schemas = {path.name: json.loads(path.read_text()) for path in vectors("boamps").glob("*_schema.json")}
    base = "https://raw.githubusercontent.com/Boavizta/BoAmps/main/model/"
    registry: Registry[Any] = Registry().with_resources(
        (base + name, Resource.from_contents(schema)) for name, schema in schemas.items()
    )
    return jsonschema.Draft4Validator(schemas["report_schema.json"], registry=registry)


@pytest.mark.parametrize("record", [measured(), first(), without_factor()])
def test_boamps_passes_the_published_schema(boamps, record):
    document = json.loads(export_record(record, "boamps"))
    boamps.validate(document)
    assert not boamps.is_valid({**document, "measures": [{}]}), "the schema is not looked at"


def test_boamps_says_what_the_record_says(boamps):
    record = measured(hardware={"cpu_type": "a CPU", "cpu_cores": 2, "gpu_types": ["G", "G"], "ram_bytes": 2**33})
    document = json.loads(export_record(record, "boamps"))
    (measure,) = document["measures"]
    assert measure["powerConsumption"] == record.energy.total_uwh / 1e9
    assert measure["measurementDuration"] == record.timestamps.duration_ms / 1000
    assert document["task"]["algorithms"] == [{"algorithmName": "ResNet18", "framework": "PyTorch", "epochsNumber": 2}]
    kinds = [(each["componentType"], each["nbComponent"]) for each in document["infrastructure"]["components"]]
    assert kinds == [("cpu", 1), ("gpu", 2), ("ram", 1)]
    assert "environment" not in document, "no country was stated"
    with pytest.raises(FormatError, match="has no energy"):
        export_record(unmeasured(), "boamps")


# --- CycloneDX ------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [measured(), first(), without_factor(), unmeasured(), named("\u202e", "")])
def test_cyclonedx_passes_the_library_s_validation(record):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = export_record(record, "cyclonedx")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    broken = text.replace('"machine-learning-model"', '"machine"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None, "the schema is not looked at"


def test_cyclonedx_is_in_tonnes_and_leaves_out_what_is_not_known():
    def consumption(record: Any) -> Any:
        (component,) = json.loads(export_record(record, "cyclonedx"))["components"]
        considered = component["modelCard"].get("considerations")
        return None if considered is None else considered["environmentalConsiderations"]["energyConsumptions"][0]

    used = consumption(first())
    assert used["activityEnergyCost"] == {"value": 0.87, "unit": "kWh"}
    assert used["co2CostEquivalent"] == {"value": pytest.approx(0.00042), "unit": "tCO2eq"}
    assert "co2CostEquivalent" not in consumption(without_factor())
    assert consumption(unmeasured()) is None


# --- Hugging Face, LaTeX, CSV ---------------------------------------------------------------------


def test_the_model_card_is_in_grams():
    text = export_record(first(), "hf-model-card")
    (document,) = (each for each in yaml.safe_load_all(text) if each)
    assert document["co2_eq_emissions"]["emissions"] == 420.0
    assert document["co2_eq_emissions"]["hardware_used"] == "1 x NVIDIA RTX 3090, Intel i7-12700H"
    assert FIRST["mrv_id"] in document["co2_eq_emissions"]["source"]
    for record in (unmeasured(), without_factor()):
        with pytest.raises(FormatError, match="has no CO2"):
            export_record(record, "hf-model-card")


@given(NAMES, NAMES)
def test_any_name_is_text_in_yaml(cpu, gpu):
    hardware = {"cpu_type": cpu, "cpu_cores": 1, "gpu_types": [gpu], "ram_bytes": 1}
    text = export_record(measured(hardware=hardware), "hf-model-card")
    (document,) = (each for each in yaml.safe_load_all(text) if each)
    assert document["co2_eq_emissions"]["hardware_used"] == (f"1 x {gpu}, {cpu}" if cpu else f"1 x {gpu}")


def test_the_sentence_for_a_paper():
    record = first()
    assert export_record(record, "latex") == (
        "We trained ResNet18 on CIFAR-10 for 90 epochs, consuming 0.87\\,kWh and emitting 0.42\\,kg "
        "CO\\textsubscript{2}e (MRV ID: MRV-fc25ba52-f439-4834-be2b-2dbae1e03437, SHA-256: "
        f"\\texttt{{{record.hash.hex}}}).\n"
    )
    assert "its energy was not measured; its CO\\textsubscript{2}e is not known" in export_record(unmeasured(), "latex")
    assert "at 56.039\\,g\\,CO\\textsubscript{2}e/kWh (stated by the user, PUE 1.2)" in export_record(
        measured(), "latex"
    )


@given(NAMES)
def test_no_name_is_a_command_in_latex(name):
    text = export_record(named(name, "x"), "latex")
    inside = text.removeprefix("We trained ").partition(" on x for 2 epochs")[0]
    escapes = (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", *(f"\\{c}" for c in "{}$&#_%"))
    rest = inside
    for escape in escapes:
        rest = rest.replace(escape, "")
    assert not set(rest) & set("\\{}$&#_%~^\n\r")


@given(NAMES)
def test_no_cell_is_a_formula(name):
    head, row = csv.reader(io.StringIO(export_record(named(name, "@SUM(A1)"), "csv")))
    cells = dict(zip(head, row, strict=True))
    assert cells["experiment_name"] == "'=1+1"
    assert cells["dataset_name"] == "'@SUM(A1)"
    assert cells["model_name"].removeprefix("'").replace("\r\n", "\n") == name.removeprefix("'").replace("\r\n", "\n")
    assert not cells["model_name"].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_cell_that_is_not_known_is_empty():
    head, row = csv.reader(io.StringIO(export_record(unmeasured(), "csv")))
    cells = dict(zip(head, row, strict=True))
    assert (cells["energy_kwh"], cells["co2e_kg"], cells["gpus"]) == ("", "", "")
