# SPDX-License-Identifier: MIT
"""Write the project's own test vectors into tests/vectors: the same bytes every time.

The values come from the slow oracles in tests/oracles.py, tests/digests and tests/mrv, which follow the text of the
standards and of docs/spec, never from the product. Run it after a change of a specification; a test fails where files
and oracles disagree.
"""

from __future__ import annotations

import copy
import json
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "digests"), str(ROOT / "tests" / "mrv")]

import oracles  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
import record_cases  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
import vector_cases  # type: ignore[import-not-found,unused-ignore]  # noqa: E402

Json = dict[str, Any]


def write_all(folder: Path) -> None:
    """Write every vector file into a folder."""
    for name, make in VECTORS.items():
        text = json.dumps(make(), indent=1, ensure_ascii=True) + "\n"
        (folder / name).write_text(text, encoding="ascii", newline="\n")


# --- merkle.json -----------------------------------------------------------------------------------------------------


def merkle() -> Json:
    """RFC 9162 trees over 65 entries; entry i is the i bytes 0, 1, ... i-1."""
    entries = [bytes(range(i)) for i in range(65)]
    small = [(index, size) for size in range(1, 10) for index in range(size)]
    large = [(index, size) for size in (33, 64, 65) for index in (0, 31, 32, size - 2, size - 1)]
    pairs = [(size1, size2) for size2 in range(1, 10) for size1 in range(1, size2 + 1)]
    pairs += [(1, 65), (31, 64), (32, 64), (33, 64), (33, 65), (63, 65), (64, 65), (65, 65)]
    return {
        "description": "Log tree of RFC 9162, section 2.1, with SHA-256. Hashes and entries are hexadecimal.",
        "entries": [entry.hex() for entry in entries],
        "leaf_hashes": [oracles.sha256(b"\x00" + entry).hex() for entry in entries],
        "roots": [oracles.mth(entries[:size]).hex() for size in range(len(entries) + 1)],
        "inclusion": [_inclusion(entries, index, size) for index, size in [*small, *large]],
        "consistency": [_consistency(entries, size1, size2) for size1, size2 in pairs],
        "refused_inclusion": list(_refused_inclusion(entries)),
        "refused_consistency": list(_refused_consistency(entries)),
        "indistinguishable": _indistinguishable(entries, 2, 3),
    }


def _inclusion(entries: list[bytes], index: int, size: int) -> Json:
    return {
        "index": index,
        "size": size,
        "leaf_hash": oracles.sha256(b"\x00" + entries[index]).hex(),
        "path": [step.hex() for step in oracles.path(index, entries[:size])],
        "root": oracles.mth(entries[:size]).hex(),
    }


def _consistency(entries: list[bytes], size1: int, size2: int) -> Json:
    return {
        "size1": size1,
        "size2": size2,
        "root1": oracles.mth(entries[:size1]).hex(),
        "root2": oracles.mth(entries[:size2]).hex(),
        "path": [step.hex() for step in oracles.proof(size1, entries[:size2])],
    }


def _flip(digits: str) -> str:
    """Flip the lowest bit of the first byte."""
    return f"{int(digits[:2], 16) ^ 1:02x}{digits[2:]}"


def _changed(good: Json, reason: str, **changes: Any) -> Json:
    return {"reason": reason, **copy.deepcopy(good), **changes}


