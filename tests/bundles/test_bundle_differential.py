# SPDX-License-Identifier: MIT
"""Two verifiers that share no line: one verdict on every bundle, good, changed or hostile, and never a false VALID."""

from __future__ import annotations

import math
import random
import re
import string
import struct
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mrv_backends_ipfs.cid import _BASES, Cid
from mrv_backends_log.note import SigningKey
from mrv_core.models import Verdict
from mrv_core.proofs import InclusionProofFile
from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree

from .conftest import Embedded, Ours, Trust
from .forging import Forgery, forge
from .mutations import at, byte_mutations, field_mutations, mixtures, sealed, spelling_mutations, with_value

BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


def may_stay_valid(place: str) -> bool:
    """Whether a change leaves a true bundle: one that shows less, or has another claim that nothing proves."""
    shows_less = re.fullmatch(r"proof:null|proof/value:removed|receipts/[a-z]+:removed", place)
    return shows_less is not None or re.match(r"receipts/[a-z]+/submitted_at:", place) is not None


def test_good_bundles_are_valid_with_what_is_trusted_and_open_without(
    bundle_values: dict[str, Any], all_trusted: Trust, compare: Any
) -> None:
    files = [(name, sealed(value)) for name, value in bundle_values.items()]
    assert set(compare(files, all_trusted).values()) == {"VALID"}
    assert set(compare(files, Trust()).values()) == {"UNREACHABLE"}


@pytest.mark.parametrize("name", ["leaf", "before", "branch", "absent", "batched"])
def test_no_changed_field_is_valid(name: str, bundle_values: dict[str, Any], all_trusted: Trust, compare: Any) -> None:
    verdicts = compare(field_mutations(bundle_values[name], random.Random(name)), all_trusted)  # noqa: S311
    assert [place for place, verdict in verdicts.items() if verdict == "VALID" and not may_stay_valid(place)] == []
    assert len(verdicts) > 400


def test_no_changed_byte_is_valid(bundle_values: dict[str, Any], all_trusted: Trust, compare: Any) -> None:
    rng = random.Random(7)  # noqa: S311
    for name in ("leaf", "batched"):
        files = list(byte_mutations(sealed(bundle_values[name]), rng, 240))
        assert set(compare(files, all_trusted).values()) <= {"TAMPERED", None}
        assert len(files) > 300


def test_no_other_spelling_is_valid(bundle_values: dict[str, Any], all_trusted: Trust, compare: Any) -> None:
    value = bundle_values["leaf"]
    verdicts = compare(spelling_mutations(value, sealed(value)), all_trusted)
    assert {name for name, verdict in verdicts.items() if verdict is None} == {"another format", "null", "array around"}
    assert {verdict for verdict in verdicts.values() if verdict is not None} == {"TAMPERED"}
    assert len(verdicts) > 35


def test_no_mixture_of_two_runs_is_valid(bundle_values: dict[str, Any], all_trusted: Trust, compare: Any) -> None:
    """Attack A09: a receipt of another run, of another root of this run, or one that another network gave."""
    for one, two in (("leaf", "branch"), ("before", "leaf"), ("batched", "leaf"), ("leaf", "batched")):
        verdicts = compare(mixtures(bundle_values[one], bundle_values[two]), all_trusted)
        assert set(verdicts.values()) <= {"TAMPERED", "DISAGREE"}, (one, two)
        assert len(verdicts) > 10


@pytest.mark.parametrize("name", ["leaf", "batched"])
def test_no_other_index_or_size_is_valid(
    name: str, bundle_values: dict[str, Any], all_trusted: Trust, compare: Any
) -> None:
    """Attack A03: proofs of RFC 9162 fit several indices and sizes; what is hashed beside each root does not."""
    value = bundle_values[name]
    places = [("batch",)] if value["batch"] is not None else []
    places += [("proof", "steps", number) for number in range(len(value["proof"]["steps"]))]
    files = [
        (
            f"{place} {index} of {size}",
            sealed(with_value(with_value(value, (*place, "index"), index), (*place, "size"), size)),
        )
        for place in places
        for index in range(9)
        for size in range(10)
        if (index, size) != (at(value, place)["index"], at(value, place)["size"])
    ]
    assert set(compare(files, all_trusted).values()) == {"TAMPERED"}


