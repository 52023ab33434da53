# SPDX-License-Identifier: MIT
"""Every verdict of the dashboard, in a browser, against a real chain: what the page says is what `mrv verify` says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dashboard.conftest import PAGE, ROOT, Dashboard, Gate, flush, strangers
from playwright.sync_api import Browser, BrowserContext

from mrv_backends_eth.contract import submission_slot
from mrv_backends_eth.headers import Header, read_header
from mrv_backends_eth.registry_contract import id_slot, key_of, record_slot, time_slot
from mrv_backends_eth.state_evidence import StateEvidence
from mrv_core.deployment import deploy
from mrv_core.hashing import Digest
from mrv_core.manager import BlockchainManager
from mrv_core.models import Receipt, ReceiptState
from mrv_core.mrv.record import generate_mrv_id
from mrv_core.mrv.samples import SampleFile
from mrv_core.mrv.storage import RecordReceipts, collect_receipts, receipts_path, write_receipts
from tests.bundles.mutations import sealed
from tests.mrv.making import steady
from tests.mrv.registry_place import Place, edited

AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
GOLDEN = ROOT / "tests" / "bundles" / "golden"


@pytest.fixture(scope="module")
def registered(place: Place) -> Path:
    path = place.record(generate_mrv_id())
    place.register(path)
    return path


def lines(file: SampleFile) -> bytes:
    return b"".join(line + b"\n" for line in file.lines)


def test_valid(dashboard: Dashboard, place: Place, gate: Gate, registered: Path) -> None:
    assert dashboard.connect(place, gate).give(registered) == "VALID"
    assert place.verify(registered).verdict == "VALID"
    assert "Connected: development chain (chain 31337)." in dashboard.text
    assert place.address.lower() in dashboard.text
    assert "whoever that is: nobody was named whose word counts" in dashboard.summary
    assert f"?id={registered.stem}#" in str(dashboard.page.get_attribute("#permalink", "href"))
    assert "a development chain, which anyone can make anew" in dashboard.text
    assert "no submitter was named" in dashboard.text
    dashboard.page.fill("#submitter", place.address)
    assert dashboard.page.inner_text("#word") == "Nothing to verify yet", "what is shown is never of other input"
    dashboard.page.click("#verify")
    assert dashboard.verdict() == "VALID"
    assert "no submitter was named" not in dashboard.text
    assert not strangers(dashboard.requested, [gate.url])


def test_one_digit_is_tampered(dashboard: Dashboard, place: Place, gate: Gate, registered: Path) -> None:
    assert dashboard.connect(place, gate).give(edited(registered)) == "TAMPERED"
    assert place.address.lower() in dashboard.summary
    assert "energy.total_uwh" in dashboard.text


def test_not_found_and_could_not_check_are_told_apart(dashboard: Dashboard, place: Place, gate: Gate) -> None:
    path = place.record(generate_mrv_id())
    assert dashboard.give(path) == "UNREACHABLE", "nobody was asked"
    dashboard.connect(place, gate)
    assert dashboard.verdict() == "NOT_FOUND"
    assert dashboard.connect(place, gate, contract="0x" + "12" * 20).verdict() == "UNREACHABLE"
    assert "there is no contract" in dashboard.summary
    assert dashboard.connect(place, gate, contract=place.contract).verdict() == "UNREACHABLE"
    assert "another contract than MRVRegistry" in dashboard.summary
    assert dashboard.connect(place, gate, contract="").verdict() == "UNREACHABLE"


def test_an_id_alone_is_looked_up_and_never_valid(
    dashboard: Dashboard, place: Place, gate: Gate, registered: Path
) -> None:
    dashboard.page.fill("#id", registered.stem)
    assert dashboard.connect(place, gate).verdict() == "REGISTERED"
    assert place.address.lower() in dashboard.text
    dashboard.page.fill("#id", generate_mrv_id())
    dashboard.page.click("#verify")
    assert dashboard.verdict() == "NOT_FOUND"


def test_a_squatted_id(dashboard: Dashboard, place: Place, gate: Gate) -> None:
    key, squatter = place.account()
    honest = place.record(generate_mrv_id())
    theirs = place.record(honest.stem, status="interrupted", interruption="KeyboardInterrupt")
    place.register(theirs, key)
    assert dashboard.connect(place, gate).give(honest) == "TAMPERED", (
        "as far as anybody can know who names no submitter"
    )
    assert squatter.lower() in dashboard.summary
    assert dashboard.connect(place, gate, submitter=place.address).verdict() == "NOT_FOUND"
    assert "who is not expected to" in dashboard.text
    place.register(honest)
    for submitter in (place.address, ""):
        assert dashboard.connect(place, gate, submitter=submitter).verdict() == "VALID"
    assert squatter.lower() in dashboard.text
    assert dashboard.connect(place, gate, submitter=place.address).give(theirs) == "TAMPERED"


LIES: dict[str, Callable[[str, Any, Any], Any]] = {
    "a page": lambda *_: b"<!doctype html><title>Sign in</title>",
    "nothing": lambda *_: b"",
    "a list": lambda *_: b"[]",
    "another id": lambda *_: b'{"jsonrpc":"2.0","id":77,"result":"0x1"}',
    "an error": lambda *_: json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"message": "<b>no</b>"}}).encode(),
    "true": lambda *_: True,
    "a long answer": lambda *_: b'"' + b"x" * 5_000_000 + b'"',
    "ones": lambda method, _, answer: "0x" + "f" * (len(answer) - 2) if method == "eth_call" else answer,
    "no events": lambda method, _, answer: [] if method == "eth_getLogs" else answer,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_node_that_answers_nonsense(
    dashboard: Dashboard, place: Place, gate: Gate, registered: Path, lie: str
) -> None:
    dashboard.connect(place, gate)
    gate.lie = LIES[lie]
    assert dashboard.give(registered) == "UNREACHABLE"


def test_a_node_that_is_not_there_or_on_another_chain(
    dashboard: Dashboard, place: Place, gate: Gate, registered: Path
) -> None:
    dashboard.connect(place, gate, rpc="http://127.0.0.1:9/").give(registered)
    assert dashboard.verdict() == "UNREACHABLE"
    assert "Not connected" in dashboard.page.inner_text("#connected")
    dashboard.connect(place, gate, chain="1")
    assert "and not on chain 1" in dashboard.page.inner_text("#connected")
    dashboard.page.click("#verify")
    assert dashboard.verdict() == "UNREACHABLE"
    dashboard.connect(place, gate, rpc="ftp://127.0.0.1/", chain="")
    assert "starts with http" in dashboard.page.inner_text("#connected")
    assert dashboard.connect(place, gate).verdict() == "VALID"
    gate.lie = lambda method, _, answer: "0x1" if method == "eth_chainId" else answer
    dashboard.page.click("#verify")
    assert dashboard.verdict() == "UNREACHABLE", "it changed its chain"


def test_samples_locate_a_changed_line(dashboard: Dashboard, place: Place, gate: Gate, registered: Path) -> None:
    samples = lines(steady(60))
    assert dashboard.connect(place, gate).give(registered, ("a.samples.csv", samples)) == "VALID"
    assert dashboard.page.locator("figure", has_text="Power over time").count() == 1
    dashboard.photograph("valid-light")
    changed = samples.replace(b"10500,1000,7001", b"10500,1000,7000")
    assert changed != samples
    assert dashboard.give(registered, ("a.samples.csv", changed)) == "TAMPERED"
    assert re.search(r"samples line 10\b", dashboard.summary)
    assert dashboard.page.locator("figure", has_text="Power over time").count() == 0
    dashboard.photograph("tampered-light")


def test_receipts_beside_the_record(dashboard: Dashboard, place: Place, gate: Gate, tmp_path: Path) -> None:
    path = place.record(generate_mrv_id())
    with BlockchainManager(place.config(place.key), base_dir=path.parent) as manager:
        record = json.loads(path.read_bytes())
        (outcome,) = manager.anchor(_hash(path), {"mrv_id": record["mrv_id"]}).values()
        assert outcome.error is None
        flush(place, manager)
        collect_receipts(path.parent, manager.journal)
    receipts = receipts_path(path)
    assert dashboard.give(path, receipts) == "UNREACHABLE", "the evidence holds, and its block is nobody's word yet"
    assert place.verify(path, offline=True).verdict == "UNREACHABLE"
    block = json.loads(receipts.read_bytes())["receipts"]["ethereum"]["evidence"]["block_hash"]
    dashboard.page.fill("#known", f"eip155:31337:{block}")
    dashboard.page.click("#verify")
    assert dashboard.verdict() == "VALID", "offline, by a block that the visitor knows"
    assert not strangers(dashboard.requested, [])
    dashboard.page.fill("#known", "")
    assert dashboard.connect(place, gate).verdict() == "VALID"
    assert dashboard.connect(place, gate, contract="").verdict() == "VALID"
    stranger = "0x" + "34" * 20
    assert dashboard.connect(place, gate, submitter=stranger).verdict() == "TAMPERED"
    assert dashboard.give(edited(path), receipts) == "TAMPERED"
    assert dashboard.give(("broken.json", path.read_bytes()[:-1]), receipts) == "TAMPERED"


def flipped(value: Any) -> Any:
    """Return evidence that differs in one place: a digit, a number, a proof's last node."""
    if isinstance(value, list):
        return [*value[:-1], flipped(value[-1])]
    return value + 1 if isinstance(value, int) else value[:-1] + ("1" if value[-1] != "1" else "2")