def _bad_paths(path: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield every way in which a path of at least two hashes is damaged, with its name."""
    yield "path empty", []
    yield "path without its first hash", path[1:]
    yield "path without its last hash", path[:-1]
    yield "path with a hash too many in front", [path[0], *path]
    yield "path with a hash too many at the end", [*path, path[-1]]
    yield "path in reverse order", path[::-1]
    for place, step in enumerate(path):
        yield f"bit flipped in hash {place}", [*path[:place], _flip(step), *path[place + 1 :]]
    yield "hash of 31 bytes", [path[0][:-2], *path[1:]]
    yield "hash of 33 bytes", [path[0] + "00", *path[1:]]


def _refused_inclusion(entries: list[bytes]) -> Iterator[Json]:
    good = _inclusion(entries, 4, 7)
    for reason, path in _bad_paths(good["path"]):
        yield _changed(good, reason, path=path)
    for index, size in ((3, 7), (5, 7), (7, 7), (-1, 7), (4, 4), (4, 9), (4, 0), (4, 2**63)):
        yield _changed(good, f"leaf index {index} in a tree of size {size}", index=index, size=size)
    yield _changed(good, "another leaf", leaf_hash=_flip(good["leaf_hash"]))
    yield _changed(good, "another root", root=_flip(good["root"]))
    left, right = (oracles.sha256(b"\x00" + entry) for entry in entries[:2])
    node = oracles.sha256(b"\x01" + left + right).hex()
    top = _inclusion(entries, 0, 4)
    entry_hash = oracles.sha256(b"\x00" + left + right).hex()
    yield _changed(
        top, "a node's two children as an entry", index=0, size=2, leaf_hash=entry_hash, path=top["path"][1:]
    )
    yield _changed(top, "a node as a leaf, at its tree's size", index=0, leaf_hash=node, path=top["path"][1:])


def _refused_consistency(entries: list[bytes]) -> Iterator[Json]:
    good = _consistency(entries, 3, 7)
    for reason, path in _bad_paths(good["path"]):
        yield _changed(good, reason, path=path)
    for size1, size2 in ((2, 7), (4, 7), (0, 7), (7, 3), (-3, 7), (3, 4), (3, 9), (3, 2**63)):
        yield _changed(good, f"sizes {size1} and {size2}", size1=size1, size2=size2)
    yield _changed(good, "another older root", root1=_flip(good["root1"]))
    yield _changed(good, "another newer root", root2=_flip(good["root2"]))
    yield _changed(good, "roots exchanged", root1=good["root2"], root2=good["root1"])
    yield _changed(
        _consistency(entries, 4, 7),
        "older size a power of two, path with the root",
        size1=4,
        path=[_consistency(entries, 4, 7)["root1"], *_consistency(entries, 4, 7)["path"]],
    )
    yield _changed(_consistency(entries, 5, 5), "path between equal sizes", path=[good["root1"]])
    yield _changed(_consistency(entries, 5, 5), "two roots at one size", root2=good["root2"])


def _indistinguishable(entries: list[bytes], index: int, size: int) -> Json:
    """Every other (index, size) under which one proof leads to the same root: the reason to bind the size."""
    proof = _inclusion(entries, index, size)
    leaf, path = bytes.fromhex(proof["leaf_hash"]), [bytes.fromhex(step) for step in proof["path"]]
    found = [
        [m, n]
        for n in range(1, 65)
        for m in range(n)
        if (m, n) != (index, size) and oracles.root_from_path(leaf, m, n, path) == bytes.fromhex(proof["root"])
    ]
    return {**proof, "also_as": found}


# --- provenance_tree.json --------------------------------------------------------------------------------------------


def provenance_tree() -> Json:
    """Runs, all their proofs, and proofs that lie."""
    before, checkpoint, after = example_runs()
    runs = [_empty_run(), before, checkpoint, after]
    inclusion = [oracles.inclusion_proof(run, labels) for run in runs[::3] for labels, _ in oracles.all_nodes(run)]
    pairs = [(before, checkpoint), (before, after), (checkpoint, after), (before, before), (after, after)]
    return {
        "description": "Provenance trees of docs/spec/merkle.md. A node without digest and children is absent.",
        "runs": [_described(run) for run in runs],
        "inclusion": inclusion,
        "consistency": [oracles.consistency_proof(older, newer) for older, newer in pairs],
        "refused_inclusion": [*_lying_inclusion(after), *_misshapen(after)],
        "refused_consistency": list(_lying_consistency(before, checkpoint, after)),
    }


def _absent(*labels: str) -> list[Json]:
    return [{"label": label, "kind": "absent"} for label in labels]


def _branch(label: str, children: list[Json]) -> Json:
    return {"label": label, "kind": "branch", "children": children}


def _leaf(label: str, kind: str, content: bytes, algorithm: str = "blake3") -> Json:
    return {"label": label, "kind": kind, "digest": oracles.content_digest(algorithm, content)}


def _run(run_id: str, phase: str, data: list[Json], model: list[Json], training: list[Json]) -> Json:
    top = [_branch("data", data), _branch("model", model), _branch("training", training)]
    return {"run_id": run_id, "phase": phase, "top": top}


def _empty_run() -> Json:
    training = [*_absent("config", "environment", "results"), _branch("epochs", [])]
    return _run("empty", "before_training", _absent("training", "test"), _absent("architecture", "weights"), training)


def _epoch(number: int, metrics: Json, model_state: bytes | None) -> Json:
    state = _absent("model_state") if model_state is None else [_leaf("model_state", "file", model_state)]
    return _branch(str(number), [*state, oracles.json_leaf("metrics", metrics), *_absent("privacy_metrics")])


def example_runs() -> tuple[Json, Json, Json]:
    """Return the example of the specification at three roots: before training, after two epochs, after training."""
    labels = ["a/b.csv", "a~b.csv", "a~1b.csv", "caf\u00e9.csv", "cafe\u0301.csv", "\U0001f600"]
    folder = _branch("training", [_leaf(label, "file", label.encode()) for label in labels])
    data = [folder, _leaf("test", "array", b"test", "sha256")]
    tensors = [_leaf(f"layer{i}.weight", "tensor", bytes([i])) for i in range(5)]
    model = [oracles.json_leaf("architecture", {"layers": [64, 32, 10]}), _branch("weights", tensors)]
    config = oracles.json_leaf("config", {"epochs": 3, "learning_rate": 0.001, "flops": 1e20})
    environment = oracles.json_leaf("environment", {"python": "3.11.7"}, "sha3-256")
    epochs = [
        _epoch(0, {"loss": 1.5}, None),
        _epoch(1, {"loss": 0.75, "accuracy": 0.875}, b"state after epoch 1"),
        _epoch(4, {"loss": {"non_finite": "NaN"}}, b"state after epoch 4"),
    ]
    results = oracles.json_leaf("results", {"accuracy": 0.96875}, "blake2b-256")

    def run(phase: str, outcome: list[Json], count: int) -> Json:
        training = [config, environment, *outcome, _branch("epochs", epochs[:count])]
        return _run("digits-2026.01.11", phase, data, model, training)

    return (
        run("before_training", _absent("results"), 0),
        run("epoch_checkpoint", _absent("results"), 2),
        run("after_training", [results], 3),
    )


def _described(run: Json) -> Json:
    nodes = [
        {"path": "/".join(map(oracles.escape, labels)), "kind": node["kind"], "hash": oracles.node_hash(node).hex()}
        for labels, node in oracles.all_nodes(run)
    ]
    return {**run, "root": oracles.run_root(run), "nodes": nodes}


def _lying_inclusion(run: Json) -> Iterator[Json]:
    """Yield proofs that must be refused against the root that they name, each changed in one way."""

    def lie(reason: str, good: Json, change: Callable[[Json], object]) -> Json:
        proof = copy.deepcopy(good)
        change(proof)
        return {"reason": reason, "proof": proof}

    metrics = oracles.inclusion_proof(run, ["training", "epochs", "1", "metrics"])
    epoch = oracles.inclusion_proof(run, ["training", "epochs", "1"])
    test = oracles.inclusion_proof(run, ["data", "test"])
    absent = oracles.inclusion_proof(run, ["training", "epochs", "1", "privacy_metrics"])
    tensor = oracles.inclusion_proof(run, ["model", "weights", "layer0.weight"])
    yield lie("another run id", metrics, lambda p: p.update(run_id="digits-2026.01.12"))
    yield lie("another phase", metrics, lambda p: p.update(phase="before_training"))
    yield lie("another root", metrics, lambda p: p.update(root="sha256:" + _flip(p["root"][7:])))
    yield lie(
        "the root as another algorithm's", metrics, lambda p: p.update(root=p["root"].replace("sha256", "blake3"))
    )
    yield lie("another digest", metrics, lambda p: p.update(digest="sha256:" + _flip(p["digest"][7:])))
    yield lie("another value", metrics, lambda p: p["value"].update(loss=0.5))
    yield lie("the digest as another algorithm's", test, lambda p: p.update(digest="blake3:" + p["digest"][7:]))
    yield lie("another kind of content", test, lambda p: p.update(kind="file"))
    yield lie("a leaf as a branch", test, lambda p: p.update(kind="branch"))
    yield lie("a leaf as absent", test, lambda p: p.update(kind="absent"))
    yield lie("a leaf as absent, without its digest", test, lambda p: (p.update(kind="absent"), p.pop("digest")))
    yield lie("an absent node with a digest", absent, lambda p: p.update(digest=test["digest"]))
    yield lie("another epoch's number", epoch, lambda p: p.update(path="training/epochs/2"))
    yield lie(
        "another epoch's number above",
        metrics,
        lambda p: (p.update(path="training/epochs/2/metrics"), p["steps"][0].update(label="2")),
    )
    yield lie("an epoch number written otherwise", epoch, lambda p: p.update(path="training/epochs/01"))
    yield lie("another tensor's name", tensor, lambda p: p.update(path="model/weights/layer1.weight"))
    yield lie(
        "another branch's child", test, lambda p: (p.update(path="model/test"), p["steps"][0].update(label="model"))
    )
    yield lie("a path that names another child", test, lambda p: p.update(path="data/training"))
    yield lie("a path that is not escaped", test, lambda p: p.update(path="data~2/test"))
    yield lie("a path with an empty label", test, lambda p: p.update(path="data//test"))
    yield lie("another leaf index", tensor, lambda p: p["steps"][0].update(index=1))
    yield lie("another number of children", tensor, lambda p: p["steps"][0].update(size=6))
    yield lie("a step too few", metrics, lambda p: p["steps"].pop(0))
    yield lie("a step too many", metrics, lambda p: p["steps"].insert(0, p["steps"][0]))
    yield lie("two steps exchanged", metrics, lambda p: p["steps"].insert(0, p["steps"].pop(1)))
    yield lie(
        "a bit flipped in an audit path",
        metrics,
        lambda p: p["steps"][1].update(path=[_flip(p["steps"][1]["path"][0]), *p["steps"][1]["path"][1:]]),
    )
    yield lie("an audit path too long", metrics, lambda p: p["steps"][2]["path"].append(p["steps"][2]["path"][0]))
    yield lie("an audit path too short", metrics, lambda p: p["steps"][2]["path"].pop())
    yield lie("a branch of another size", epoch, lambda p: p.update(size=4))
    yield lie("a branch with other children", epoch, lambda p: p.update(children_root=_flip(p["children_root"])))
    yield lie("a branch with a digest", epoch, lambda p: p.update(digest=test["digest"]))


def _misshapen(run: Json) -> Iterator[Json]:
    """Yield proofs that lead to their roots, of trees that do not have the fixed shape."""

    def bent(reason: str, labels: list[str], bend: Callable[[list[Json]], object]) -> Json:
        tree = copy.deepcopy(run)
        bend(tree["top"])
        return {"reason": reason, "proof": oracles.inclusion_proof(tree, labels)}

    def swap(children: list[Json]) -> None:
        children[0], children[1] = children[1], children[0]

    def second_epoch(top: list[Json]) -> Json:
        epoch: Json = top[2]["children"][3]["children"][1]
        return epoch

    def rename(label: str, top: list[Json]) -> None:
        second_epoch(top)["label"] = label

    test, metrics, extra = ["data", "test"], ["training", "epochs", "1", "metrics"], _absent("x")
    yield bent("children of data in another order", test, lambda top: swap(top[0]["children"]))
    yield bent("a third child of data", test, lambda top: top[0]["children"].extend(extra))
    yield bent("data without its first child", test, lambda top: top[0]["children"].pop(0))
    yield bent("a child of model that is none", ["model", "x"], lambda top: top[1]["children"].extend(extra))
    yield bent("model before data", test, swap)
    yield bent("a fourth child of the root", test, lambda top: top.append(_branch("x", [])))
    yield bent("the fourth child of the root itself", ["x"], lambda top: top.append(_branch("x", [])))
    yield bent("an epoch with a fourth child", metrics, lambda top: second_epoch(top)["children"].extend(extra))
    yield bent("an epoch in another order", metrics, lambda top: swap(second_epoch(top)["children"]))
    for label in ("01", "-1", "one", "1e3", "\u0661", "1" * 17):
        yield bent("an epoch that is no number", ["training", "epochs", label], partial(rename, label))


def _lying_consistency(before: Json, checkpoint: Json, after: Json) -> Iterator[Json]:
    """Yield consistency proofs that must be refused against the roots that they name."""
    first, grown = oracles.consistency_proof(before, after), oracles.consistency_proof(checkpoint, after)
    hashes = ("data", "model", "config", "environment", "older_results", "newer_results")
    for name in (*hashes, "newer_epochs_root", "older_epochs_root"):
        yield {"reason": f"another {name}", "proof": {**grown, name: _flip(grown[name])}}
    yield {"reason": "another run id", "proof": {**grown, "run_id": "digits"}}
    yield {"reason": "another older phase", "proof": {**grown, "older_phase": "before_training"}}
    yield {"reason": "another newer phase", "proof": {**grown, "newer_phase": "before_training"}}
    yield {"reason": "an epoch fewer", "proof": {**grown, "newer_epochs": 2}}
    yield {"reason": "no epochs, but the root of some", "proof": {**grown, "newer_epochs": 0}}
    yield {"reason": "a path from no epochs", "proof": {**first, "path": [first["data"]]}}
    yield {"reason": "no path", "proof": {**grown, "path": []}}
    for place in range(len(grown["path"])):
        path = [*grown["path"][:place], _flip(grown["path"][place]), *grown["path"][place + 1 :]]
        yield {"reason": f"bit flipped in hash {place} of the path", "proof": {**grown, "path": path}}
    sides = ("_root", "_phase", "_results", "_epochs", "_epochs_root")
    exchanged = {f"older{side}": grown[f"newer{side}"] for side in sides}
    exchanged |= {f"newer{side}": grown[f"older{side}"] for side in sides}
    yield {"reason": "epochs and results dropped", "proof": {**grown, **exchanged}}
    rewritten = copy.deepcopy(after)
    rewritten["top"][2]["children"][3]["children"][0]["children"][1] = oracles.json_leaf("metrics", {"loss": 0.5})
    yield {"reason": "an epoch rewritten", "proof": oracles.consistency_proof(checkpoint, rewritten)}
    replaced = copy.deepcopy(after)
    replaced["top"][2]["children"][2] = oracles.json_leaf("results", {"accuracy": 1})
    yield {"reason": "results replaced", "proof": oracles.consistency_proof(after, replaced)}
    changed = copy.deepcopy(after)
    changed["top"][0]["children"][1] = {"label": "test", "kind": "absent"}
    yield {"reason": "data taken away", "proof": oracles.consistency_proof(checkpoint, changed)}


# --- canonical.json --------------------------------------------------------------------------------------------------


def canonical() -> Json:
    """Texts with their RFC 8785 form, doubles with theirs, and bytes that a strict parser refuses."""
    return {
        "description": "RFC 8785 and the strict parser of docs/spec/json.md.",
        "texts": [{"json": text, "canonical": oracles.jcs(json.loads(text))} for text in TEXTS],
        "doubles": [[struct.pack(">d", x).hex(), oracles.es6_number(x)] for x in _doubles()],
        "refused": [{"reason": reason, "hex": data.hex()} for reason, data in REFUSED],
    }


TEXTS = [
    "null",
    " [ 1 , 1.0 , 1e0 , 100e-2 , -0 , 0.0 , -0.0e5 ] ",
    '{"b": 1, "a": 2, "": 3, "B": 4}',
    '{"\\ud83d\\ude00": 1, "\\ufb33": 2, "\\u20ac": 3, "\\u0080": 4, "\\r": 5, "1": 6}',
    '{"caf\\u00e9": "composed", "cafe\\u0301": "decomposed"}',
    '"\\u0000\\u0001\\b\\t\\n\\f\\r\\u001f\\"\\\\\\/\\u007f\\u0080\\u2028\\u202e\\u200b\\ufeff\\uffff"',
    "[9007199254740991, -9007199254740991, 9007199254740994, 100000000000000000000, 123456789012345680000]",
    "[1e20, 1e21, 1e-6, 1e-7, 5e-324, 1.7976931348623157e308, 0.1, 0.30000000000000004, 333333333.33333329]",
    "[" * 64 + "]" * 64,
    '{"a": {"a": {"a": [[], {}, [{}], ""]}}, "true": true, "false": false, "null": null}',
]


def _doubles() -> Iterator[float]:
    """Yield every power of ten with its neighbours, the edges of the format, and 200 arbitrary doubles."""
    for exponent in [-324, -323, -308, -7, -6, -5, -1, 0, 1, 15, 16, 17, 20, 21, 22, 23, 308]:
        bits = struct.unpack(">Q", struct.pack(">d", float(f"1e{exponent}")))[0]
        yield from (struct.unpack(">d", struct.pack(">Q", near))[0] for near in (max(bits - 1, 0), bits, bits + 1))
    yield from (-0.0, -1.5, 2.0**53 - 1, 2.0**53, 2.0**53 + 2, -(2.0**63), 2.0**64, sys.float_info.max, 2.0**-1022)
    for i in range(200):
        (x,) = struct.unpack(">d", oracles.sha256(b"double %d" % i)[:8])
        if x - x == 0:  # finite
            yield x


REFUSED: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("two values", b"1 2"),
    ("a comma too many", b"[1,]"),
    ("a comment", b"[1] // one"),
    ("a string that is not closed", b'"abc'),
    ("a control character in a string", b'"a\nb"'),
    ("a leading zero", b"01"),
    ("a plus sign", b"+1"),
    ("single quotes", b"'a'"),
    ("a key twice", b'{"co2_kg":900,"co2_kg":1}'),
    ("a key twice, once escaped", b'{"co2_kg":900,"\\u0063o2_kg":1}'),
    ("a key twice, inside", b'[{"a":{"b":1,"b":1}}]'),
    ("NaN", b'{"loss":NaN}'),
    ("Infinity", b"[Infinity]"),
    ("minus Infinity", b"[-Infinity]"),
    ("a number too large for a double", b"1e999"),
    ("a long number too large for a double", b"1" + b"0" * 400 + b".0"),
    ("2^53 + 1", b"9007199254740993"),
    ("-(2^53 + 1)", b"-9007199254740993"),
    ("2^63", b"9223372036854775808"),
    ("an integer of 5,000 digits", b"1" * 5000),
    ("a lone high surrogate", b'"\\ud800"'),
    ("a lone low surrogate in a key", b'{"\\udc00":1}'),
    ("surrogates in the wrong order", b'"\\udc00\\ud800"'),
    ("a surrogate in UTF-8", b'"\xed\xa0\x80"'),
    ("invalid UTF-8", b'"\xff"'),
    ("an overlong form", b'"\xc0\xaf"'),
    ("a byte order mark", b"\xef\xbb\xbf1"),
    ("UTF-16", b"\xff\xfe1\x00"),
    ("UTF-16 without a mark", b"[\x001\x00]\x00"),
    ("65 levels", b"[" * 65 + b"]" * 65),
    ("65 levels of objects", b'{"a":' * 65 + b"1" + b"}" * 65),
]

VECTORS: dict[str, Callable[[], Json]] = {
    "canonical.json": canonical,
    "digests.json": vector_cases.cases,
    "merkle.json": merkle,
    "provenance_tree.json": provenance_tree,
    "records.json": record_cases.records,
    "verdicts.json": record_cases.verdicts,
}

if __name__ == "__main__":
    write_all(ROOT / "tests" / "vectors")