def test_what_always_remains_of_ipfs_is_never_valid(
    with_ipfs: dict[str, Any], embedded: Embedded, all_trusted: Trust, compare: Any
) -> None:
    changes = [
        (place, data)
        for place, data in field_mutations(with_ipfs, random.Random("ipfs"))  # noqa: S311
        if place.startswith("receipts/ipfs")
    ]
    cid = with_ipfs["receipts"]["ipfs"]["reference"]
    spelt = {base: Cid.parse(cid).to_bytes() for base in "BFbfmuz"}
    for base, binary in spelt.items():
        text = base + _BASES[base][0](binary)
        changes.append((f"in base {base}", sealed(with_value(with_ipfs, ("receipts", "ipfs", "reference"), text))))
    verdicts = compare([("good", sealed(with_ipfs)), *changes], all_trusted)
    assert verdicts.pop("good") == "UNREACHABLE"
    assert {place for place, verdict in verdicts.items() if verdict == "VALID"} == {"receipts/ipfs:removed"}


EMPTY = sha256(b"").hexdigest()
HONEST = {
    "a leaf": Forgery(),
    "an absent node": Forgery(kind="absent", own={}),
    "an empty branch": Forgery(
        ("data", "test"),
        ((0, 3), (1, 2)),
        "branch",
        own={"size": 0, "children_root": EMPTY},
        children=(0, sha256().digest()),
    ),
    "any other place": Forgery(("data", "training", "any label"), ((0, 3), (0, 2), (4, 9))),
    "the longest names": Forgery(run_id="r" * 64, phase="p" * 32, kind="k" * 32),
    "the longest epoch": Forgery(("training", "epochs", "9" * 16, "metrics")),
    "the longest label": Forgery(("data", "training", "é" * 2048), ((0, 3), (0, 2), (0, 1))),
    "the deepest path": Forgery(("data", "training", *("x",) * 2046), ((0, 3), (0, 2), *((0, 1),) * 2046)),
}
FORGED = {
    "a run id with a space": Forgery(run_id="run 1"),
    "an empty run id": Forgery(run_id=""),
    "a run id that is too long": Forgery(run_id="r" * 65),
    "a run id of another alphabet": Forgery(run_id="rün"),
    "a phase in capitals": Forgery(phase="After"),
    "a phase that is too long": Forgery(phase="p" * 33),
    "a phase with a digit": Forgery(phase="phase_1"),
    "a kind in capitals": Forgery(kind="Array"),
    "a kind that is too long": Forgery(kind="k" * 33),
    "an empty kind": Forgery(kind=""),
    "a branch with a digest": Forgery(kind="branch"),
    "an absent node with a digest": Forgery(kind="absent"),
    "a branch without children but with a root": Forgery(
        kind="branch", own={"size": 0, "children_root": "22" * 32}, children=(0, bytes.fromhex("22" * 32))
    ),
    "a branch with children but without a root": Forgery(
        kind="branch", own={"size": 2, "children_root": EMPTY}, children=(2, sha256().digest())
    ),
    "an array with a value": Forgery(own={"digest": "sha256:" + "11" * 32, "value": None}),
    "an absent node with a value": Forgery(kind="absent", own={"value": None}),
    "a leaf with a size": Forgery(own={"digest": "sha256:" + "11" * 32, "size": 1, "children_root": "22" * 32}),
    "an epoch with a leading zero": Forgery(("training", "epochs", "07", "metrics")),
    "an epoch with too many digits": Forgery(("training", "epochs", "1" * 17, "metrics")),
    "an epoch that is no number": Forgery(("training", "epochs", "last", "metrics")),
    "a negative epoch": Forgery(("training", "epochs", "-1", "metrics")),
    "metrics in another place": Forgery(places=((2, 3), (3, 4), (1, 3), (0, 3))),
    "an epoch with a fourth child": Forgery(places=((2, 3), (3, 4), (1, 3), (1, 4))),
    "another child of an epoch": Forgery(("training", "epochs", "7", "weights")),
    "epochs in another place": Forgery(places=((2, 3), (2, 4), (1, 3), (1, 3))),
    "a training of five": Forgery(places=((2, 3), (3, 5), (1, 3), (1, 3))),
    "another child of training": Forgery(("training", "notes"), ((2, 3), (3, 4))),
    "another top branch": Forgery(("notes", "test"), ((1, 3), (1, 2))),
    "a root of four": Forgery(places=((2, 4), (3, 4), (1, 3), (1, 3))),
    "a root of one": Forgery(("training", "results"), ((0, 1), (2, 4))),
    "data in the model's place": Forgery(("data", "test"), ((1, 3), (1, 2))),
    "test in the training set's place": Forgery(("data", "test"), ((0, 3), (0, 2))),
    "an empty label": Forgery(("data", "training", ""), ((0, 3), (0, 2), (0, 1))),
    "a label that is too long": Forgery(("data", "training", "é" * 2048 + "x"), ((0, 3), (0, 2), (0, 1))),
    "too deep a path": Forgery(("data", "training", *("x",) * 2047), ((0, 3), (0, 2), *((0, 1),) * 2047)),
    "a wrong escape": Forgery(("data", "training", "~2"), ((0, 3), (0, 2), (0, 1))),
    "an escape at the end": Forgery(("data", "training", "x~"), ((0, 3), (0, 2), (0, 1))),
    "an unescaped slash": Forgery(("data", "training", "a/b"), ((0, 3), (0, 2), (0, 1))),
    "another path name": Forgery(written="training/epochs/8/metrics"),
    "a path name with a slash before it": Forgery(written="/training/epochs/7/metrics"),
    "no path name": Forgery(written=""),
}


