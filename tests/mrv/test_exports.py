# SPDX-License-Identifier: MIT
"""Exports: each passes its standard's own schema, in its own units, and nothing unknown becomes a number."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from referencing import Registry, Resource
from typer.testing import CliRunner

from mrv_cli.main import app
from mrv_core.errors import FormatError
from mrv_core.mrv.exports.formats import FORMATS, export_record, export_table
from mrv_core.mrv.exports.sci import Declared
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.schema_0_1 import MrvRecord01

from .making import FACTOR, record_of, record_value, steady
from .test_records import FIRST

ROOT = Path(__file__).parents[2]
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


def interrupted() -> MrvRecord:
    return measured(status="interrupted", interruption="KeyboardInterrupt")


def first(**changes: Any) -> MrvRecord01:
    """Return a record of schema 0.1; the changes are of keys, wherever they are."""
    value: dict[str, Any] = copy.deepcopy(FIRST)
    for part in (part for part in value.values() if isinstance(part, dict)):
        part.update({key: changes[key] for key in part.keys() & changes.keys()})
    return MrvRecord01.from_json(value, what="")


def on_one_gpu() -> MrvRecord:
    """Return a record of three components, each measured in another way, and a country's factor."""
    parts = [
        {"component": "cpu", "energy_uwh": 120_000_000, "method": "modelled", "source": "load", "limit_mw": None},
        {"component": "gpu", "energy_uwh": 710_000_000, "method": "measured", "source": "NVML", "limit_mw": None},
        {"component": "ram", "energy_uwh": 40_000_000, "method": "constant", "source": "size", "limit_mw": None},
    ]
    factor = {**FACTOR, "source": "CodeCarbon 3.3.2, global_energy_mix", "region": "FRA", "period": "2023"}
    return record_of(
        None,
        experiment=FIRST["experiment"],
        training=FIRST["training"],
        hardware={
            "cpu_type": "Intel i7-12700H",
            "cpu_cores": 20,
            "gpu_types": ["NVIDIA RTX 3090"],
            "ram_bytes": 32 * 2**30,
        },
        timestamps={**FIRST["timestamps"], "duration_ms": 5_400_000},
        energy={"total_uwh": 870_000_000, "components": parts},
        emissions={"co2e_mg": 48_754, "pue_permille": 1000, "factor": factor},
        epochs=[],
        environment={"python": "3.11.7", "system": "Linux 6.1.0"},
    )


def named(model: str, dataset: str) -> MrvRecord:
    names = {"experiment_name": "=1+1", "model_name": model, "dataset_name": dataset}
    return measured(experiment=names)


def test_both_schemas_are_exported_in_every_format():
    for name in FORMATS:
        assert export_record(measured(), name) == export_record(measured(), name)
        assert export_record(first(), name)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": -1, "batch_size": 0},
        {"model_name": "x" * 2000, "framework": "y" * 2000},
        {"num_gpus": 2**20, "gpu_type": "G" * 10_000},
        {"co2_kg": 2**53 - 1, "energy_kwh": 2**53 - 1, "duration_seconds": 2**53 - 1},
        {"co2_kg": 0, "energy_kwh": 0.0},
    ],
)
def test_what_schema_0_1_allows_can_be_exported(name, changes):
    assert len(export_record(first(**changes), name)) < 100_000


def test_what_schema_0_1_has_no_word_for_is_not_known():
    record = first(cpu_type="Unknown", gpu_type="None", num_gpus=0, ram_gb=0)
    assert "hardware_used" not in export_record(record, "hf-model-card")
    cells = row_of(record)
    assert (cells["cpu"], cells["gpus"], cells["ram_bytes"], cells["pue"], cells["status"]) == ("",) * 5


def test_times_are_in_utc():
    record = first(start_time="2026-01-11T08:00:00+05:00", end_time="2026-01-11T09:30:00+05:00")
    assert row_of(record)["start_time"] == "2026-01-11T03:00:00Z"
    report = json.loads(export_record(record, "boamps"))
    assert report["header"]["reportDatetime"] == "2026-01-11 04:30:00"
    assert report["measures"][0]["measurementDateTime"] == "2026-01-11 03:00:00"


