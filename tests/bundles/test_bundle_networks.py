# SPDX-License-Identifier: MIT
"""What the networks add to a bundle: who is asked, what counts, and that nothing is VALID because nobody answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles.examiners import plugin_with

from mrv_core.bundle import Bundle, export_bundle
from mrv_core.bundle_verification import BundleReport, Expectations, verify_bundle
from mrv_core.config import load_config
from mrv_core.driver import TrustedFacts
from mrv_core.errors import AnchorNotFoundError, ConfigurationError, StorageError
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict
from mrv_core.registry import Registry
from mrv_core.testing.memory import MemoryDriver
from mrv_core.tracker import ProvenanceTracker

from .mutations import sealed

VALID, PENDING, UNREACHABLE = Verdict.VALID, Verdict.PENDING, Verdict.UNREACHABLE
TAMPERED, DISAGREE, NOT_FOUND = Verdict.TAMPERED, Verdict.DISAGREE, Verdict.NOT_FOUND


def registry_with(examiner: str) -> Registry:
    registry = Registry.load()
    registry.add_plugin(plugin_with(examiner), "memory")
    return registry


class World:
    """A run on two in-memory networks, and a verifier with a configuration of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base_dir = folder / "artifacts"
        self.registry = registry_with("examine")

    def config(self, *, verification: dict[str, Any] | None = None, **sections: Any) -> Any:
        named = {"alpha": {}, "beta": {}} | sections
        kept = {name: {"driver": "memory"} | section for name, section in named.items() if section is not None}
        document = {"networks": list(kept), **kept, "verification": verification or {}}
        return load_config({"blockchain": document}, registry=self.registry, environment={})

    def run(self, **sections: Any) -> Path:
        tracker = ProvenanceTracker(self.base_dir, self.config(**sections), run_id="run-1", registry=self.registry)
        tracker.track_data({"x": [1, 2, 3]})
        tracker.store_merkle_on_blockchain_before_training({})
        tracker.close()
        return tracker.run_folder

    def bundle(self, **sections: Any) -> dict[str, Any]:
        return export_bundle(self.run(**sections), leaf="training/config").to_json()

    def verify(
        self,
        value: dict[str, Any],
        *,
        offline: bool = False,
        config: Any = None,
        registry: Registry | None = None,
        base_dir: Path | None = None,
        before: Callable[[BlockchainManager], None] | None = None,
        **options: Any,
    ) -> BundleReport:
        path = self.folder / "it.mrv.json"
        path.write_bytes(sealed(value))
        registry = registry or self.registry
        if offline:
            return verify_bundle(path, registry=registry, **options)
        with BlockchainManager(
            config or self.config(), base_dir=base_dir or self.base_dir, registry=registry, sleep=lambda _: None
        ) as manager:
            if before is not None:
                before(manager)
            return verify_bundle(path, registry=registry, manager=manager, **options)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def verdicts(report: BundleReport) -> dict[str, Verdict]:
    return {check.network: check.verdict for check in report.networks}


def steps(report: BundleReport) -> list[Verdict | None]:
    assert [step.number for step in report.steps] == list(range(1, len(report.steps) + 1))
    return [step.verdict for step in report.steps]


def test_networks_that_can_be_asked_settle_what_remains(world: World) -> None:
    report = world.verify(world.bundle())
    assert report.verdict is VALID
    assert steps(report) == [VALID, VALID, VALID, None, VALID, UNREACHABLE, VALID, VALID]
    for check in report.networks:
        assert (check.asked, check.remaining, check.state) == (True, (), "FINAL")
        assert check.trusts
        assert check.confirmations == 1
    assert BundleReport.from_bytes(report.to_bytes(), what="report") == report


def test_offline_nobody_is_asked_and_what_remains_is_said(world: World) -> None:
    value = world.bundle()
    report = world.verify(value, offline=True)
    assert (report.verdict, report.offline) == (UNREACHABLE, True)
    assert steps(report) == [VALID, VALID, VALID, None, VALID, UNREACHABLE, None, UNREACHABLE]
    for check in report.networks:
        assert check.block_hash is not None
        assert check.remaining == (f"that block {check.block_hash} is in {check.network_id}",)
    blocks = {check.network_id: frozenset({check.block_hash or ""}) for check in report.networks}
    assert world.verify(value, offline=True, blocks=blocks).verdict is VALID
    crossed = dict(zip(blocks, reversed(blocks.values()), strict=True))
    assert world.verify(value, offline=True, blocks=crossed).verdict is UNREACHABLE
    anywhere = TrustedFacts(block_hashes=frozenset().union(*blocks.values()))
    report = world.verify(value, offline=True, trusted=anywhere)
    assert report.verdict is VALID
    assert all("given by the verifier" in check.trusts[0] for check in report.networks)


