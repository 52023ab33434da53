# SPDX-License-Identifier: MIT
"""The contracts' own tests, which forge runs: all pass, they notice removed guards, and gas does not creep up."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

PROJECT = Path(__file__).parents[2]
CONTRACTS = PROJECT / "contracts"
COMPILED = PROJECT / "mrv_backends_eth" / "compiled"
NODE = PROJECT / "tests" / "node"
TOLERATED_GAS = 1.05

Forge = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.node


@pytest.fixture(scope="session")
def forge(node: str) -> Forge:
    """Return a function that runs forge in a project, in the named profile and in no other's settings."""
    program = NODE / "node_modules" / ".bin" / "forge"
    if not (program.exists() and (NODE / "node_modules" / "solc").is_dir()):
        if os.environ.get("CI"):
            pytest.fail("forge or the Solidity compiler is missing; run: make node-programs")
        pytest.skip("needs forge and the Solidity compiler; run: make node-programs")
    inherited = {
        name: text for name, text in os.environ.items() if not name.startswith(("FOUNDRY_", "FORGE_", "DAPP_", "MRV_"))
    }

    def run(
        project: Path, *arguments: str, profile: str = "default", settings: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = inherited | {"FOUNDRY_PROFILE": profile} | dict(settings or {})
        command = [str(program), *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=600)

    return run


def compiled_once(
    name: str,
    forge: Forge,
    factory: pytest.TempPathFactory,
    worker_id: str,
    profile: str = "default",
    prepare: Callable[[Path], None] = lambda project: None,
) -> Path:
    """Copy the contracts and compile them, once for all workers of the test run; return the copy."""
    shared = factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    root = shared / name
    with FileLock(shared / f"{name}.lock"):
        if not (root / "done").exists():
            shutil.copytree(CONTRACTS, root / "contracts", ignore=shutil.ignore_patterns("build"))
            (root / "tests").mkdir()
            (root / "tests" / "node").symlink_to(NODE, target_is_directory=True)
            prepare(root / "contracts")
            done = forge(root / "contracts", "build", profile=profile)
            assert done.returncode == 0, done.stdout + done.stderr
            (root / "done").touch()
    return root


@pytest.fixture(scope="session")
def built(forge: Forge, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    return compiled_once("contracts-built", forge, tmp_path_factory, worker_id)


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    """Return a compiled copy of the contracts' folder that a test may change."""
    shutil.copytree(built, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy" / "contracts"


def forge_results(project: Path, forge: Forge) -> dict[str, Any]:
    """Run forge's tests and return each one's result by its contract and name."""
    done = forge(project, "test", "--json")
    try:
        suites = json.loads(done.stdout)
    except ValueError:
        pytest.fail(f"forge ran no test:\n{done.stdout}\n{done.stderr}")
    return {
        f"{suite.partition(':')[2]}.{name.partition('(')[0]}": result
        for suite, outcome in suites.items()
        for name, result in outcome["test_results"].items()
    }


def names_in_sources() -> set[str]:
    """Return contract and name of every test that the sources define."""
    found = set()
    for source in (CONTRACTS / "test").glob("*.t.sol"):
        contract = ""
        for line in source.read_text().splitlines():
            if match := re.match(r"(?:abstract )?contract (\w+)", line):
                contract = match[1]
            elif match := re.match(r"    function ((?:test|invariant)\w*)\(", line):
                found.add(f"{contract}.{match[1]}")
    return found


def test_every_test_of_the_contracts_passes(project: Path, forge: Forge) -> None:
    results = forge_results(project, forge)
    assert {name: result["reason"] for name, result in results.items() if result["status"] != "Success"} == {}
    assert set(results) == names_in_sources()


def test_tests_are_named_by_kind() -> None:
    kinds = re.compile(r"test_[A-Z]|testFuzz_[A-Z]|test_RevertIf_[A-Z]|testFuzz_RevertIf_[A-Z]|invariant_[A-Z]")
    assert [name for name in names_in_sources() if not kinds.match(name.partition(".")[2])] == []


def test_campaign_before_a_release_makes_enough_calls() -> None:
    """At least 100,000 calls, and for each contract at least 256 runs of 500 calls."""
    profile = tomllib.loads((CONTRACTS / "foundry.toml").read_text())["profile"]["release"]
    campaigns = [name for name in names_in_sources() if "invariant_" in name]
    assert len(campaigns) == 3
    assert profile["invariant"]["runs"] >= 256
    assert profile["invariant"]["depth"] >= 500
    assert len(campaigns) * profile["invariant"]["runs"] * profile["invariant"]["depth"] >= 100_000


def test_forge_and_solc_make_the_same_bytes(built: Path) -> None:
    for path in COMPILED.iterdir():
        committed = json.loads(path.read_text())
        made = json.loads((built / "contracts" / "build" / "out" / f"{path.stem}.sol" / path.name).read_text())
        assert made["bytecode"]["object"] == committed["bytecode"], path.name
        assert made["deployedBytecode"]["object"] == committed["deployedBytecode"], path.name


def test_sources_are_formatted(built: Path, forge: Forge) -> None:
    done = forge(built / "contracts", "fmt", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def gas_figures(folder: Path) -> dict[str, int]:
    """Return the gas of every call that forge's snapshot files name."""
    return {
        f"{path.stem}.{name}": int(gas)
        for path in sorted(folder.glob("*.json"))
        for name, gas in json.loads(path.read_text()).items()
    }


def test_gas_is_not_above_the_snapshot(project: Path, forge: Forge) -> None:
    """More gas by 5 % fails. To accept another figure: FOUNDRY_PROFILE=gas forge test, in contracts/."""
    committed = gas_figures(project / "snapshots")
    shutil.rmtree(project / "snapshots")
    done = forge(project, "test", profile="gas")  # with --json it would write no snapshot
    assert done.returncode == 0, done.stdout + done.stderr
    measured = gas_figures(project / "snapshots")
    assert measured.keys() == committed.keys()
    assert {name: gas for name, gas in measured.items() if gas > TOLERATED_GAS * committed[name]} == {}


def test_documented_gas_is_the_snapshots() -> None:
    page = (PROJECT / "docs" / "contracts.md").read_text()
    rows = re.findall(r"^\| `(\w+)\.(\w+)`, (.+?) \| ([\d,]+) \|", page, re.MULTILINE)
    documented = {f"{contract}.{call}: {case}": int(gas.replace(",", "")) for contract, call, case, gas in rows}
    assert documented == gas_figures(CONTRACTS / "snapshots")


MUTATIONS: list[dict[str, str]] = [
    {"name": "nothing", "contract": "MLProvenance", "old": "", "new": ""},
    {"name": "nothing", "contract": "MRVRegistry", "old": "", "new": ""},
    {"name": "nothing", "contract": "BatchVerifier", "old": "", "new": ""},
    *tomllib.loads((CONTRACTS / "test" / "mutations.toml").read_text())["mutation"],
]


def add_mutated_contracts(project: Path) -> None:
    """Write a folder for each mutation, with copies of all contracts and one of them changed."""
    for number, mutation in enumerate(MUTATIONS):
        folder = project / "mutated" / f"m{number}"
        folder.mkdir(parents=True)
        for source in project.glob("*.sol"):
            text = source.read_text()
            if source.stem == mutation["contract"] and mutation["old"]:
                assert text.count(mutation["old"]) == 1, f"the mutation no longer fits the contract: {mutation}"
                text = text.replace(mutation["old"], mutation["new"])
            (folder / source.name).write_text(text)


@pytest.fixture(scope="session")
def mutated(forge: Forge, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    return compiled_once(
        "contracts-mutated", forge, tmp_path_factory, worker_id, profile="quick", prepare=add_mutated_contracts
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", range(len(MUTATIONS)), ids=lambda number: "{contract}: {name}".format(**MUTATIONS[number])
)
def test_removed_guard_is_noticed(number: int, mutated: Path, tmp_path: Path, forge: Forge) -> None:
    """The contracts' own tests, run against the mutated code; where nothing is mutated, they pass."""
    mutation = MUTATIONS[number]
    project = mutated / "contracts"
    tests = "BatchVerifier" if mutation["contract"] == "RFC9162" else mutation["contract"]
    settings = {
        "MRV_MUTATED": f"build/out/m{number}",
        "FOUNDRY_FUZZ_FAILURE_PERSIST_DIR": str(tmp_path),
        "FOUNDRY_INVARIANT_FAILURE_PERSIST_DIR": str(tmp_path),
    }
    arguments = ["test", "--fail-fast", "--match-path", f"test/{tests}.t.sol"]
    done = forge(project, *arguments, profile="quick", settings=settings)
    assert "setUp()" not in done.stdout, done.stdout
    assert ("[FAIL" in done.stdout) == bool(mutation["old"]), done.stdout + done.stderr