def test_an_interrupted_training_is_not_exported_as_a_whole_one():
    record = interrupted()
    assert "(2 epochs planned; interrupted: KeyboardInterrupt), consuming" in export_record(record, "latex")
    report = json.loads(export_record(record, "boamps"))
    assert "epochsNumber" not in report["task"]["algorithms"][0]
    assert "interrupted: KeyboardInterrupt" in report["task"]["taskDescription"]
    assert row_of(record)["status"] == "interrupted"
    assert "interrupted" in export_record(record, "cyclonedx")
    assert "interrupted training" in export_record(record, "hf-model-card")


def test_a_model_is_not_called_a_measurement():
    methods = "CPU modelled, GPU measured, RAM constant"
    assert f"({methods})" in export_record(on_one_gpu(), "latex")
    assert row_of(on_one_gpu())["energy_methods"] == methods
    assert sci(on_one_gpu())["E_methods"] == methods
    assert properties_of(on_one_gpu())["mrv:energy"] == methods
    (measure,) = json.loads(export_record(on_one_gpu(), "boamps"))["measures"]
    assert (measure["cpuTrackingMode"], measure["gpuTrackingMode"]) == ("modelled: load", "measured: NVML")


def test_a_part_that_was_not_measured_is_named():
    value = on_one_gpu().to_json()
    value["energy"]["components"][1] |= {"energy_uwh": None, "method": None, "source": "not measured: no NVML"}
    record = MrvRecord.from_json(value, what="")
    assert "(CPU modelled, GPU not measured, RAM constant)" in export_record(record, "latex")
    assert json.loads(export_record(record, "boamps"))["measures"][0]["gpuTrackingMode"] == "not measured"


def row_of(record: Any) -> dict[str, str]:
    (row,) = csv.DictReader(io.StringIO(export_record(record, "csv")))
    return row


def properties_of(record: Any) -> dict[str, str]:
    (component,) = json.loads(export_record(record, "cyclonedx"))["components"]
    return {each["name"]: each["value"] for each in component["properties"]}


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
    Declared(float("inf"), "epoch", 1),
    Declared(1, "epoch", float("inf")),
    Declared(1, "epoch", float("nan")),
    Declared(1, "epoch", 1e-320),
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


@pytest.mark.parametrize("record", [measured(), first(), without_factor(), interrupted(), on_one_gpu()])
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


def test_boamps_agrees_with_codecarbon_s_own_report(boamps):
    """Where CodeCarbon's report of the same training has a value that is not inferred, it is the same."""
    from codecarbon.output_methods.boamps.mapper import map_emissions_to_boamps
    from codecarbon.output_methods.boamps.models import BoAmpsAlgorithm, BoAmpsDataset, BoAmpsTask
    from codecarbon.output_methods.emissions_data import EmissionsData

    record = on_one_gpu()
    ours = json.loads(export_record(record, "boamps"))
    numbers = dict.fromkeys(EmissionsData.__dataclass_fields__, 0.0)
    emissions = EmissionsData(
        **numbers
        | {
            "timestamp": "2026-01-11T08:00:00",
            "run_id": record.mrv_id,
            "duration": 5400.0,
            "energy_consumed": 0.87,
            "country_name": "FRA",
            "cloud_provider": "",
            "os": "Linux 6.1.0",
            "python_version": "3.11.7",
            "codecarbon_version": "3.3.2",
            "cpu_count": 20,
            "cpu_model": "Intel i7-12700H",
            "gpu_count": 1,
            "gpu_model": "NVIDIA RTX 3090",
            "ram_total_size": 32.0,
        }
    )
    task = BoAmpsTask(
        task_stage="training",
        task_family="unspecified",
        algorithms=[BoAmpsAlgorithm(algorithm_name="ResNet18", framework="PyTorch", epochs_number=90)],
        dataset=[BoAmpsDataset(data_usage="input", data_type="other")],
        task_description=ours["task"]["taskDescription"],
    )
    theirs = map_emissions_to_boamps(emissions, task=task).to_dict()
    boamps.validate(theirs)

    (mine,), (their,) = ours["measures"], theirs["measures"]
    assert their.items() <= mine.items()
    for key in ("task", "system", "software"):
        assert ours[key] == theirs[key]
    assert ours["header"]["reportId"] == theirs["header"]["reportId"]
    assert ours["environment"]["country"] == theirs["environment"]["country"]
    cpu, *rest = theirs["infrastructure"]["components"]
    assert ours["infrastructure"]["components"] == [{**cpu, "nbComponent": 1}, *rest]