def test_a_pending_receipt_is_pending_until_its_network_has_it(world: World) -> None:
    value = world.bundle(beta={"instant_mining": False})
    assert value["receipts"]["beta"]["evidence"] == {}
    assert verdicts(world.verify(value, offline=True)) == {"alpha": UNREACHABLE, "beta": PENDING}
    report = world.verify(value, config=world.config(beta={"instant_mining": False}))
    assert (report.verdict, verdicts(report)) == (PENDING, {"alpha": VALID, "beta": PENDING})

    def mine(manager: BlockchainManager) -> None:
        driver = manager.driver("beta")
        assert isinstance(driver, MemoryDriver)
        driver.chain.mine()

    assert world.verify(value, before=mine).verdict is VALID


def test_an_anchor_that_is_not_deep_enough_is_pending(world: World) -> None:
    deep = {"finality_depth": 6}
    value = world.bundle()
    report = world.verify(value, config=world.config(alpha=deep))
    assert (report.verdict, verdicts(report)) == (PENDING, {"alpha": PENDING, "beta": VALID})
    shallow = world.config(alpha=deep, verification={"state": "INCLUDED"})
    assert world.verify(value, config=shallow).verdict is VALID


def test_a_network_that_is_not_configured_is_only_examined(world: World) -> None:
    value = world.bundle()
    report = world.verify(value, config=world.config(beta=None))
    assert (report.verdict, verdicts(report)) == (UNREACHABLE, {"alpha": VALID, "beta": UNREACHABLE})
    assert "no network 'beta' with the driver 'memory'" in report.networks[1].detail
    other = load_config(
        {"blockchain": {"networks": ["alpha", "beta"], "alpha": {"driver": "memory"}, "beta": {"driver": "ipfs"}}},
        registry=world.registry,
        environment={},
    )
    report = world.verify(value, config=other)
    assert (verdicts(report)["beta"], report.networks[1].asked) == (UNREACHABLE, False)


@pytest.mark.parametrize("fault", ["unavailable", "rejected"])
def test_a_network_that_fails_leaves_the_examined_verdict(world: World, fault: str) -> None:
    value = world.bundle()
    failing = world.config(beta={"fail": {"verify": [fault] * 3}})
    report = world.verify(value, config=failing)
    assert (report.verdict, verdicts(report)) == (UNREACHABLE, {"alpha": VALID, "beta": UNREACHABLE})
    assert "could not be asked" in report.networks[1].detail
    block = world.verify(value, offline=True).networks[1].block_hash
    known = TrustedFacts(block_hashes=frozenset({block or ""}))
    report = world.verify(value, config=failing, trusted=known)
    assert report.verdict is VALID
    assert not report.networks[1].asked


def test_a_network_that_lies_is_told_apart(world: World) -> None:
    value = world.bundle()
    report = world.verify(value, config=world.config(beta={"fail": {"verify": ["lie"]}}))
    assert (report.verdict, verdicts(report)) == (DISAGREE, {"alpha": VALID, "beta": TAMPERED})


