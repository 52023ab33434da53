# SPDX-License-Identifier: MIT
"""Records in the MRVRegistry of a real node: registered by their id, found by it, and squatted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from mrv_backends_eth import registry_contract as registry
from mrv_backends_eth.driver import EthereumDriver
from mrv_backends_eth.offline import examine
from mrv_backends_eth.registry_evidence import REGISTRY_FORMAT, RegistryEvidence, verify_registry_evidence
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import DriverContext, TrustedFacts
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendUnavailableError,
    ConfigurationError,
    FormatError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.models import Receipt, ReceiptState

ID = "MRV-fc25ba52-f439-4834-be2b-2dbae1e03437"
COMMITMENT = Digest("sha256", bytes(range(32)))
OTHER = Digest("sha256", b"\x77" * 32)
METADATA = {"mrv_id": ID}


def registering(chain: Any, **changes: Any) -> EthereumDriver:
    driver: EthereumDriver = chain.driver(**{"registry_address": chain.registry, **changes})
    return driver


def anchor(chain: Any, driver: EthereumDriver, commitment: Digest = COMMITMENT, mrv_id: str = ID) -> Receipt:
    receipt = driver.submit(driver.prepare(commitment, {"mrv_id": mrv_id}))
    chain.mine()
    return driver.upgrade(receipt)


def test_a_record_is_registered_and_everything_else_is_not(chain: Any) -> None:
    driver = registering(chain)
    receipt = anchor(chain, driver)
    assert receipt.evidence["format"] == REGISTRY_FORMAT
    assert (chain.registrations(COMMITMENT), chain.events(COMMITMENT)) == (1, 0)
    run = driver.submit(driver.prepare(OTHER, {"run": "r1"}))
    chain.mine()
    assert driver.verify(driver.upgrade(run), OTHER).facts["contract"].lower() == chain.contract
    assert (chain.registrations(OTHER), chain.events(OTHER)) == (0, 1)

    verified = driver.verify(receipt, COMMITMENT)
    assert verified.state is ReceiptState.FINAL
    assert verified.facts["mrv_id"] == ID
    assert verified.facts["first_submitter"] == verified.facts["submitter"] == chain.address
    assert verified.facts["submitters"] == 1
    assert verified.block_time == receipt.block_time


def test_without_a_registry_a_record_is_anchored_as_everything_else(chain: Any) -> None:
    driver = chain.driver()
    assert not driver.capabilities.registers
    receipt = anchor(chain, driver)
    assert (chain.registrations(COMMITMENT), chain.events(COMMITMENT)) == (0, 1)
    assert registering(chain).verify(receipt, COMMITMENT).facts["contract"].lower() == chain.contract


def test_a_network_without_the_other_contract_can_say_which_chain_it_is(chain: Any) -> None:
    status = registering(chain, contract_address=None).status()
    assert not status.ready
    assert status.network_id == f"eip155:{chain.node.chain_id}"
    assert "contract_address is missing" in status.detail
    assert "MRVRegistry is there" in status.detail


def test_what_cannot_go_in_a_group_does_not_hold_up_the_rest(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    proxy = new_proxy(chain.url)
    driver = registering(chain, rpc_url=proxy.url)
    assert driver.are_new([(COMMITMENT, METADATA), (OTHER, {"run": "x" * 2000}), (OTHER, {"run": "r1"})]) == [
        False,
        False,
        True,
    ]
    proxy.asked.clear()
    assert driver.are_new([(COMMITMENT, METADATA), (OTHER, METADATA)]) == [False, False]
    assert proxy.asked == []


def test_a_verifier_without_the_registry_s_address_says_so(chain: Any) -> None:
    receipt = anchor(chain, registering(chain))
    with pytest.raises(ConfigurationError, match="registry_address is missing") as failure:
        chain.driver().verify(receipt, COMMITMENT)
    assert "--contract MRVRegistry" in str(failure.value.hint)


def test_no_registry_at_the_address(chain: Any) -> None:
    for address, message in (("0x" + "77" * 20, "there is no contract"), (chain.contract, "another contract than MRV")):
        driver = registering(chain, registry_address=address)
        with pytest.raises(ConfigurationError, match=message):
            driver.prepare(COMMITMENT, METADATA)
        with pytest.raises(ConfigurationError, match=message):
            driver.find_registered(ID, COMMITMENT)
        assert not driver.status().ready
    assert "MLProvenance is there; MRVRegistry is there" in registering(chain).status().detail


@pytest.mark.parametrize("mrv_id", ["", "with space", "ümlaut", "x" * 129, 7, None])
def test_ids_that_the_contract_refuses(chain: Any, mrv_id: Any) -> None:
    with pytest.raises(FormatError, match="no id that MRVRegistry takes"):
        registering(chain).prepare(COMMITMENT, {"mrv_id": mrv_id})


@pytest.mark.parametrize("mrv_id", ["!", "~" * 128, "MRV-1", 'a"\\/b'])
def test_ids_that_it_takes(chain: Any, mrv_id: str) -> None:
    driver = registering(chain)
    receipt = anchor(chain, driver, mrv_id=mrv_id)
    assert driver.verify(receipt, COMMITMENT).facts["mrv_id"] == mrv_id
    assert driver.find_registered(mrv_id, COMMITMENT).receipt == receipt


def test_another_algorithm_is_refused(chain: Any) -> None:
    with pytest.raises(FormatError, match="SHA-256"):
        registering(chain).prepare(Digest("blake3", bytes(32)), METADATA)


def test_an_id_is_registered_once_by_each_account(chain: Any) -> None:
    """The same hash again is the same registration; another one is refused, before anything is paid for."""
    driver = registering(chain)
    first = anchor(chain, driver)
    again = anchor(chain, driver)
    assert again.reference != first.reference
    assert chain.registrations(COMMITMENT) == 1
    verified = driver.verify(again, COMMITMENT)
    assert (verified.block_time, verified.facts["first_block"]) == (first.block_time, first.evidence["block_number"])
    found = driver.find(COMMITMENT, METADATA)
    assert found is not None
    assert found.reference == first.reference
    with pytest.raises(SubmissionRejectedError, match=f"registered another hash as {ID}") as failure:
        driver.find(OTHER, METADATA)
    assert "supersedes" in str(failure.value.hint)
    with pytest.raises(SubmissionRejectedError, match="would refuse"):
        driver.prepare(OTHER, METADATA)


def test_what_is_found_by_the_id_alone(chain: Any) -> None:
    driver, stranger = registering(chain), registering(chain, private_key=None)
    nothing = stranger.find_registered(ID, COMMITMENT)
    assert (nothing.receipt, nothing.others, nothing.submitters) == (None, (), 0)
    receipt = anchor(chain, driver)

    found = stranger.find_registered(ID, COMMITMENT)
    assert found.receipt == receipt
    assert stranger.verify(found.receipt, COMMITMENT).facts["submitter"] == chain.address
    assert found.others == ()

    changed = stranger.find_registered(ID, OTHER)
    assert changed.receipt is None
    (registered,) = changed.others
    assert (registered.commitment, registered.submitter) == (COMMITMENT, chain.address)
    assert registered.registered_at == receipt.block_time
    assert registered.is_expected is None
    assert registering(chain).find_registered(ID, OTHER).others[0].is_expected is True
    assert stranger.find_registered(f"{ID}0", COMMITMENT).submitters == 0


def test_a_squatted_id_shows_who_registered_what_and_the_honest_record_verifies(chain: Any) -> None:
    squatter = chain.register_by_another(ID, OTHER.value)
    driver, stranger = registering(chain), registering(chain, private_key=None)
    before = stranger.find_registered(ID, COMMITMENT)
    assert before.receipt is None
    assert [(each.submitter, each.commitment) for each in before.others] == [(squatter, OTHER)]

    receipt = anchor(chain, driver)
    verified = driver.verify(receipt, COMMITMENT)
    assert verified.facts["submitter"] == chain.address
    assert (verified.facts["first_submitter"], verified.facts["submitters"]) == (squatter, 2)
    for reader, is_expected in ((stranger, None), (driver, False)):
        found = reader.find_registered(ID, COMMITMENT)
        assert found.receipt == receipt
        assert [(each.submitter, each.commitment) for each in found.others] == [(squatter, OTHER)]
        assert found.others[0].is_expected is is_expected
        assert found.submitters == 2
    # The squatter's hash is registered, too; but not by who is expected to.
    theirs = driver.find_registered(ID, OTHER)
    assert theirs.receipt is None
    assert {(each.submitter, each.is_expected) for each in theirs.others} == {(chain.address, True), (squatter, False)}


def test_the_copy_of_a_registration_is_not_the_submitter_s(chain: Any) -> None:
    """Whoever copies a pending call gains a registration of their own, which convinces nobody who expects us."""
    thief = chain.register_by_another(ID, COMMITMENT.value)
    driver = registering(chain)
    assert driver.find_registered(ID, COMMITMENT).receipt is None
    open_minded = registering(chain, private_key=None)
    found = open_minded.find_registered(ID, COMMITMENT)
    assert found.receipt is not None
    assert open_minded.verify(found.receipt, COMMITMENT).facts["submitter"] == thief
    with pytest.raises(VerificationError, match=f"anchored by {thief}"):
        driver.verify(found.receipt, COMMITMENT)


def test_a_copy_through_a_contract_does_not_hide_the_registration(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """Whoever overtakes a pending call from a contract is the first with this hash, and has no call to show for it."""
    thief = chain.register_through_a_contract(ID, COMMITMENT.value)
    proxy = new_proxy(chain.url)
    reader = registering(chain, rpc_url=proxy.url, private_key=None)
    alone = reader.find_registered(ID, COMMITMENT)
    assert alone.receipt is None
    assert [(each.submitter, each.commitment) for each in alone.others] == [(thief, COMMITMENT)]
    receipt = anchor(chain, registering(chain))
    found = reader.find_registered(ID, COMMITMENT)
    assert found.receipt == receipt
    assert [(each.submitter, each.commitment) for each in found.others] == [(thief, COMMITMENT)]
    # A node that shows the events of one block only cannot show the later call, and is no reason to doubt a receipt.
    proxy.refuse = lambda method, parameters: (
        method == "eth_getLogs" and parameters[0]["fromBlock"] != parameters[0]["toBlock"]
    )
    limited = reader.find_registered(ID, COMMITMENT)
    assert (limited.receipt, limited.others) == (None, found.others)


def test_an_id_that_the_contract_does_not_take_is_not_there(chain: Any) -> None:
    for mrv_id in ("", "with space", "ümlaut", "\udcff", "x" * 129):
        assert registering(chain).find_registered(mrv_id, COMMITMENT).submitters == 0


def test_several_expected_submitters(chain: Any) -> None:
    """Who is named last is found as well as who is named first."""
    second = chain.register_by_another(ID, COMMITMENT.value, 2)
    third = chain.register_by_another(ID, OTHER.value, 3)
    reader = registering(chain, private_key=None, submitter=[chain.address, third, second])
    found = reader.find_registered(ID, COMMITMENT)
    assert found.receipt is not None
    assert reader.verify(found.receipt, COMMITMENT).facts["submitter"] == second
    assert [(each.submitter, each.is_expected) for each in found.others] == [(third, True)]


# The evidence, by itself.


@pytest.fixture
def receipt(chain: Any) -> Receipt:
    chain.register_by_another(ID, OTHER.value)
    return anchor(chain, registering(chain))


def test_the_evidence_by_itself(receipt: Receipt, chain: Any) -> None:
    examined = examine(receipt, COMMITMENT, TrustedFacts())
    assert examined.facts["mrv_id"] == ID
    assert examined.facts["submitter"] == chain.address
    assert examined.facts["submitters"] == 2
    assert len(examined.remaining) == 1
    block = str(examined.block_hash)
    assert examine(receipt, COMMITMENT, TrustedFacts(block_hashes=frozenset({block}))).remaining == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mrv_id", "MRV-other"),
        ("mrv_id", "with space"),
        ("mrv_id", ""),
        ("submitter", "0x" + "11" * 20),
        ("submitter", "0x11"),
        ("contract", "0x" + "11" * 20),
        ("block_number", 1),
        ("block_hash", "0x" + "11" * 32),
        ("header", "0x"),
        ("account_proof", []),
        ("hash_proof", []),
        ("time_proof", []),
        ("id_proof", []),
        ("extra", 1),
        ("mrv_id", None),
    ],
)
def test_no_changed_evidence_is_believed(receipt: Receipt, chain: Any, field: str, value: Any) -> None:
    forged = receipt.model_copy(update={"evidence": {**receipt.evidence, field: value}})
    with pytest.raises(VerificationError):
        examine(forged, COMMITMENT, TrustedFacts())
    with pytest.raises(VerificationError):
        registering(chain).verify(forged, COMMITMENT)


def test_proofs_of_other_words_are_not_taken(receipt: Receipt) -> None:
    names = ("hash_proof", "time_proof", "id_proof")
    proofs = {name: receipt.evidence[name] for name in names}
    assert len({str(proof) for proof in proofs.values()}) == 3
    for name in names:
        for other in set(names) - {name}:
            forged = receipt.model_copy(update={"evidence": {**receipt.evidence, name: proofs[other]}})
            with pytest.raises(VerificationError):
                examine(forged, COMMITMENT, TrustedFacts())


def test_a_cut_proof_is_not_taken(receipt: Receipt) -> None:
    for name in ("account_proof", "hash_proof", "time_proof", "id_proof"):
        nodes: Any = receipt.evidence[name]
        for end in range(len(nodes)):
            forged = receipt.model_copy(update={"evidence": {**receipt.evidence, name: nodes[:end]}})
            with pytest.raises(VerificationError):
                examine(forged, COMMITMENT, TrustedFacts())


def test_a_count_that_no_document_can_hold(chain: Any) -> None:
    """Only a contract whose storage was filled in can have it; nothing that is reported of it could be written."""
    slot = "0x" + registry.id_slot(registry.key_of(ID)).hex()
    word = int(chain.address, 16) | ((1 << 64) - 2) << 160
    chain.rpc("anvil_setStorageAt", chain.registry, slot, f"0x{word:064x}")
    chain.mine()
    driver = registering(chain)
    waits = driver.submit(driver.prepare(COMMITMENT, METADATA))
    chain.mine()
    with pytest.raises(BackendUnavailableError, match="the registry counts 18446744073709551615 submitters"):
        driver.upgrade(waits)


def test_evidence_of_a_registration_under_another_id(chain: Any) -> None:
    """The same hash under two ids: evidence of one is not for the transaction of the other."""
    driver = registering(chain)
    one, two = anchor(chain, driver), anchor(chain, driver, mrv_id=f"{ID}-two")
    swapped = two.model_copy(update={"evidence": one.evidence, "block_time": one.block_time})
    with pytest.raises(VerificationError, match=r"is about .*-two"):
        driver.verify(swapped, COMMITMENT)


def test_evidence_of_the_other_contract_is_not_that_of_the_registry(chain: Any) -> None:
    driver = registering(chain)
    inside = driver.submit(driver.prepare(COMMITMENT, {}))
    chain.mine()
    plain = driver.upgrade(inside)
    proof = plain.evidence["storage_proof"]
    common = {key: value for key, value in plain.evidence.items() if key not in ("format", "storage_proof")}
    words = dict.fromkeys(("hash_proof", "time_proof", "id_proof"), proof)
    evidence = {**common, **words, "mrv_id": ID, "format": REGISTRY_FORMAT}
    forged = plain.model_copy(update={"evidence": evidence})
    with pytest.raises(VerificationError, match="not that of MRVRegistry"):
        examine(forged, COMMITMENT, TrustedFacts())


def test_the_block_of_the_evidence_must_be_in_the_chain(chain: Any, receipt: Receipt) -> None:
    chain.reorg(1)
    with pytest.raises(AnchorNotFoundError):
        registering(chain).verify(receipt, COMMITMENT)


# Nodes that lie.


def test_a_node_that_lies_about_the_registry_is_not_believed(chain: Any, new_proxy: Callable[[str], Any]) -> None:
    """Whatever a node says of an id, a receipt of it is proven; and nonsense is "could not check"."""
    anchor(chain, registering(chain))
    proxy = new_proxy(chain.url)
    reader = registering(chain, rpc_url=proxy.url, private_key=None)
    key = registry.key_of(ID)
    slot = "0x" + registry.record_slot(bytes.fromhex(chain.address[2:]), key).hex()
    proxy.alter = lambda method, parameters, result: (
        "0x" + OTHER.value.hex() if method == "eth_getStorageAt" and parameters[1] == slot else result
    )
    with pytest.raises(BackendUnavailableError, match="does not show the event"):
        reader.find_registered(ID, OTHER)
    proxy.alter = lambda method, parameters, result: "0x12" if method == "eth_getStorageAt" else result
    with pytest.raises(BackendUnavailableError):
        reader.find_registered(ID, COMMITMENT)
    times = "0x" + registry.time_slot(bytes.fromhex(chain.address[2:]), key).hex()
    proxy.alter = lambda method, parameters, result: (
        "0x" + "ff" * 32 if method == "eth_getStorageAt" and parameters[1] == times else result
    )
    with pytest.raises(BackendUnavailableError):
        reader.find_registered(ID, OTHER)


# The settings.


def test_the_embedded_chain_has_no_registry(tmp_path: Any) -> None:
    settings = EthereumSettings(registry_address="0x" + "11" * 20)
    with pytest.raises(ConfigurationError, match="the embedded chain has no registry"):
        EthereumDriver(DriverContext("ethereum", settings, tmp_path))


def test_a_mistyped_address_is_refused() -> None:
    with pytest.raises(ValidationError, match="registry_address"):
        EthereumSettings(rpc_url="http://127.0.0.1:1", registry_address="0x5FbDB2315678afecb367f032d93F642f64180aA3")


def test_calls_in_other_encodings_are_none() -> None:
    call = (
        registry.REGISTER_MRV + (64).to_bytes(32, "big") + bytes(32) + (3).to_bytes(32, "big") + b"MRV".ljust(32, b"\0")
    )
    assert registry.decode_register_mrv(call) == ("MRV", bytes(32))
    for wrong in (call[:-1], call + b"\0", b"\0" + call[1:], call[:35] + b"\x41" + call[36:], call[:4], b""):
        assert registry.decode_register_mrv(wrong) is None
    assert registry.decode_register_mrv(call.replace(b"MRV", b"M V")) is None
    assert registry.decode_register_mrv(call.replace(b"MRV", b"M\xffV")) is None


def test_the_evidence_is_read_back_as_it_was_written(receipt: Receipt) -> None:
    parsed = RegistryEvidence.read(receipt.evidence)
    assert parsed.to_json() == receipt.evidence
    proven = verify_registry_evidence(parsed, COMMITMENT.value)
    assert proven.mrv_id == ID
    with pytest.raises(VerificationError, match="is sha256"):
        verify_registry_evidence(parsed, OTHER.value)