# --- CycloneDX ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [measured(), first(), without_factor(), unmeasured(), interrupted(), on_one_gpu(), named("\u202e", "")],
)
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
    assert properties_of(unmeasured())["mrv:energy"] == "not measured"
    assert properties_of(without_factor())["mrv:co2e"] == "not known"
    assert properties_of(measured())["mrv:co2e"] == "56.039 g CO2e/kWh (stated by the user)"


# --- Hugging Face, LaTeX, CSV ---------------------------------------------------------------------


def card_of(record: Any) -> dict[str, Any]:
    """Return the metadata as the Hub's own library reads them."""
    from huggingface_hub import ModelCard

    data: dict[str, Any] = ModelCard(export_record(record, "hf-model-card")).data.to_dict()
    assert set(data) == {"co2_eq_emissions"}
    found: dict[str, Any] = data["co2_eq_emissions"]
    assert set(found) <= {"emissions", "source", "training_type", "geographical_location", "hardware_used"}
    return found


def test_the_model_card_is_in_grams():
    card = card_of(first())
    assert card["emissions"] == 420.0
    assert card["hardware_used"] == "1 x NVIDIA RTX 3090, Intel i7-12700H"
    assert FIRST["mrv_id"] in card["source"]
    card = card_of(on_one_gpu())
    assert (card["emissions"], card["geographical_location"]) == (48.754, "FRA")
    assert "training_type" not in card, "no record says it"
    for record, hint in ((unmeasured(), "see its gaps"), (without_factor(), "country or emission_factor")):
        with pytest.raises(FormatError, match="has no CO2") as error:
            export_record(record, "hf-model-card")
        assert hint in str(error.value.hint)


@given(NAMES, NAMES)
def test_any_name_is_text_in_yaml(cpu, gpu):
    hardware = {"cpu_type": cpu, "cpu_cores": 1, "gpu_types": [gpu], "ram_bytes": 1}
    text = export_record(measured(hardware=hardware), "hf-model-card")
    (document,) = (each for each in yaml.safe_load_all(text) if each)
    assert document["co2_eq_emissions"]["hardware_used"] == (f"1 x {gpu}, {cpu}" if cpu else f"1 x {gpu}")


@given(st.floats(0, 2**53 - 1))
@example(1e-9)
@example(9e15)
def test_emissions_are_a_number_to_readers_of_yaml_1_1(mass_kg):
    """PyYAML takes `1e-06` for text; and what is written as 0.001141 kg is 1.141 g, whatever floats make of it."""
    (document,) = (each for each in yaml.safe_load_all(export_record(first(co2_kg=mass_kg), "hf-model-card")) if each)
    emissions = document["co2_eq_emissions"]["emissions"]
    assert isinstance(emissions, int | float)
    assert emissions == pytest.approx(mass_kg * 1000, rel=1e-15)


def test_the_sentence_for_a_paper():
    record = first()
    assert export_record(record, "latex") == (
        "We trained ResNet18 on CIFAR-10 for 90 epochs, consuming 0.87\\,kWh and emitting 0.42\\,kg "
        "CO\\textsubscript{2}e (experiment: resnet18\\_cifar10\\_baseline, "
        "MRV ID: MRV-fc25ba52-f439-4834-be2b-2dbae1e03437, SHA-256: "
        f"\\texttt{{{record.hash.hex}}}).\n"
    )
    assert "its energy was not measured; its CO\\textsubscript{2}e is not known" in export_record(unmeasured(), "latex")
    assert "at 56.039\\,g\\,CO\\textsubscript{2}e/kWh (stated by the user, PUE 1.2)" in export_record(
        measured(), "latex"
    )


LATEX = {  # what LaTeX draws for it
    **{f"\\{letter}": letter for letter in "{}$&#_%"},
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\symbol{34}": '"',
    "{}": "",
}
TOKEN = re.compile("|".join(re.escape(command) for command in sorted(LATEX, key=len, reverse=True)) + "|(.)", re.DOTALL)