def test_an_embedded_network_of_another_folder_says_nothing(world: World, tmp_path: Path) -> None:
    """Every folder has its own; that this one lacks the anchor is no evidence against it."""
    value = world.bundle()
    elsewhere = World(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere.run()
    report = elsewhere.verify(value)
    assert (report.verdict, set(verdicts(report).values())) == (UNREACHABLE, {UNREACHABLE})
    assert all("embedded network here is not the one" in check.detail for check in report.networks)


@pytest.mark.parametrize("claims", [{"network_id": "memory:elsewhere"}, {"embedded": False}])
def test_another_network_of_the_same_name_cannot_contradict(world: World, claims: dict[str, Any]) -> None:
    """A verifier without a configuration has embedded networks by the usual names."""
    value = world.bundle()
    value["receipts"]["beta"]["evidence"] = {}
    value["receipts"]["beta"] |= {"state": "PENDING", "block_time": None, **claims}
    report = world.verify(value)
    assert (report.verdict, verdicts(report)) == (PENDING, {"alpha": VALID, "beta": PENDING})
    (beta,) = (check for check in report.networks if check.network == "beta")
    assert not beta.asked
    assert "the embedded network 'beta' of the verifier's configuration is" in beta.detail


def test_a_public_network_without_the_anchor_is_not_found(world: World) -> None:
    value = world.bundle()
    value["receipts"]["beta"]["embedded"] = False

    def lose(manager: BlockchainManager) -> None:
        driver = manager.driver("beta")
        assert isinstance(driver, MemoryDriver)
        driver.script("verify", AnchorNotFoundError("beta has no such transaction"))

    report = world.verify(value, before=lose)
    assert (report.verdict, verdicts(report)) == (NOT_FOUND, {"alpha": VALID, "beta": NOT_FOUND})
    assert report.summary == "beta: beta has no such transaction."


def test_nobody_is_asked_about_what_is_wrong(world: World) -> None:
    value = world.bundle()
    value["receipts"]["beta"]["evidence"]["position"] = 1
    report = world.verify(value)
    assert report.verdict is TAMPERED
    assert steps(report)[5:7] == [TAMPERED, None]
    assert not any(check.asked for check in report.networks)
    value["phase"] = "after_training"
    report = world.verify(value)
    assert steps(report)[1] is TAMPERED
    assert report.summary.startswith("Run id, phase and branches make the root: ")


# --- the rule ----------------------------------------------------------------------------------------------------


def test_the_verifiers_number_counts_where_their_configuration_names_the_networks(world: World) -> None:
    value = world.bundle()
    failing = {"beta": {"fail": {"verify": ["unavailable"] * 3}}}
    one_of_two = world.config(verification={"require": 1}, **failing)
    report = world.verify(value, config=one_of_two)
    assert (report.verdict, verdicts(report)) == (VALID, {"alpha": VALID, "beta": UNREACHABLE})
    assert report.rule == "at least 1 of the bundle's receipts must be valid"
    one_known = world.config(beta=None, gamma={}, verification={"require": 1})
    report = world.verify(value, config=one_known)
    assert (report.verdict, report.rule) == (UNREACHABLE, "every receipt of the bundle must be valid")
    two_of_three = world.config(gamma={}, verification={"require": 2})
    del value["receipts"]["beta"]
    assert world.verify(value, config=two_of_three).verdict is NOT_FOUND


def test_named_networks_must_be_there_and_valid(world: World) -> None:
    value = world.bundle()
    failing = world.config(beta={"fail": {"verify": ["unavailable"] * 3}})
    assert world.verify(value, config=failing, expect=Expectations(networks=("alpha",))).verdict is VALID
    assert world.verify(value, config=failing, expect=Expectations(networks=("beta",))).verdict is UNREACHABLE
    for number in (1, 2):  # a policy's number is about the networks that nobody named
        failing = world.config(beta={"fail": {"verify": ["unavailable"] * 3}}, verification={"require": number})
        for names, verdict in {("alpha",): VALID, ("beta",): UNREACHABLE, ("alpha", "beta"): UNREACHABLE}.items():
            report = world.verify(value, config=failing, expect=Expectations(networks=names))
            assert report.verdict is verdict, (number, names)
            assert report.rule == f"the receipts of {', '.join(names)} must be valid"
    with pytest.raises(ConfigurationError, match="no receipt of 'gamma'"):
        world.verify(value, expect=Expectations(networks=("alpha", "gamma")))


def test_a_receipt_that_was_not_asked_for_can_contradict(world: World) -> None:
    value = world.bundle()
    lying = world.config(beta={"fail": {"verify": ["lie"]}})
    assert world.verify(value, config=lying, expect=Expectations(networks=("alpha",))).verdict is DISAGREE


# --- examiners ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("examiner", "verdict", "detail"),
    [
        ("", UNREACHABLE, "can check it only by asking the network"),
        ("nowhere", UNREACHABLE, "nothing of it could be checked"),
        ("broken", UNREACHABLE, "defect in the examiner of the driver 'memory': it raised ZeroDivisionError"),
        ("about_another", TAMPERED, "about something else"),
        ("malformed", TAMPERED, "the evidence is no evidence"),
    ],
)
def test_an_examiner_that_is_missing_or_misbehaves_makes_nothing_valid(
    world: World, examiner: str, verdict: Verdict, detail: str
) -> None:
    value = world.bundle()
    report = world.verify(value, offline=True, registry=registry_with(examiner))
    assert (report.verdict, set(verdicts(report).values())) == (verdict, {verdict})
    assert all(detail in check.detail for check in report.networks)
    assert b"password" not in report.to_bytes()
    if verdict is UNREACHABLE:
        assert all(check.remaining for check in report.networks)
        assert world.verify(value, registry=registry_with(examiner)).verdict is VALID


def test_what_the_verifier_misspelt_is_theirs_to_correct(world: World) -> None:
    with pytest.raises(ConfigurationError, match="that is no key"):
        world.verify(world.bundle(), offline=True, registry=registry_with("refusing"))


def test_a_receipt_of_a_driver_that_is_not_installed_is_kept(world: World) -> None:
    value = world.bundle()
    registry = Registry.load()
    report = world.verify(value, offline=True, registry=registry)
    assert set(verdicts(report).values()) == {UNREACHABLE}
    assert "there is no driver 'memory'" in report.networks[0].detail
    assert Bundle.from_bytes(sealed(value), what="bundle").receipts["alpha"].evidence


def test_a_file_that_cannot_be_read_is_no_evidence(world: World) -> None:
    with pytest.raises(StorageError):
        verify_bundle(world.folder / "none.mrv.json", registry=world.registry)