def test_forged_evidence_of_the_registry(dashboard: Dashboard, place: Place, gate: Gate) -> None:
    path = place.record(generate_mrv_id())
    with BlockchainManager(place.config(place.key), base_dir=path.parent) as manager:
        manager.anchor(_hash(path), {"mrv_id": path.stem})
        flush(place, manager)
        collect_receipts(path.parent, manager.journal)
    (path.parent / "journal.sqlite3").unlink()
    beside = receipts_path(path)
    good = beside.read_bytes()
    evidence = json.loads(good)["receipts"]["ethereum"]["evidence"]
    assert evidence["format"] == "mrv-evidence-ethereum-registry/1"
    for name in evidence:
        forged = json.loads(good)
        forged["receipts"]["ethereum"]["evidence"][name] = flipped(evidence[name])
        beside.write_bytes(json.dumps(forged).encode())
        assert place.verify(path, offline=True).verdict == "TAMPERED", name
        assert dashboard.give(path, beside) == "TAMPERED", name
    beside.write_bytes(good)
    dashboard.connect(place, gate, contract="")
    assert dashboard.give(path, beside) == "VALID"
    number = evidence["block_number"]
    other = {"number": hex(number), "hash": "0x" + "ab" * 32, "timestamp": "0x1"}
    gate.lie = lambda method, _, answer: other if method == "eth_getBlockByNumber" else answer
    assert dashboard.give(path, beside) == "NOT_FOUND", "its block left the chain"
    gate.lie = lambda method, _, answer: hex(number - 1) if method == "eth_blockNumber" else answer
    assert dashboard.give(path, beside) == "PENDING", "its block is not final"