@given(st.one_of(NAMES, st.text("-'`,!?<>|\"\\{}$&#_%~^\n\ra", max_size=20)))
def test_no_name_is_a_command_in_latex(name):
    text = export_record(named(name, "x"), "latex")
    inside = text.removeprefix("We trained ").partition(" on x for 2 epochs")[0]
    plain = [each[1] for each in TOKEN.finditer(inside) if each[1] is not None]
    assert not set(plain) & set('\\{}$&#_%~^<>|"\n\r'), "only whole commands"
    drawn = TOKEN.sub(lambda each: each[1] or LATEX[each[0]], inside)
    assert drawn == "".join(letter if letter.isprintable() else " " for letter in name)
    for ligature in ("--", "''", "``", ",,", "!`", "?`", "<<", ">>"):
        assert ligature not in inside


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@given(NAMES | st.builds("".join, st.tuples(st.sampled_from([*FORMULA, " ="]), NAMES)))
def test_no_cell_is_a_formula(name):
    cells = row_of(named(name, "@SUM(A1)"))
    assert cells["experiment_name"] == "'=1+1"
    assert cells["dataset_name"] == "'@SUM(A1)"
    assert cells["model_name"] in (name, f"'{name}")
    assert not cells["model_name"].startswith(FORMULA)
    assert not cells["model_name"].lstrip().startswith(FORMULA)


def test_a_cell_that_is_not_known_is_empty():
    cells = row_of(unmeasured())
    assert (cells["energy_kwh"], cells["co2e_kg"], cells["gpus"]) == ("", "", "")


def test_a_table_has_a_row_for_each_record():
    records = [on_one_gpu(), first(), unmeasured()]
    rows = list(csv.DictReader(io.StringIO(export_table(records))))
    assert rows == [row_of(record) for record in records]
    assert [row["energy_kwh"] for row in rows] == ["0.87", "0.87", ""]


# --- The command ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with the records of docs/exports.md."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "mrv_data"
    data.mkdir()
    Path(data, f"{on_one_gpu().mrv_id}.json").write_bytes(on_one_gpu().to_bytes())
    Path(data, "MRV-first.json").write_bytes(first().to_file())
    return data


def mrv(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.stdout, done.stderr


PAGE = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```console no-run\n\$ mrv (.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)


def test_every_format_has_an_example():
    assert sorted(re.search(r"--format (\S+)", command)[1] for command, _ in EXAMPLES) == sorted(FORMATS)
    assert re.findall(r"^\| `([a-z][a-z-]+)` \|", PAGE, re.MULTILINE) == list(FORMATS)


@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[command[-40:] for command, _ in EXAMPLES])
@pytest.mark.usefixtures("folder")
def test_the_examples_say_what_is_printed(command, output):
    assert mrv(*command.split()) == (0, output, "")
    assert mrv(*command.split(), "-o", "out") == (0, "", "wrote out\n")
    assert Path("out").read_text(encoding="utf-8") == output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "latex"), "error: --format latex is of one record\n"),
        (("--format", "csv", "-o", "mrv_data/MRV-first.json"), "error: mrv_data/MRV-first.json is the record itself\n"),
        (("--format", "csv", "--embodied-g", "0"), "are for --format sci\n"),
    ],
)
def test_what_cannot_be_exported_is_said_before_anything_is_written(folder, words, message):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code, out, err = mrv("export", *sorted(folder.iterdir()), *words)
    assert (code, out) == (2, "")
    assert message in err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_record_is_an_error_in_one_line(folder, name):
    path = folder / "MRV-first.json"
    for damaged in (b"", b"{", path.read_bytes().replace(b'"0.1"', b'"0.2"'), path.read_bytes()[:-9], b"[]"):
        path.write_bytes(damaged)
        code, out, err = mrv("export", path, "--format", name, "-o", "out")
        assert (code, out) == (2, "")
        assert re.fullmatch(r"error: .*MRV-first\.json.*\n(hint: .*\n)?", err)
        assert not Path("out").exists()


def test_options_of_a_record_are_not_taken_for_a_run(folder):
    folder.joinpath("run").mkdir()
    for option in ("--embodied-g", "--units"):
        code, _, err = mrv("export", "--bundle", folder / "run", option, "0")
        assert (code, err) == (2, f"error: {option} is for a record\nhint: leave it out\n")
