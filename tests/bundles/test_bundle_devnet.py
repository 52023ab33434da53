# SPDX-License-Identifier: MIT
"""Bundles of real networks: valid with a node, or offline with a block hash; changed ones never, by either verifier."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nodes import anvil, bitcoind, ipfs_daemon  # noqa: F401 - fixtures

from mrv_core.bundle_verification import BundleReport, verify_bundle
from mrv_core.canonical import parse_json
from mrv_core.config import load_config
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict
from mrv_core.registry import Registry
from mrv_devnet.nodes import AnvilNode, BitcoinNode, IpfsNode

from .conftest import Ours, Trust
from .devnet import SETTLED, Devnet, make_devnet, ots_receipt
from .mutations import byte_mutations, field_mutations, mixtures, sealed, with_value

BITCOIN_MAIN = "bip122:000000000019d6689c085ae165831e93"


@pytest.fixture(scope="module")
def devnet(
    tmp_path_factory: pytest.TempPathFactory,
    anvil: AnvilNode,  # noqa: F811
    bitcoind: BitcoinNode,  # noqa: F811
    ipfs_daemon: IpfsNode,  # noqa: F811
) -> Devnet:
    return make_devnet(tmp_path_factory.mktemp("devnet"), anvil, bitcoind, ipfs_daemon)


@pytest.fixture(scope="module")
def real_values(devnet: Devnet) -> dict[str, dict[str, Any]]:
    """Return bundles by name, with receipts of the networks that block hashes settle."""
    made = {
        "leaf": devnet.value("run-1", leaf="training/epochs/0/metrics"),
        "other": devnet.value("run-2", leaf="training/config"),
        "batched": devnet.value("member", leaf="training/results"),
    }
    values = {
        name: value | {"receipts": {key: value["receipts"][key] for key in SETTLED}} for name, value in made.items()
    }
    return values | {"ots": {**values["leaf"], "receipts": {"bitcoin": ots_receipt(devnet, values["leaf"])}}}


@pytest.fixture(scope="module")
def trust(real_values: dict[str, Any], ours: Ours, tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """Return the blocks of the evidence, each for its own chain, as a careful verifier gives them."""
    blocks: set[str] = set()
    for name, value in real_values.items():
        path = tmp_path_factory.mktemp("blocks") / name
        path.write_bytes(sealed(value))
        blocks |= {f"{one.network_id}:{one.block_hash}" for one in ours.report(path, Trust()).networks}
    return Trust(blocks=tuple(sorted(blocks)))


def may_stay_valid(place: str) -> bool:
    """Whether a change leaves a true bundle: one that shows less, or has another claim that nothing proves."""
    shows_less = re.fullmatch(r"proof:null|proof/value:removed|receipts/[a-z]+:removed", place)
    # The record in the contract is proven, not which transaction made it; the block, not how deep it is by now.
    claims = re.match(r"receipts/[a-z]+/(submitted_at:|state:INCLUDED)|receipts/ethereum/reference:", place)
    return shows_less is not None or claims is not None


def test_a_block_hash_settles_a_bundle_and_nothing_else_remains(
    real_values: dict[str, Any], trust: Trust, compare: Any
) -> None:
    files = [(name, sealed(value)) for name, value in real_values.items()]
    assert set(compare(files, trust).values()) == {"VALID"}
    assert set(compare(files, Trust()).values()) == {"UNREACHABLE"}
    bare = tuple(block.rpartition(":")[2].upper() for block in trust.blocks)
    assert set(compare(files, Trust(blocks=bare)).values()) == {"VALID"}
    elsewhere = tuple(f"eip155:1:{block}" for block in bare)
    assert set(compare(files, Trust(blocks=elsewhere)).values()) == {"UNREACHABLE"}


@pytest.mark.parametrize("name", ["leaf", "batched", "ots"])
def test_no_changed_field_is_valid(name: str, real_values: dict[str, Any], trust: Trust, compare: Any) -> None:
    changes = field_mutations(real_values[name], random.Random(name))  # noqa: S311
    verdicts = compare(changes, trust)
    assert [place for place, verdict in verdicts.items() if verdict == "VALID" and not may_stay_valid(place)] == []
    assert len(verdicts) > 350


def test_no_changed_byte_of_evidence_is_valid(real_values: dict[str, Any], trust: Trust, compare: Any) -> None:
    """Every long text of the evidence, many bits each, the file sealed again."""
    rng = random.Random(11)  # noqa: S311
    for name in ("leaf", "ots"):
        files = []
        for network, receipt in real_values[name]["receipts"].items():
            for path, text in hexadecimal(receipt["evidence"], ("receipts", network, "evidence")):
                for number in range(12):
                    place = rng.randrange(2 if text.startswith("0x") else 0, len(text))
                    digit = format(int(text[place], 16) ^ 1 << rng.randrange(4), "x")
                    changed = text[:place] + digit + text[place + 1 :]
                    files.append((f"{path} {number}", sealed(with_value(real_values[name], path, changed))))
        assert "VALID" not in compare(files, trust).values()
        assert len(files) > 20
    assert set(compare(byte_mutations(sealed(real_values["leaf"]), rng, 64), trust).values()) <= {"TAMPERED", None}


def hexadecimal(value: Any, path: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], str]]:
    """Return every hexadecimal text inside a JSON value with its place."""
    if isinstance(value, str):
        return [(path, value)] if re.fullmatch(r"(?:0x)?[0-9a-f]{8,}", value) else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, child in items for found in hexadecimal(child, (*path, key))]


def test_no_mixture_of_two_runs_is_valid(real_values: dict[str, Any], trust: Trust, compare: Any) -> None:
    for one, two in (("leaf", "other"), ("batched", "leaf"), ("leaf", "batched"), ("ots", "other")):
        verdicts = compare(mixtures(real_values[one], real_values[two]), trust)
        assert "VALID" not in verdicts.values()
        assert len(verdicts) > 5


def test_a_cheap_header_is_no_header_of_another_chain(real_values: dict[str, Any], trust: Trust, compare: Any) -> None:
    """Attacks A07 and A47: a block of regtest costs two hashes, whatever the receipt calls its chain."""
    for name in ("leaf", "ots"):
        value = real_values[name]
        kept = {**value, "receipts": {"bitcoin": value["receipts"]["bitcoin"]}}
        claimed = with_value(kept, ("receipts", "bitcoin", "network_id"), BITCOIN_MAIN)
        unknown = with_value(kept, ("receipts", "bitcoin", "network_id"), "bip122:" + "0" * 32)
        files = [("as it is", sealed(kept)), ("as main", sealed(claimed)), ("as unknown", sealed(unknown))]
        open_, wrong = "UNREACHABLE", "TAMPERED"
        bare = tuple(block.rpartition(":")[2] for block in trust.blocks)
        for given, unknown_verdict in ((Trust(), open_), (Trust(blocks=bare), "VALID"), (trust, open_)):
            as_it_is = open_ if given == Trust() else "VALID"
            expected = {"as it is": as_it_is, "as main": wrong, "as unknown": unknown_verdict}
            assert compare(files, given) == expected
        assert compare(files[:1], Trust(min_work=1)) == {"as it is": "VALID"}
        assert compare(files[:1], Trust(min_work=2)) == {"as it is": open_}


def test_a_receipt_without_evidence_is_pending(real_values: dict[str, Any], trust: Trust, compare: Any) -> None:
    files = []
    for network in SETTLED:
        receipt = real_values["leaf"]["receipts"][network] | {"evidence": {}, "block_time": None, "state": "PENDING"}
        files.append((network, sealed({**real_values["leaf"], "receipts": {network: receipt}})))
    assert compare(files, trust) == dict.fromkeys(SETTLED, "PENDING")


# --- with the nodes ----------------------------------------------------------------------------------------------


@pytest.fixture
def verify(devnet: Devnet, tmp_path: Path) -> Callable[..., BundleReport]:
    """Verify on a machine that has nothing of the run: a configuration of its own and an empty folder."""

    def run(value: dict[str, Any], **changes: dict[str, Any] | None) -> BundleReport:
        registry = Registry.load()
        sections = {name: _readable(devnet, name) for name in devnet.config.networks}
        kept = {name: section for name, section in {**sections, **changes}.items() if section is not None}
        config = load_config({"blockchain": {"networks": list(kept), **kept}}, registry=registry, environment={})
        path = tmp_path / "it.mrv.json"
        path.write_bytes(sealed(value))
        with BlockchainManager(config, base_dir=tmp_path / "empty", registry=registry) as manager:
            return verify_bundle(path, registry=registry, manager=manager)

    return run


def _readable(devnet: Devnet, name: str) -> dict[str, Any]:
    """Return what a verifier needs of a network: where it is, and neither key nor wallet."""
    settings = devnet.config.networks[name].settings
    if name == "bitcoin":
        node = devnet.bitcoind
        login = {"rpc_user": node.user, "rpc_password_file": str(node.password_file)}
        return {"rpc_url": settings.rpc_url, **login, "network": "regtest"}
    if name == "ipfs":
        return {"url": settings.url}
    chain = {"driver": "ethereum", "rpc_url": settings.rpc_url, "chain_id": 31337}
    return chain | ({"contract_address": settings.contract_address} if name == "ethereum" else {"mode": "calldata"})


def test_another_machine_with_its_own_nodes_finds_it_valid(devnet: Devnet, verify: Any) -> None:
    for run in ("run-1", "member"):
        report = verify(devnet.value(run, leaf="training/config"))
        assert report.verdict is Verdict.VALID
        assert all(check.asked and not check.remaining and not check.embedded for check in report.networks)
        assert {check.network for check in report.networks} == {"bitcoin", "calldata", "ethereum", "ipfs"}


def test_a_network_that_the_verifier_lacks_is_examined_only(devnet: Devnet, verify: Any) -> None:
    report = verify(devnet.value("run-1"), ethereum=None)
    checks = {check.network: check for check in report.networks}
    assert (report.verdict, checks["ethereum"].verdict) == (Verdict.UNREACHABLE, Verdict.UNREACHABLE)
    assert (checks["ethereum"].asked, len(checks["ethereum"].remaining)) == (False, 1)
    assert all(check.verdict is Verdict.VALID for name, check in checks.items() if name != "ethereum")


def test_what_is_claimed_offline_is_found_out_by_the_node(devnet: Devnet, verify: Any) -> None:
    """The transaction of a contract's record is a claim of the receipt; a node knows it is another."""
    value, other = devnet.value("run-1"), devnet.value("run-2")
    swapped = with_value(value, ("receipts", "ethereum", "reference"), other["receipts"]["ethereum"]["reference"])
    report = verify(swapped)
    assert {check.network: check.verdict for check in report.networks}["ethereum"] is Verdict.TAMPERED
    assert report.verdict is Verdict.DISAGREE


def test_the_exported_bundle_is_strict_json_of_small_size(devnet: Devnet) -> None:
    data = sealed(devnet.value("run-1", leaf="training/config"))
    assert parse_json(data, what="bundle")["format"] == "mrv-bundle/1"
    assert len(data) < 32 * 1024
