# SPDX-License-Identifier: MIT
"""Slow second implementations, written from the standards' and the specification's text and from nothing else.

They share no line with the product. The tests compare the two, and scripts/generate_vectors.py makes the vectors
in tests/vectors with these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import blake3


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# --- RFC 9162, section 2.1: the log tree -----------------------------------------------------------------------------


def split_point(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d: Sequence[bytes]) -> bytes:
    """MTH(D_n), section 2.1.1."""
    n = len(d)
    if n == 0:
        return sha256(b"")
    if n == 1:
        return sha256(b"\x00" + d[0])
    k = split_point(n)
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:]))


def path(m: int, d: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D_n), section 2.1.3.1."""
    n = len(d)
    if n == 1:
        return []
    k = split_point(n)
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def proof(m: int, d: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D_n), section 2.1.4.1."""
    return subproof(m, d, True)


def subproof(m: int, d: Sequence[bytes], b: bool) -> list[bytes]:
    """SUBPROOF(m, D_n, b), section 2.1.4.1."""
    n = len(d)
    if m == n:
        return [] if b else [mth(d)]
    k = split_point(n)
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


def root_from_path(leaf: bytes, m: int, n: int, p: Sequence[bytes]) -> bytes | None:
    """The root that PATH(m, D_n) leads to, by walking the definition of MTH downwards; None where p does not fit."""
    if not 0 <= m < n:
        return None
    if n == 1:
        return leaf if not p else None
    if not p:
        return None
    k = split_point(n)
    below = root_from_path(leaf, m, k, p[:-1]) if m < k else root_from_path(leaf, m - k, n - k, p[:-1])
    if below is None:
        return None
    return sha256(b"\x01" + below + p[-1]) if m < k else sha256(b"\x01" + p[-1] + below)


def roots_from_proof(m: int, n: int, p: Sequence[bytes], old_root: bytes, b: bool = True) -> tuple[bytes, bytes] | None:
    """The two roots that SUBPROOF(m, D_n, b) leads to, along the definition; None where p does not fit."""
    if not 1 <= m <= n:
        return None
    if m == n:
        known = [old_root] if b and not p else list(p) if not b and len(p) == 1 else None
        return (known[0], known[0]) if known else None
    if not p:
        return None
    k = split_point(n)
    below = (
        roots_from_proof(m, k, p[:-1], old_root, b) if m <= k else roots_from_proof(m - k, n - k, p[:-1], b"", False)
    )
    if below is None:
        return None
    old, new = below
    if m <= k:
        return old, sha256(b"\x01" + new + p[-1])
    return sha256(b"\x01" + p[-1] + old), sha256(b"\x01" + p[-1] + new)


# --- RFC 8785: canonical JSON ----------------------------------------------------------------------------------------


def jcs(value: Any) -> str:
    """Section 3.2, for values as a JSON parser returns them."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return jcs_string(value)
    if isinstance(value, int | float):
        return es6_number(float(value))
    if isinstance(value, list):
        return "[" + ",".join(jcs(item) for item in value) + "]"
    names = sorted(value, key=lambda name: name.encode("utf-16-be"))  # section 3.2.3: by UTF-16 code units
    return "{" + ",".join(jcs_string(name) + ":" + jcs(value[name]) for name in names) + "}"


def jcs_string(text: str) -> str:
    """Section 3.2.2.2."""
    short = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    return '"' + "".join(short.get(c, f"\\u{ord(c):04x}" if ord(c) < 0x20 else c) for c in text) + '"'


def es6_number(x: float) -> str:
    """Number::toString of ECMA-262, section 6.1.6.1.20, radix 10; step numbers as there."""
    if x == 0:  # 2
        return "0"
    if x < 0:  # 3
        return "-" + es6_number(-x)
    # 5: x = s * 10**(n-k) with the fewest digits k. Python's repr finds those digits too.
    _, digits, exponent = Decimal(repr(x)).as_tuple()
    assert isinstance(exponent, int)
    n = len(digits) + exponent
    s = "".join(map(str, digits)).rstrip("0")
    k = len(s)
    if k <= n <= 21:  # 6
        return s + "0" * (n - k)
    if 0 < n <= 21:  # 7
        return s[:n] + "." + s[n:]
    if -6 < n <= 0:  # 8
        return "0." + "0" * -n + s
    e = ("+" if n - 1 > 0 else "-") + str(abs(n - 1))  # 9 and 10
    return (s if k == 1 else s[0] + "." + s[1:]) + "e" + e


# --- docs/spec/merkle.md: the provenance tree ------------------------------------------------------------------------
#
# A node is a dict: {"label", "kind": "absent"}, {"label", "kind": "branch", "children": [...]}, or a leaf
# {"label", "kind", "digest": "algorithm:hex"}. A run is {"run_id", "phase", "top": [data, model, training]}.