def filled_in(place: Place, commitment: Digest, *, is_of_today: bool) -> Receipt:
    """Return a receipt of a contract that somebody deployed with a record of `place.address` already in its storage.

    Its code is MLProvenance's own, and its proofs lead to a block of the chain; the account never called it.
    """
    with place.manager(place.account()[0]) as manager:
        contract = deploy(manager, "ethereum", "MLProvenance")[0].address
    head = place.node.rpc("eth_getBlockByNumber", "latest", False)
    number, time = int(head["number"], 16) + 1, int(head["timestamp"], 16) + 10
    said = (time, number) if is_of_today else (time - 10_000, 1)
    submitter = bytes.fromhex(place.address[2:])
    slot = _hex(submission_slot(submitter, commitment.value))
    place.node.rpc("anvil_setStorageAt", contract, slot, f"0x{said[1] << 64 | said[0]:064x}")
    place.node.rpc("evm_setNextBlockTimestamp", time)
    place.node.rpc("evm_mine")
    raw, header, nodes = _proven(place, contract, [submission_slot(submitter, commitment.value)])
    evidence = StateEvidence(
        block_number=number,
        block_hash=header.hash,
        header=raw,
        contract=_bytes(contract),
        submitter=submitter,
        account_proof=nodes[0],
        storage_proof=nodes[1],
    )
    return Receipt(
        network="ethereum",
        driver="ethereum",
        network_id="eip155:31337",
        embedded=False,
        commitment=commitment,
        state=ReceiptState.FINAL,
        reference="0x" + "12" * 32,
        submitted_at=datetime.fromtimestamp(said[0], UTC),
        block_time=datetime.fromtimestamp(said[0], UTC),
        evidence=evidence.to_json(),
    )


