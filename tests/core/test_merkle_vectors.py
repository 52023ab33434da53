# SPDX-License-Identifier: MIT
"""The log tree's verifiers against public vectors: transparency-dev/merkle and real proofs out of Rekor."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrv_core.errors import VerificationError
from mrv_core.merkle import leaf_hash, root_from_inclusion, verify_consistency, verify_inclusion


def unbase64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def probe_inclusion(probe: dict[str, Any]) -> None:
    path = list(map(unbase64, probe["proof"] or []))
    leaf, root = unbase64(probe["leafHash"]), unbase64(probe["root"])
    verify_inclusion(leaf, probe["leafIdx"], probe["treeSize"], path, root)


def probe_consistency(probe: dict[str, Any]) -> None:
    path = list(map(unbase64, probe["proof"] or []))
    verify_consistency(probe["size1"], probe["size2"], unbase64(probe["root1"]), unbase64(probe["root2"]), path)


@pytest.mark.parametrize(("kind", "verify"), [("inclusion", probe_inclusion), ("consistency", probe_consistency)])
def test_rfc6962_verdicts(vectors: Callable[[str], Path], kind: str, verify: Callable[[dict[str, Any]], None]) -> None:
    files = sorted(vectors(f"rfc6962/{kind}").rglob("*.json"))
    verdicts: dict[bool, int] = {True: 0, False: 0}
    wrong = []
    for file in files:
        probe = json.loads(file.read_bytes())
        try:
            verify(probe)
            refused = False
        except VerificationError:
            refused = True
        verdicts[refused] += 1
        if refused != probe["wantErr"]:
            wrong.append(f"{file.parent.name}/{file.name}")
    assert not wrong
    assert all(verdicts.values()), "the vectors must hold good and bad proofs"


def test_rekor_inclusion_proofs(vectors: Callable[[str], Path]) -> None:
    """Proofs from a log of 26 million entries, each against the root in its checkpoint."""
    checked = []
    for file in sorted(vectors("rekor-bundles").glob("*.sigstore")):
        for entry in json.loads(file.read_bytes())["verificationMaterial"].get("tlogEntries", []):
            proof = entry["inclusionProof"]
            leaf = leaf_hash(unbase64(entry["canonicalizedBody"]))
            path = list(map(unbase64, proof["hashes"]))
            index, size = int(proof["logIndex"]), int(proof["treeSize"])
            root = root_from_inclusion(leaf, index, size, path)
            assert root == unbase64(proof["rootHash"]), file.name
            assert proof["checkpoint"]["envelope"].split("\n")[1:3] == [str(size), base64.b64encode(root).decode()]
            with pytest.raises(VerificationError):
                verify_inclusion(leaf, index - 1, size, path, root)
            checked.append(size)
    assert max(checked, default=0) > 1_000_000