FIXED_CHILDREN = {
    (): ["data", "model", "training"],
    ("data",): ["training", "test"],
    ("model",): ["architecture", "weights"],
    ("training",): ["config", "environment", "results", "epochs"],
}
EPOCH_CHILDREN = ["model_state", "metrics", "privacy_metrics"]


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def field(text: str) -> bytes:
    data = text.encode("utf-8")
    return u64(len(data)) + data


def leaf_hash(label: str, kind: str, digest: str) -> bytes:
    algorithm, _, digits = digest.partition(":")
    return sha256(b"mrv1/leaf\x00" + field(label) + field(kind) + field(algorithm) + bytes.fromhex(digits))


def branch_hash(label: str, size: int, root: bytes) -> bytes:
    return sha256(b"mrv1/branch\x00" + field(label) + u64(size) + root)


def absent_hash(label: str) -> bytes:
    return sha256(b"mrv1/absent\x00" + field(label))


def run_hash(run_id: str, phase: str, size: int, root: bytes) -> str:
    return "sha256:" + sha256(b"mrv1/run\x00" + field(run_id) + field(phase) + u64(size) + root).hex()


def node_hash(node: dict[str, Any]) -> bytes:
    if node["kind"] == "absent":
        return absent_hash(node["label"])
    if node["kind"] == "branch":
        return branch_hash(node["label"], len(node["children"]), mth(hashes(node["children"])))
    return leaf_hash(node["label"], node["kind"], node["digest"])


def hashes(nodes: Sequence[dict[str, Any]]) -> list[bytes]:
    return [node_hash(node) for node in nodes]


def run_root(run: dict[str, Any]) -> str:
    return run_hash(run["run_id"], run["phase"], len(run["top"]), mth(hashes(run["top"])))


def escape(label: str) -> str:
    return label.replace("~", "~0").replace("/", "~1")


def unescape(segment: str) -> str | None:
    """RFC 6901, section 4; None for a `~` that escapes nothing."""
    if any(rest[:1] not in ("0", "1") for rest in segment.split("~")[1:]):
        return None
    return segment.replace("~1", "/").replace("~0", "~")


def is_epoch_number(label: str) -> bool:
    """Decimal without leading zeros, at most 16 digits."""
    return label.isascii() and label.isdigit() and len(label) <= 16 and label == str(int(label))


def all_nodes(run: dict[str, Any]) -> list[tuple[list[str], dict[str, Any]]]:
    """Every node with the labels that lead to it, parents first."""

    def below(prefix: list[str], nodes: list[dict[str, Any]]) -> list[tuple[list[str], dict[str, Any]]]:
        found = []
        for node in nodes:
            labels = [*prefix, node["label"]]
            found += [(labels, node), *below(labels, node.get("children", []))]
        return found

    return below([], run["top"])