def test_a_tree_of_another_shape_is_refused_however_right_its_hashes_are(
    compare: Any, ours: Ours, write: Callable[..., Path]
) -> None:
    honest = compare([(name, forge(forgery)) for name, forgery in HONEST.items()], Trust())
    assert honest == dict.fromkeys(HONEST, "NOT_FOUND")
    forged = compare([(name, forge(forgery)) for name, forgery in FORGED.items()], Trust())
    assert forged == dict.fromkeys(FORGED, "TAMPERED")
    for name, forgery in FORGED.items():  # for that reason, whatever else is wrong too
        assert ours.report(write(forge(forgery)), Trust()).steps[2].verdict is Verdict.TAMPERED, name


def test_networks_that_are_asked_for_decide_and_others_can_only_contradict(
    with_ipfs: dict[str, Any], embedded: Embedded, compare: Any
) -> None:
    other = "bafkreigaknpexyvxt76zgkitavbwx6ejgfheup5oybpm77f3pxzrvwpfdi"
    wrong = with_value(with_ipfs, ("receipts", "ipfs", "reference"), other)
    files = [("good", sealed(with_ipfs)), ("one wrong", sealed(wrong))]
    key = (embedded.log_key,)
    assert compare(files, Trust(log_keys=key, networks=("log",))) == {"good": "VALID", "one wrong": "DISAGREE"}
    assert compare(files, Trust(networks=("log",))) == {"good": "UNREACHABLE", "one wrong": "TAMPERED"}
    assert compare(files, Trust(networks=("bitcoin",))) == {"good": None, "one wrong": None}


def test_an_expected_root_is_compared(bundle_values: dict[str, Any], all_trusted: Trust, compare: Any) -> None:
    value = bundle_values["leaf"]
    files = [("it", sealed(value))]
    assert compare(files, replace(all_trusted, root=value["root"])) == {"it": "VALID"}
    assert compare(files, replace(all_trusted, root="sha256:" + "00" * 32)) == {"it": "TAMPERED"}
    assert compare(files, replace(all_trusted, root="blake3:" + value["root"][7:])) == {"it": "TAMPERED"}


@pytest.mark.parametrize("algorithm", ["blake3", "sha3-256", "blake2b-256"])
def test_a_tree_has_no_other_algorithm_wherever_it_is_named(
    algorithm: str, bundle_values: dict[str, Any], ours: Ours, compare: Any, write: Callable[..., Path]
) -> None:
    """Attack A05: the same 32 bytes under the name of another hash, in every place that must agree on it."""
    value = bundle_values["batched"]
    other = f"{algorithm}:{value['root'].partition(':')[2]}"
    renamed = {**value, "root": other, "proof": {**value["proof"], "root": other}}
    renamed["batch"] = {**value["batch"], "member": other}
    assert compare([("it", sealed(renamed))], Trust()) == {"it": "TAMPERED"}
    steps = ours.report(write(sealed(renamed)), Trust()).steps
    assert [step.verdict for step in steps[1:4]] == [Verdict.TAMPERED] * 3