def _proven(place: Place, contract: str, slots: list[bytes]) -> tuple[bytes, Header, list[tuple[bytes, ...]]]:
    """Return the newest block's header and the proofs of a contract's account and words in it."""
    block = place.node.rpc("eth_getBlockByNumber", "latest", False)
    proof = place.node.rpc("eth_getProof", contract, list(map(_hex, slots)), block["number"])
    raw, header = read_header(block)
    proofs = [proof["accountProof"], *(each["proof"] for each in proof["storageProof"])]
    return raw, header, [tuple(map(_bytes, each)) for each in proofs]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"


@pytest.mark.parametrize("is_of_today", [True, False])
def test_a_contract_of_somebody_s_own_shows_nobody_s_name(
    dashboard: Dashboard, place: Place, gate: Gate, is_of_today: bool
) -> None:
    """Whoever deploys the code can fill in its storage: then only the contract says who anchored it, or when."""
    path = place.record(generate_mrv_id())
    receipt = filled_in(place, _hash(path), is_of_today=is_of_today)
    held = RecordReceipts(mrv_id=path.stem, commitment=_hash(path), receipts={"ethereum": receipt})
    write_receipts(path, held)
    assert place.verify(path).verdict == "TAMPERED", "mrv verify knows which contract it has to be"
    dashboard.give(path, receipts_path(path))
    dashboard.connect(place, gate, contract="", submitter=place.address)
    assert dashboard.verdict() == "UNREACHABLE"
    assert "nothing says who anchored it but the contract" in dashboard.summary
    assert dashboard.connect(place, gate, contract="", provenance=place.contract).verdict() == "TAMPERED"
    assert f"not in {place.contract.lower()}" in dashboard.summary
    # Without a name there is a block that has the commitment, which is all that is said then.
    dashboard.connect(place, gate, contract="", provenance="", submitter="")
    assert dashboard.verdict() == ("VALID" if is_of_today else "UNREACHABLE")
    assert "whoever deployed it could have filled in whom they liked" in dashboard.text
    assert place.address.lower() not in dashboard.text
    if is_of_today:
        assert "By whom is not shown" in dashboard.summary


STRANGER = "0x" + "b2" * 20


@pytest.mark.parametrize("is_bundle", [False, True])
@pytest.mark.parametrize(
    ("named", "connected", "alone"),
    [
        ({"submitter": "the account"}, "UNREACHABLE", "UNREACHABLE"),
        ({"submitter": STRANGER}, "TAMPERED", "UNREACHABLE"),
        ({"provenance": "the contract"}, "TAMPERED", "UNREACHABLE"),
        ({"submitter": "the account", "provenance": "the contract"}, "TAMPERED", "UNREACHABLE"),
        ({}, "VALID", "VALID"),
    ],
)
def test_a_known_block_shows_nobody_s_name_either(
    dashboard: Dashboard, place: Place, gate: Gate, is_bundle: bool, named: dict[str, str], connected: str, alone: str
) -> None:
    """Whoever names accounts and contracts gets an answer about them, also where they know the block themselves."""
    files, receipt = _bundle_of(place) if is_bundle else _record_of(place)
    whom = {"the account": place.address, "the contract": place.contract, STRANGER: STRANGER}
    fields = {"contract": "", "submitter": "", "provenance": "", **{key: whom[name] for key, name in named.items()}}
    dashboard.page.fill("#known", f"eip155:31337:{receipt.evidence['block_hash']}")
    dashboard.give(*files)
    assert dashboard.connect(place, gate, **fields).verdict() == connected
    dashboard.page.fill("#rpc", "")
    assert "Not connected" in dashboard.page.inner_text("#connected")
    dashboard.page.click("#verify")
    assert dashboard.verdict() == alone
    assert dashboard.page.locator("dt", has_text="Submitter").count() == 0


def _record_of(place: Place) -> tuple[list[tuple[str, bytes]], Receipt]:
    path = place.record(generate_mrv_id())
    receipt = filled_in(place, _hash(path), is_of_today=True)
    write_receipts(path, RecordReceipts(mrv_id=path.stem, commitment=_hash(path), receipts={"ethereum": receipt}))
    return [(each.name, each.read_bytes()) for each in (path, receipts_path(path))], receipt


