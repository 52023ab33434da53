# SPDX-License-Identifier: MIT
"""Anchors on a real Ethereum node (anvil) on this machine: how many a second, and what each costs."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.bench import Bench
from benchmarks.race import Measure
from benchmarks.rows import Goal, Row, seconds
from benchmarks.worker import Worker
from mrv_core.errors import MrvError
from mrv_devnet.nodes import AnvilNode

_CHAIN_ID: Final = 31337
_GAS_OF_OTHERS: Final = {
    "contract": "a contract with three mappings and an event 137,464 for 64 bytes of text, one mapping 43,980",
    "calldata": "a plain transfer 21,000",
}
"""Measured the same way with contracts laid out as public repositories do; see docs/contracts.md."""


@dataclass(frozen=True, slots=True)
class _Chain:
    node: AnvilNode
    keys: dict[str, Path]
    contract: str


def rows(bench: Bench) -> Iterator[Row]:
    """Start a node, and measure on it."""
    with ExitStack() as stack:
        try:
            node = stack.enter_context(AnvilNode(bench.folder / "anvil", chain_id=_CHAIN_ID))
        except MrvError as error:
            yield Row("anchors on a real Ethereum node", "x", problem=f"not measured: {error}")
            return
        ours = stack.enter_context(Worker("anchoring", folder=bench.folder))
        keys = {name: _funded_key(node, bench.folder / f"{name}.key") for name in ("ours", "usual", "calldata")}
        address = ours.call("prepare", node.url, _CHAIN_ID, keys["ours"], "contract").value
        chain = _Chain(node, keys, address)
        yield from _speed(bench, chain, ours)
        yield _gas(chain, "contract", ours)
        calldata = stack.enter_context(Worker("anchoring", folder=bench.folder))
        calldata.call("prepare", node.url, _CHAIN_ID, keys["calldata"], "calldata")
        yield _gas(chain, "calldata", calldata)


def _speed(bench: Bench, chain: _Chain, ours: Worker) -> Iterator[Row]:
    count = bench.sizes.anchors
    yield bench.compare(
        f"{count} anchors, each in the journal first, against build, sign, send, wait with web3",
        _anchors(ours, count),
        _usual(chain, bench.folder, count),
        Goal("≥", 10),
        rounds=bench.sizes.few,
        count=count,
    )
    if ours.call("settle").value:
        raise RuntimeError("some anchors did not become final")
    members = bench.sizes.leaves // 10
    yield bench.measure(
        f"{members:,} records in one anchor, tree and journal included",
        "records/s",
        None,
        lambda: _batch(ours, members),
    )


def _anchors(worker: Worker, count: int) -> Measure:
    def measure() -> float:
        reply = worker.call("anchor", count)
        if len(set(reply.value)) != count:
            raise RuntimeError(f"{len(set(reply.value))} of {count} anchors were sent")
        return reply.seconds

    return measure


@contextmanager
def _usual(chain: _Chain, folder: Path, count: int) -> Iterator[Measure]:
    artifact = json.loads(files("mrv_backends_eth").joinpath("compiled", "MLProvenance.json").read_bytes())
    with Worker("usual_anchoring", folder=folder) as worker:
        worker.call("prepare", chain.node.url, chain.keys["usual"], chain.contract, artifact["abi"])
        yield _anchors(worker, count)


def _batch(worker: Worker, members: int) -> tuple[list[float], str]:
    times = [worker.call("anchor_batch", members).seconds for _ in range(3)]
    return [members / time_s for time_s in times], f"{seconds(median(times))} for the batch"


def _gas(chain: _Chain, mode: str, worker: Worker) -> Row:
    references = worker.call("anchor", 3).value
    worker.call("settle")  # the node mines on its own time
    used = []
    for reference in references:
        receipt: dict[str, Any] = chain.node.rpc("eth_getTransactionReceipt", reference)
        used.append(float(int(receipt["gasUsed"], 16)))
    return Row(f"gas of one anchor, mode {mode}", "gas", tuple(used), details=_GAS_OF_OTHERS[mode])


def _funded_key(node: AnvilNode, path: Path) -> Path:
    from eth_account import Account

    key = secrets.token_hex(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    node.rpc("anvil_setBalance", Account.from_key(key).address, hex(10**21))
    return path