def test_a_time_has_one_written_form(bundle_values: dict[str, Any], all_trusted: Trust, compare: Any) -> None:
    good = (
        "2026-01-11T08:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2024-02-29T00:00:00.100000Z",
    )
    bad = (
        *("2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z"),
        *("2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z", "2026-01-01T23:59:60Z", "0000-01-01T00:00:00Z"),
        *("2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.1Z", "2026-01-01T00:00:00.1234567Z"),
        *("2026-01-01 00:00:00Z", "2026-01-01T00:00Z", "2026-01-01", "20260101T000000Z", "2026-W01-1T00:00:00Z"),
        *("2026-01-01T00:00:00", "2026-01-01T00:00:00z", "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+01:00"),
        *("10000-01-01T00:00:00Z", "-2026-01-01T00:00:00Z", "２026-01-01T00:00:00Z", " 2026-01-01T00:00:00Z", ""),
    )
    value = {**bundle_values["leaf"], "receipts": {"log": bundle_values["leaf"]["receipts"]["log"]}}
    place = ("receipts", "log", "submitted_at")
    verdicts = compare([(text, sealed(with_value(value, place, text))) for text in (*good, *bad)], all_trusted)
    assert verdicts == dict.fromkeys(good, "VALID") | dict.fromkeys(bad, "TAMPERED")


def test_no_other_base64_of_the_same_bytes_is_valid(
    bundle_values: dict[str, Any], all_trusted: Trust, compare: Any
) -> None:
    """A lenient decoder takes stray bits, missing padding, spaces and the other alphabet for the same bytes."""
    value = bundle_values["batched"]
    place = ("receipts", "log", "evidence", "proof")
    proof: str = at(value, place)
    files = []
    for number, text in enumerate(re.findall(r"(?<=[ \n])[A-Za-z0-9+/]{40,}={0,2}(?=\n)", proof)):
        last = len(text.rstrip("=")) - 1
        stray = BASE64[BASE64.index(text[last]) ^ 1]
        for name, other in (
            ("stray bits", text[:last] + stray + text[last + 1 :]),
            ("no padding", text.rstrip("=")),
            ("more padding", text + "="),
            ("other alphabet", text.replace("+", "-").replace("/", "_")),
            ("inner space", text[:8] + " " + text[8:]),
            ("trailing characters", text + "AAAA"),
        ):
            if other != text:
                files.append((f"{number} {name}", sealed(with_value(value, place, proof.replace(text, other)))))
    assert set(compare(files, all_trusted).values()) == {"DISAGREE"}
    assert len(files) > 15


def test_a_key_or_block_of_somebody_else_settles_nothing(
    bundle_values: dict[str, Any], embedded: Embedded, compare: Any
) -> None:
    name, _, _ = embedded.log_key.split("+", 2)
    stranger = str(SigningKey("mrv.local/log/stranger", bytes(32)).verifier)
    impostor = str(SigningKey(name, bytes(32)).verifier)
    files = [("it", sealed(bundle_values["leaf"]))]
    only_log = Trust(networks=("log",), blocks=("00" * 32,), min_work=1)
    assert compare(files, replace(only_log, log_keys=(stranger,))) == {"it": "UNREACHABLE"}
    assert compare(files, replace(only_log, log_keys=(impostor,))) == {"it": "TAMPERED"}
    assert compare(files, replace(only_log, log_keys=(impostor, embedded.log_key))) == {"it": "VALID"}
    assert compare(files, replace(only_log, log_keys=("no+00000000+AQ==",))) == {"it": None}


def test_a_bundle_without_receipts_shows_that_nothing_is_anchored(
    bundle_values: dict[str, Any], all_trusted: Trust, compare: Any
) -> None:
    files = [("it", sealed({**bundle_values["leaf"], "receipts": {}}))]
    assert compare(files, all_trusted) == {"it": "NOT_FOUND"}
    assert compare(files, Trust()) == {"it": "NOT_FOUND"}