def inclusion_proof(run: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    """The proof of one node as its JSON file, "Making an inclusion proof"."""
    steps: list[dict[str, Any]] = []
    parent, siblings = "", run["top"]
    node: dict[str, Any] = {}
    for label in labels:
        index = [child["label"] for child in siblings].index(label)
        audit = [sibling.hex() for sibling in path(index, hashes(siblings))]
        steps.insert(0, {"label": parent, "index": index, "size": len(siblings), "path": audit})
        node = siblings[index]
        parent, siblings = label, node.get("children", [])
    result = {
        "format": "mrv-proof/1",
        "run_id": run["run_id"],
        "phase": run["phase"],
        "root": run_root(run),
        "path": "/".join(escape(label) for label in labels),
        "kind": node["kind"],
        "steps": steps,
    }
    if node["kind"] == "branch":
        result |= {"size": len(siblings), "children_root": mth(hashes(siblings)).hex()}
    elif node["kind"] != "absent":
        result |= {key: node[key] for key in ("digest", "value") if key in node}
    return result


def inclusion_root(file: dict[str, Any]) -> str | None:
    """The root that an inclusion proof leads to, "Verifying an inclusion proof"; None for a malformed one."""
    labels = [unescape(segment) for segment in file["path"].split("/")]
    if None in labels or "" in labels or [step["label"] for step in file["steps"]] != ["", *labels[:-1]][::-1]:
        return None
    own = {key for key in ("digest", "size", "children_root") if file.get(key) is not None}
    label: str = labels[-1]  # type: ignore[assignment]
    if file["kind"] == "absent" and not own:
        current = absent_hash(label)
    elif file["kind"] == "branch" and own == {"size", "children_root"}:
        current = branch_hash(label, file["size"], bytes.fromhex(file["children_root"]))
    elif file["kind"] not in ("absent", "branch") and own == {"digest"}:
        current = leaf_hash(label, file["kind"], file["digest"])
    else:
        return None
    if "value" in file:
        algorithm = file.get("digest", "").partition(":")[0]
        shown = content_digest(algorithm, jcs(file["value"]).encode()) if file["kind"] == "json" else None
        if shown != file.get("digest"):
            return None
    for depth, step in enumerate(reversed(file["steps"])):
        fixed = FIXED_CHILDREN.get(tuple(labels[:depth]))  # type: ignore[arg-type]
        if labels[:2] == ["training", "epochs"] and depth == 2 and not is_epoch_number(str(labels[2])):
            return None
        if labels[:2] == ["training", "epochs"] and depth == 3:
            fixed = EPOCH_CHILDREN
        if fixed and (step["size"] != len(fixed) or fixed[step["index"] : step["index"] + 1] != [labels[depth]]):
            return None
    for depth, step in zip(range(len(labels) - 1, -1, -1), file["steps"], strict=True):
        audit = [bytes.fromhex(sibling) for sibling in step["path"]]
        inner = root_from_path(sha256(b"\x00" + current), step["index"], step["size"], audit)
        if inner is None:
            return None
        current = branch_hash(step["label"], step["size"], inner) if depth else inner
    return run_hash(file["run_id"], file["phase"], file["steps"][-1]["size"], current)


def consistency_proof(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    """The proof that one run's root extends another's, as its JSON file."""

    def side(run: dict[str, Any], which: str) -> dict[str, Any]:
        results, epochs = run["top"][2]["children"][2:]
        return {
            f"{which}_root": run_root(run),
            f"{which}_phase": run["phase"],
            f"{which}_results": node_hash(results).hex(),
            f"{which}_epochs": len(epochs["children"]),
            f"{which}_epochs_root": mth(hashes(epochs["children"])).hex(),
        }

    data, model, training = newer["top"]
    older_epochs = len(older["top"][2]["children"][3]["children"])
    newer_epochs = hashes(training["children"][3]["children"])
    return {
        "format": "mrv-consistency/1",
        "run_id": newer["run_id"],
        **side(older, "older"),
        **side(newer, "newer"),
        "data": node_hash(data).hex(),
        "model": node_hash(model).hex(),
        "config": node_hash(training["children"][0]).hex(),
        "environment": node_hash(training["children"][1]).hex(),
        "path": [step.hex() for step in proof(older_epochs, newer_epochs)] if older_epochs else [],
    }


def consistency_roots(file: dict[str, Any]) -> tuple[str, str] | None:
    """The two roots that a consistency proof leads to, "Verifying a consistency proof"; None for a wrong one."""
    if file["older_results"] not in (absent_hash("results").hex(), file["newer_results"]):
        return None
    roots = []
    for which in ("older", "newer"):
        epochs_root = bytes.fromhex(file[f"{which}_epochs_root"])
        if (file[f"{which}_epochs"] == 0) != (epochs_root == mth([])):
            return None
        children = [bytes.fromhex(file[name]) for name in ("config", "environment", f"{which}_results")]
        children.append(branch_hash("epochs", file[f"{which}_epochs"], epochs_root))
        training = branch_hash("training", 4, mth(children))
        top = [bytes.fromhex(file["data"]), bytes.fromhex(file["model"]), training]
        roots.append(run_hash(file["run_id"], file[f"{which}_phase"], 3, mth(top)))
    old_epochs, new_epochs = (bytes.fromhex(file[f"{which}_epochs_root"]) for which in ("older", "newer"))
    audit = [bytes.fromhex(step) for step in file["path"]]
    if file["older_epochs"] == 0:
        found = None if audit else (old_epochs, new_epochs)
    else:
        found = roots_from_proof(file["older_epochs"], file["newer_epochs"], audit, old_epochs)
    return (roots[0], roots[1]) if found == (old_epochs, new_epochs) else None


def content_digest(algorithm: str, content: bytes) -> str:
    """A digest as text, from the libraries that each algorithm's authors or the standard library ship."""
    makers: dict[str, Any] = {
        "blake2b-256": lambda data: hashlib.blake2b(data, digest_size=32),
        "blake3": blake3.blake3,
        "sha256": hashlib.sha256,
        "sha3-256": hashlib.sha3_256,
    }
    return f"{algorithm}:{makers[algorithm](content).hexdigest()}"


def json_leaf(label: str, value: Any, algorithm: str = "sha256") -> dict[str, Any]:
    """A leaf over the canonical bytes of a JSON value."""
    digest = content_digest(algorithm, jcs(value).encode("utf-8"))
    return {"label": label, "kind": "json", "digest": digest, "value": value}
