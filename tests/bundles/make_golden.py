# SPDX-License-Identifier: MIT
"""Writes the bundles of a release into golden/NAME, once: `python tests/bundles/make_golden.py NAME`.

What stands there is never written again. Every later version, of either verifier, has to say of it what was said then.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "golden"


def write(name: str) -> None:
    """Anchor runs on embedded networks and on real nodes, and write their bundles and what both verifiers say."""
    from bundles.conftest import Ours, Theirs, Trust, make_embedded
    from bundles.devnet import make_devnet
    from nodes import funded

    from mrv_devnet.nodes import AnvilNode, BitcoinNode, IpfsNode

    target = FOLDER / name
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        embedded = make_embedded(place / "embedded")
        with (
            AnvilNode(place / "anvil", keep_state=False) as anvil,
            BitcoinNode(place / "bitcoind") as bitcoind,
            IpfsNode(place / "ipfs") as ipfs,
        ):
            devnet = make_devnet(place, anvil, funded(bitcoind), ipfs)
            made = {file: data for file, data in _bundles(embedded, devnet)}
    ours, theirs = Ours(), Theirs(shutil.which("node") or "node")
    for file, data in made.items():
        (target / f"{file}.mrv.json").write_bytes(data)
    blocks = set()
    for path in target.glob("*.mrv.json"):
        if not path.name.startswith("wrong"):
            report = ours.report(path, Trust())
            blocks |= {f"{one.network_id}:{one.block_hash}" for one in report.networks if one.block_hash is not None}
    known = Trust(blocks=tuple(sorted(blocks)), log_keys=(embedded.log_key,))
    expected: list[dict[str, Any]] = []
    for trust in (known, Trust()):
        paths = sorted(target.glob("*.mrv.json"))
        for path, one, two in zip(paths, ours(paths, trust), theirs(paths, trust), strict=True):
            assert one == two, path
            networks = {network: facts[3] for network, facts in one.networks.items()}
            found = {"exit_code": one.exit_code, "verdict": one.verdict, "steps": one.steps, "networks": networks}
            expected.append({"file": path.name, "options": trust.words(), **found})
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def _bundles(embedded: Any, devnet: Any) -> Iterator[tuple[str, bytes]]:
    """Yield good bundles of every kind of evidence, and some that are wrong in one place each."""
    from bundles.devnet import SETTLED, ots_receipt
    from bundles.forged_receipts import k, signed
    from bundles.mutations import sealed, with_value

    def only(value: dict[str, Any], *networks: str) -> dict[str, Any]:
        return {**value, "receipts": {name: value["receipts"][name] for name in networks}}

    leaf = only(embedded.value("run-1", leaf="training/epochs/1/metrics"), "ethereum", "log")
    batched = only(embedded.value("member", leaf="training/config"), "ethereum", "log")
    real = only(devnet.value("run-1", leaf="training/epochs/0/metrics"), *SETTLED)
    yield "embedded", sealed(leaf)
    yield "embedded-ipfs", sealed(embedded.value("run-1", leaf="data/training/b~0c.csv"))
    yield "embedded-absent", sealed(only(embedded.value("run-2", leaf="model/architecture"), "log"))
    yield "batched", sealed(batched)
    yield "real", sealed(real)
    yield "real-ipfs", sealed(devnet.value("run-2"))
    yield "real-batched", sealed(only(devnet.value("member", leaf="training/results"), *SETTLED))
    yield "opentimestamps", sealed({**real, "receipts": {"bitcoin": ots_receipt(devnet, real)}})
    pending = {**real["receipts"]["bitcoin"], "state": "PENDING", "evidence": {}, "block_time": None}
    yield "pending", sealed({**real, "receipts": {"bitcoin": pending}})
    raw = signed(real["root"])
    evidence = {"format": "mrv-evidence-ethereum-pending/1", "transaction": f"0x{raw.hex()}"}
    waits = {**pending, "network": "calldata", "driver": "ethereum", "network_id": "eip155:31337"}
    waits |= {"evidence": evidence, "reference": f"0x{k(raw).hex()}"}
    yield "pending-ethereum", sealed({**real, "receipts": {"calldata": waits}})
    unknown = {**leaf["receipts"]["log"], "driver": "ledger"}
    yield "unknown-driver", sealed({**leaf, "receipts": {"log": unknown}})

    yield "wrong-spelling", sealed(leaf) + b"\n"
    yield "wrong-seal", sealed(leaf).replace(b'"phase":"after_training"', b'"phase":"ofter_training"', 1)
    yield "wrong-phase", sealed({**leaf, "phase": "before_training"})
    yield "wrong-value", sealed(with_value(leaf, ("proof", "value", "loss"), 0.25))
    yield "wrong-path", sealed(with_value(leaf, ("proof", "path"), "training/epochs/2/metrics"))
    yield "wrong-batch-index", sealed(with_value(batched, ("batch", "index"), batched["batch"]["index"] ^ 1))
    other = embedded.value("run-2")["receipts"]["log"]
    yield "wrong-receipt", sealed({**leaf, "receipts": {**leaf["receipts"], "log": other}})
    yield "wrong-evidence", sealed(with_value(leaf, ("receipts", "log", "evidence"), other["evidence"]))
    proof: str = leaf["receipts"]["log"]["evidence"]["proof"]
    flipped = proof[:-20] + ("A" if proof[-20] != "A" else "B") + proof[-19:]
    yield "wrong-signature", sealed(with_value(leaf, ("receipts", "log", "evidence", "proof"), flipped))
    for network, field in (
        ("ethereum", ("storage_proof", 0)),
        ("ethereum", ("header",)),
        ("calldata", ("transaction_proof", 0)),
        ("bitcoin", ("transaction",)),
        ("bitcoin", ("coinbase_branch", 0)),
        ("bitcoin", ("header",)),
    ):
        place = ("receipts", network, "evidence", *field)
        text = _last_digit_changed(real, place)
        yield f"wrong-{network}-{field[0].replace('_', '-')}", sealed(with_value(real, place, text))


def _last_digit_changed(value: Any, place: tuple[Any, ...]) -> str:
    for key in place:
        value = value[key]
    text: str = value
    return text[:-1] + format(int(text[-1], 16) ^ 1, "x")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    write(sys.argv[1])