def test_a_receipt_of_an_unknown_driver_is_kept_and_never_valid(
    bundle_values: dict[str, Any], all_trusted: Trust, compare: Any
) -> None:
    receipt = bundle_values["leaf"]["receipts"]["log"]
    files = []
    for driver in ("ledger", "Log", "", "constructor", "__proto__", "memory"):
        for state in ("FINAL", "PENDING"):
            other = {**receipt, "driver": driver, "state": state}
            files.append((f"{driver} {state}", sealed({**bundle_values["leaf"], "receipts": {"log": other}})))
    verdicts = compare(files, all_trusted)
    assert {name.split()[-1]: verdict for name, verdict in verdicts.items()} == {
        "FINAL": "UNREACHABLE",
        "PENDING": "PENDING",
    }


@pytest.mark.parametrize("seed", range(4))
def test_random_trees_values_and_algorithms_agree(seed: int, all_trusted: Trust, compare: Any) -> None:
    """Canonical JSON, all four hash functions and the tree, through proofs of nodes with any label and content."""
    rng = random.Random(seed)  # noqa: S311
    files = []
    for number in range(25):
        tree = random_tree(rng)
        path = rng.choice([path for path, _ in tree.walk("after_training")])
        files.append((f"{number} {path}", bundle_of(tree, path)))
    assert set(compare(files, all_trusted).values()) == {"NOT_FOUND"}


def bundle_of(tree: MLProvenanceMerkleTree, path: str) -> bytes:
    """Return a bundle without receipts."""
    phase = "after_training"
    root = tree.root(phase)
    proof = InclusionProofFile.from_proof(tree.prove(path, phase), root, tree.node(path))
    branches = {name: tree.node(name).hash.hex() for name in ("data", "model", "training")}
    head = {"format": "mrv-bundle/1", "run_id": tree.run_id, "phase": phase, "root": str(root), "branches": branches}
    return sealed({**head, "proof": proof.to_json(), "batch": None, "receipts": {}})


def random_tree(rng: random.Random) -> MLProvenanceMerkleTree:
    """Return a run whose leaves hold random values, texts of every size at a block's edge, by every algorithm."""
    algorithms = ("blake3", "sha256", "sha3-256", "blake2b-256")
    sizes = (0, 1, 61, 62, 63, 125, 126, 127, 1021, 1022, 1023, 2046, 2047, 3071, 5000)  # with quotes two bytes more
    labels = ("x", "é", "a/b~c", "~1", "\u2028", "𝔘", "\ud7ff", '"', "__proto__", "1")
    tree = MLProvenanceMerkleTree(f"run-{rng.randrange(1000)}")
    leaves = [MerkleNode.json(label, random_json(rng, 4), rng.choice(algorithms)) for label in labels]
    texts = [
        MerkleNode.json(f"{name} {size}", "x" * size, name) for name in algorithms for size in rng.sample(sizes, 3)
    ]
    tree.set("data/training", MerkleNode.branch("x", [*leaves, MerkleNode.branch("empty", []), *texts]))
    tree.set("training/config", MerkleNode.json("x", random_json(rng, 5), "blake2b-256"))
    for epoch in range(rng.randrange(1, 9)):
        tree.append_epoch(epoch, metrics=MerkleNode.json("x", random_json(rng, 3), rng.choice(algorithms)))
    return tree


def random_json(rng: random.Random, depth: int) -> Any:
    """Return a random JSON value; numbers are any doubles, texts have characters from everywhere."""
    kind = rng.randrange(8 if depth else 6)
    if kind == 0:
        return rng.choice((None, True, False, 0, -1, 1e21, 1e20, 5e-324, 2**53 - 1, "", {}, []))
    if kind in (1, 2):
        number = struct.unpack("<d", rng.randbytes(8))[0]
        return number if math.isfinite(number) else rng.uniform(-1, 1)
    if kind == 3:
        return rng.randrange(-(2**53) + 1, 2**53)
    if kind in (4, 5):
        return random_text(rng)
    if kind == 6:
        return [random_json(rng, depth - 1) for _ in range(rng.randrange(6))]
    return {random_text(rng): random_json(rng, depth - 1) for _ in range(rng.randrange(6))}


def random_text(rng: random.Random) -> str:
    codes = (rng.choice((0x20, 0x80, 0x2030, 0xD800, 0x10000)) for _ in range(rng.randrange(9)))
    characters = (chr(rng.randrange(top)) if top != 0x10000 else chr(rng.randrange(0xE000, 0x11000)) for top in codes)
    return "".join(characters)