def _bundle_of(place: Place) -> tuple[list[tuple[str, bytes]], Receipt]:
    """Return a bundle whose only receipt is of somebody's own contract."""
    value = json.loads(next(iter(sorted(GOLDEN.rglob("*.mrv.json")))).read_bytes())
    anchored = Digest.parse(next(iter(value["receipts"].values()))["commitment"])
    receipt = filled_in(place, anchored, is_of_today=True)
    value["receipts"] = {"ethereum": receipt.to_json()}
    return [("forged.mrv.json", sealed(value))], receipt


@pytest.mark.parametrize("count", [0, 2**53])
def test_a_registry_that_counts_nonsense(dashboard: Dashboard, place: Place, gate: Gate, count: int) -> None:
    """Only storage that was filled in can say so."""
    path = place.record(generate_mrv_id())
    with BlockchainManager(place.config(place.key), base_dir=path.parent) as manager:
        manager.anchor(_hash(path), {"mrv_id": path.stem})
        flush(place, manager)
        collect_receipts(path.parent, manager.journal)
    (path.parent / "journal.sqlite3").unlink()
    beside = receipts_path(path)
    value = json.loads(beside.read_bytes())
    evidence = value["receipts"]["ethereum"]["evidence"]
    key = key_of(path.stem)
    submitter = bytes.fromhex(place.address[2:])
    slots = [record_slot(submitter, key), time_slot(submitter, key), id_slot(key)]
    entry = place.node.rpc("eth_getStorageAt", place.registry, _hex(slots[2]), "latest")
    word = count << 160 | int(entry, 16) & (1 << 160) - 1
    place.node.rpc("anvil_setStorageAt", place.registry, _hex(slots[2]), f"0x{word:064x}")
    place.node.rpc("evm_mine")
    raw, header, proofs = _proven(place, place.registry, slots)
    place.node.rpc("anvil_setStorageAt", place.registry, _hex(slots[2]), entry)
    nodes = dict(zip(("account_proof", "hash_proof", "time_proof", "id_proof"), proofs, strict=True))
    evidence |= {name: [_hex(node) for node in proof] for name, proof in nodes.items()}
    evidence |= {"header": _hex(raw), "block_hash": _hex(header.hash), "block_number": header.number}
    beside.write_bytes(json.dumps(value).encode())
    assert place.verify(path, offline=True).verdict == "TAMPERED"
    assert dashboard.give(path, beside) == "TAMPERED"
    assert f"the registry counts {count} submitters" in dashboard.summary


def test_the_contract_that_was_named_shows_who_anchored_it(dashboard: Dashboard, place: Place, gate: Gate) -> None:
    path = place.record(generate_mrv_id())
    config = place.config(place.key)
    del config["blockchain"]["ethereum"]["registry_address"]
    with BlockchainManager(config, base_dir=path.parent) as manager:
        manager.anchor(_hash(path), {"mrv_id": path.stem})
        flush(place, manager)
        collect_receipts(path.parent, manager.journal)
    dashboard.give(path, receipts_path(path))
    named = {"contract": "", "provenance": place.contract, "submitter": place.address}
    assert dashboard.connect(place, gate, **named).verdict() == "VALID"
    assert place.address.lower() in dashboard.text
    block = json.loads(receipts_path(path).read_bytes())["receipts"]["ethereum"]["evidence"]["block_hash"]
    dashboard.page.fill("#known", f"eip155:31337:{block}")
    dashboard.page.fill("#rpc", "")
    dashboard.page.click("#verify")
    assert dashboard.verdict() == "VALID", "without any node, by a block that the visitor knows"
    assert place.address.lower() in dashboard.text


def test_a_bundle_verifies_without_any_network(dashboard: Dashboard) -> None:
    bundle = next(iter(sorted(GOLDEN.rglob("*.mrv.json"))))
    assert dashboard.give(bundle) == "UNREACHABLE"
    assert "The root is in the batch" in dashboard.text
    dashboard.photograph("bundle-light")
    data = bundle.read_bytes()
    place = data.index(b'"run_id":"') + 10
    changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    assert dashboard.give(("changed.mrv.json", changed)) == "TAMPERED"
    assert not strangers(dashboard.requested, [])


