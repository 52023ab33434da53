# SPDX-License-Identifier: MIT
"""The examples in the specification are real ones, and both verifiers take them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from mrv_core.batching import Batch, BatchProof
from mrv_core.bundle import MAX_BUNDLE_BYTES, Bundle
from mrv_core.bundle_verification import BundleReport
from mrv_core.canonical import canonical_bytes
from mrv_core.hashing import Digest
from mrv_core.models import Receipt

from .conftest import ROOT, Ours, Theirs, Trust
from .mutations import sealed

SPEC = ROOT / "docs" / "spec"
PAGE = (SPEC / "bundle.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", page, re.DOTALL)


def test_the_example_is_valid_with_the_key_and_open_without(
    write: Callable[..., Path], ours: Ours, theirs: Theirs
) -> None:
    (example,), (key,) = blocks(PAGE, "json"), blocks(PAGE, "text")
    path = write(canonical_bytes(json.loads(example)))
    trusted = Trust(log_keys=(key,))
    for trust, verdict in ((trusted, "VALID"), (Trust(), "UNREACHABLE")):
        assert ours([path], trust) == theirs([path], trust)
        assert ours([path], trust)[0].verdict == verdict
    assert f"--log-key {key}" in PAGE
    report = ours.report(path, trusted)
    assert report.leaf is not None
    assert report.leaf.value == {"loss": 0.5}


def test_every_field_and_limit_is_documented() -> None:
    named = re.findall(r"^\| (`[a-z_`, ]+`) \|", PAGE, re.MULTILINE)
    documented = {name for cell in named for name in re.findall(r"`([a-z_]+)`", cell)}
    assert documented == set(Bundle.model_fields) | set(Receipt.model_fields)
    assert f"at most {MAX_BUNDLE_BYTES // 2**20} MiB" in PAGE


def test_the_steps_are_those_of_the_report(
    write: Callable[..., Path], ours: Ours, bundle_values: dict[str, Any]
) -> None:
    report: BundleReport = ours.report(write(sealed(bundle_values["plain"])), Trust())
    section = PAGE.partition("## Verification")[2].partition("### ")[0]
    assert re.findall(r"^(\d)\. \*\*", section, re.MULTILINE) == [str(step.number) for step in report.steps]


def test_the_example_of_a_batch_proof_holds() -> None:
    page = (SPEC / "merkle.md").read_text(encoding="utf-8")
    (example,) = (block for block in blocks(page, "json") if "mrv-batch-proof/1" in block)
    proof = BatchProof.from_bytes(canonical_bytes(json.loads(example)), what="example")
    members = [Digest("sha256", sha256(digit).digest()) for digit in (b"0", b"1", b"2")]
    assert proof == Batch(members).prove(members[2])
    proof.verify(members[2], Batch(members).commitment)