def hostile(record: bytes) -> dict[str, bytes]:
    """Return files that are no record, by what is wrong with them."""
    return {
        "deep": b'{"schema_version":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "twice": record[:-1] + b',"mrv_id":"MRV-other"}',
        "not UTF-8": record.replace(b"ResNet18", b"ResNet\xff8", 1),
        "surrogate": record.replace(b"ResNet18", b"ResNet\\ud800", 1),
        "large": record[:-1] + b',"x":"' + b"a" * (8 * 1024 * 1024) + b'"}',
        "number": record.replace(b'"cpu_cores":20', b'"cpu_cores":9007199254740993', 1),
        "nothing": b"",
        "an array": b"[]",
        "another format": b'{"format":"<img src=x onerror=alert(1)>"}',
        "__proto__": record[:-1] + b',"__proto__":{"mrv_id":"x"}}',
    }


def test_hostile_files_are_refused_by_name(dashboard: Dashboard, place: Place, gate: Gate, registered: Path) -> None:
    dashboard.connect(place, gate)
    for name, data in hostile(registered.read_bytes()).items():
        dashboard.page.click("#clear")
        assert dashboard.give((f"{name}.json", data)) == "UNREADABLE", name
        assert name in dashboard.summary
    assert dashboard.page.evaluate("({}).mrv_id") is None


SCRIPTS = (
    "<script>window.hit=1</script>",
    "<img src=x onerror='window.hit=1'>",
    "<svg/onload=window.hit=1>",
    "javascript:window.hit=1",
    "\"'><iframe srcdoc='<script>parent.hit=1</script>'>",
    "</pre></style></script><script>window.hit=1</script>",
    "\u202egnp.exe\u200b\x1b[31m\x00",
)


def test_text_from_records_is_only_ever_text(dashboard: Dashboard, place: Place, gate: Gate) -> None:
    text = " ".join(SCRIPTS)
    record_id = "<img/src=x/onerror=window.hit=1>"[:128]
    path = place.folder / "hostile.json"
    made = place.record(
        generate_mrv_id(),
        experiment=dict.fromkeys(("experiment_name", "model_name", "dataset_name"), text),
        metrics={text: text},
        environment={text: [text]},
        status="interrupted",
        interruption=text,
    )
    data = json.loads(made.read_bytes())
    data["mrv_id"] = record_id
    path.write_bytes(json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    before = dashboard.page.evaluate("document.querySelectorAll('script, iframe, img, object, embed, a').length")
    dashboard.page.fill("#id", record_id)
    assert dashboard.connect(place, gate).give(path) in {"NOT_FOUND", "UNREADABLE"}
    assert dashboard.page.evaluate("window.hit") is None
    assert (
        dashboard.page.evaluate("document.querySelectorAll('script, iframe, img, object, embed, a').length") == before
    )
    handlers = (
        "[...document.querySelectorAll('*')].filter((e) => e.getAttributeNames().some((n) => n.startsWith('on')))"
    )
    assert dashboard.page.evaluate(f"{handlers}.length") == 0
    assert "<script>window.hit=1</script>" in dashboard.text
    assert not set("\u202e\u200b\x1b\x00") & set(dashboard.text)
    with pytest.raises(Exception, match="TrustedHTML"):
        dashboard.page.evaluate("document.body.innerHTML = '<b>x</b>'")
    dashboard.errors.clear()  # the refusal just asked for


WALLET = """window.ethereum = {
  listeners: {},
  asked: [],
  on(event, listener) { this.listeners[event] = listener; },
  async request({ method, params }) {
    this.asked.push(method);
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const headers = { "content-type": "application/json" };
    const answer = await (await fetch("%s", { method: "POST", headers, body })).json();
    if (answer.error) throw answer.error;
    return answer.result;
  },
};"""


def test_a_wallet_is_asked_to_read_and_nothing_else(
    context: BrowserContext, place: Place, gate: Gate, registered: Path
) -> None:
    context.add_init_script(WALLET % gate.url)
    dashboard = Dashboard(context.new_page()).open()
    assert not dashboard.page.evaluate("window.ethereum.asked"), "nothing is asked before the visitor says so"
    dashboard.page.fill("#contract", place.registry)
    dashboard.page.click("#metamask")
    dashboard.page.wait_for_selector("#connection.on")
    assert dashboard.give(registered) == "VALID"
    reads = {"eth_chainId", "eth_blockNumber", "eth_call", "eth_getCode", "eth_getLogs", "eth_getBlockByNumber"}
    assert set(dashboard.page.evaluate("window.ethereum.asked")) == reads
    dashboard.page.evaluate("window.ethereum.listeners.chainChanged()")
    assert "The wallet changed its chain" in dashboard.page.inner_text("#connected")
    assert dashboard.page.inner_text("#word") == "Nothing to verify yet"


def test_a_link_fills_in_the_fields_and_asks_nobody(
    context: BrowserContext, place: Place, gate: Gate, registered: Path
) -> None:
    dashboard = Dashboard(context.new_page())
    fragment = f"#rpc={gate.url}&contract={place.registry}&submitter={place.address}&chain=31337"
    dashboard.open(f"?id={registered.stem}{fragment}", url=gate.url)
    assert dashboard.page.input_value("#id") == registered.stem
    dashboard.page.wait_for_selector("#verdict.none")
    assert "No chain is asked before you connect" in dashboard.summary
    own = [gate.url, f"{gate.url}api/v1/records", f"{gate.url}api/v1/records/{registered.stem}"]
    asked = [url.split("?")[0] for url in dashboard.requested if not url.startswith("data:")]
    assert sorted(asked) == own, "whether the server that the page came from is a registry that has it"
    assert dashboard.page.is_hidden("#registry")
    dashboard.page.click("#connect")
    assert dashboard.verdict() == "REGISTERED"
    assert dashboard.give(registered) == "VALID"
    assert "whoever made the link to this page: it chose rpc, contract, chain, submitter" in dashboard.text
    link = dashboard.page.get_attribute("#permalink", "href")
    assert link is not None
    assert f"?id={registered.stem}#" in link
    assert "rpc" not in link, "it may hold a key"
    assert not dashboard.errors
    assert context.cookies() == []
    assert dashboard.page.evaluate("localStorage.length + sessionStorage.length") == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)])
def test_anyone_can_use_it(
    browser: Browser, place: Place, gate: Gate, registered: Path, scheme: Any, width: int
) -> None:
    """No serious finding of axe, nothing wider than the screen, and every control reached by keys alone."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    dashboard = Dashboard(context.new_page()).open().connect(place, gate)
    for name, files in {
        "valid": (registered, ("s.csv", lines(steady(60)))),
        "tampered": (edited(registered),),
        "not-found": (place.record(generate_mrv_id()),),
    }.items():
        assert dashboard.give(*files).lower().replace("_", "-") == name
        dashboard.page.evaluate(AXE.read_text("utf-8"))
        found = dashboard.page.evaluate("axe.run()")["violations"]
        assert not [(each["id"], each["nodes"][0]["html"]) for each in found], "of any weight"
        assert dashboard.page.evaluate("document.documentElement.scrollWidth") <= width
        dashboard.photograph(f"{name}-{scheme}-{width}")
    dashboard.page.focus("#file")
    reached = ["file"]
    for _ in range(20):
        dashboard.page.keyboard.press("Tab")
        reached.append(dashboard.page.evaluate("document.activeElement.id"))
    controls = [
        "file",
        "id",
        "rpc",
        "connect",
        "contract",
        "submitter",
        "chain",
        "known",
        "verify",
        "clear",
        "permalink",
    ]
    assert [each for each in reached if each in controls][: len(controls)] == controls
    dashboard.page.focus("#verify")
    dashboard.page.keyboard.press("Enter")
    assert dashboard.verdict() == "NOT_FOUND"
    assert dashboard.page.get_attribute("#verdict", "aria-live") == "polite"
    context.close()


def _hash(path: Path) -> Any:
    from mrv_core.mrv.verification import read_record

    return read_record(path.read_bytes(), what="record")[1]


def test_the_page_is_one_file_that_may_do_nothing_else() -> None:
    page = PAGE.read_text("utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r'(?:src|href)="(?!data:|\?)[^"]*"', page)
    sources = [path.read_text("utf-8") for path in (ROOT / "dashboard" / "src").glob("*.ts")]
    assert not [
        name for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write") if name in "".join(sources)
    ]
