# SPDX-License-Identifier: MIT
"""The provenance tree: every fact of a training run under one root (docs/spec/merkle.md is the byte-exact format).

    root                       binds the run id and the phase
    ├─ data      ├─ training        content of the training set
    │            └─ test
    ├─ model     ├─ architecture    structure, names, shapes, dtypes
    │            └─ weights         content of the initial weights, one leaf a tensor
    └─ training  ├─ config
                 ├─ environment
                 ├─ results
                 └─ epochs          one entry an epoch: (model_state, metrics, privacy_metrics)

There are three kinds of node. A *leaf* binds its label, the kind of content and a content digest. A *branch*
binds its label, the number of its children and the RFC 9162 root over their hashes, so any node has a proof of
O(log n) hashes whatever the width. An *absent* node stands where nothing has been tracked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from mrv_core.canonical import JsonValue, canonical_digest
from mrv_core.errors import FormatError, RootMismatchError, RunStateError, VerificationError
from mrv_core.hashing import Digest, length_prefixed
from mrv_core.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    MAX_TREE_SIZE,
    LogTree,
    check_hashes,
    leaf_hash,
    root_from_inclusion,
    tree_root,
    verify_consistency,
)

SHAPE: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("data", "model", "training"),
    "data": ("training", "test"),
    "model": ("architecture", "weights"),
    "training": ("config", "environment", "results", "epochs"),
}
"""Children of the fixed branches, in the order in which they are hashed. `""` is the root."""

EPOCH_CHILDREN: Final = ("model_state", "metrics", "privacy_metrics")
SLOTS: Final = tuple(
    f"{branch}/{child}" for branch in ("data", "model", "training") for child in SHAPE[branch] if child != "epochs"
)
"""Paths that are filled once: everything but the epochs."""

JSON_KIND: Final = "json"
MAX_PROOF_STEPS: Final = 2048
"""Most branches between a node and the root: a path of Linux has no more parts than that."""
MAX_LABEL_BYTES: Final = 4096
"""Longest label in UTF-8 bytes: the longest path that Linux accepts."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PHASE = re.compile(r"[a-z][a-z_]{0,31}")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_EPOCH = re.compile(r"0|[1-9][0-9]{0,15}")


def check_run_id(run_id: str) -> str:
    """Return `run_id` unchanged.

    Raises:
        FormatError: not 1 to 64 ASCII letters, digits, dots, underscores or hyphens, starting with a letter or digit.
    """
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise FormatError(
            f"run id {str(run_id)[:80]!r} is not usable",
            hint="use 1 to 64 ASCII letters, digits, dots, underscores or hyphens, starting with a letter or digit",
        )
    return run_id


def escape_label(label: str) -> str:
    """Write a label as one segment of a path name: `~` becomes `~0`, `/` becomes `~1` (RFC 6901, section 3)."""
    return label.replace("~", "~0").replace("/", "~1")


def unescape_label(segment: str) -> str:
    """Read a label back from a segment of a path name.

    Raises:
        FormatError: a `~` that is not followed by 0 or 1.
    """
    if re.search(r"~(?![01])", segment):
        raise FormatError(f"path segment {segment[:80]!r} has a '~' that is not '~0' or '~1'")
    return segment.replace("~1", "/").replace("~0", "~")


@dataclass(frozen=True, slots=True)
class MerkleNode:
    """One node of a provenance tree; build it with `leaf`, `branch` or `absent`.

    Attributes:
        label: Name among its siblings; hashed.
        kind: `branch`, `absent`, or for a leaf the kind of content (`array`, `file`, `json`, ...); hashed for leaves.
        digest: Content digest of a leaf, else None.
        children: Children of a branch in hashing order, else empty.
        value: The JSON value of a `json` leaf, kept beside its digest so that anyone can recompute that.
        hash: The node hash (32 bytes, SHA-256).
    """

    label: str
    kind: str
    digest: Digest | None
    children: tuple[MerkleNode, ...]
    hash: bytes
    value: JsonValue = field(default=None, compare=False)

    @classmethod
    def leaf(cls, label: str, kind: str, digest: Digest, value: JsonValue = None) -> MerkleNode:
        """Build a leaf from a content digest. A `json` leaf needs the value that its digest was made of."""
        return cls(label, kind, digest, (), leaf_node_hash(label, kind, digest), value)

    @classmethod
    def json(cls, label: str, value: JsonValue, algorithm: str) -> MerkleNode:
        """Build a leaf over the canonical bytes of a JSON value, keeping the value."""
        return cls.leaf(label, JSON_KIND, canonical_digest(value, algorithm), value)

    @classmethod
    def branch(cls, label: str, children: Iterable[MerkleNode]) -> MerkleNode:
        """Build a branch.

        Raises:
            FormatError: two children have one label.
        """
        nodes = tuple(children)
        if len({child.label for child in nodes}) != len(nodes):
            raise FormatError(f"two children of {label!r} have one label")
        root = tree_root(child.hash for child in nodes)
        return cls(label, "branch", None, nodes, branch_node_hash(label, len(nodes), root))

    @classmethod
    def absent(cls, label: str) -> MerkleNode:
        """Build the node that stands where nothing has been tracked."""
        return cls(label, "absent", None, (), absent_node_hash(label))

    def relabel(self, label: str) -> MerkleNode:
        """Return the same content under another label."""
        if self.kind == "branch":
            root = tree_root(child.hash for child in self.children)
            return replace(self, label=label, hash=branch_node_hash(label, len(self.children), root))
        if self.digest is None:
            return MerkleNode.absent(label)
        return replace(self, label=label, hash=leaf_node_hash(label, self.kind, self.digest))

    @property
    def is_absent(self) -> bool:
        """Whether nothing has been tracked here."""
        return self.kind == "absent"

    def child(self, label: str) -> MerkleNode:
        """Return the child with this label.

        Raises:
            KeyError: no such child.
        """
        for child in self.children:
            if child.label == label:
                return child
        raise KeyError(label)

    def walk(self, path: str = "") -> Iterator[tuple[str, MerkleNode]]:
        """Yield (path name, node) for this node and everything below it, parents first."""
        stack = [(path, self)]
        while stack:
            name, node = stack.pop()
            yield name, node
            prefix = f"{name}/" if name else ""
            stack.extend((prefix + escape_label(child.label), child) for child in reversed(node.children))


def _label_bytes(label: str) -> bytes:
    if not isinstance(label, str) or not label:
        raise FormatError("a label must be text that is not empty")
    try:
        data = label.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError(f"label {label!r} is not valid Unicode text") from error
    if len(data) > MAX_LABEL_BYTES:
        raise FormatError(f"label {label[:40]!r}... is longer than {MAX_LABEL_BYTES} bytes")
    return data


def leaf_node_hash(label: str, kind: str, digest: Digest) -> bytes:
    """SHA-256 over "mrv1/leaf" 0x00, label, kind, algorithm (each length-prefixed) and the 32 digest bytes."""
    kind_and_algorithm = _kind_and_algorithm(kind, digest.algorithm)
    return sha256(b"mrv1/leaf\x00" + length_prefixed(_label_bytes(label)) + kind_and_algorithm + digest.value).digest()


@lru_cache(maxsize=64)
def _kind_and_algorithm(kind: str, algorithm: str) -> bytes:
    """Check and encode what thousands of leaves of one folder have in common."""
    if not _KIND.fullmatch(kind) or kind in ("branch", "absent"):
        raise FormatError(f"{kind[:40]!r} is not a kind of content")
    return length_prefixed(kind.encode()) + length_prefixed(algorithm.encode())


def branch_node_hash(label: str, size: int, root: bytes) -> bytes:
    """SHA-256 over "mrv1/branch" 0x00, label (length-prefixed), size (8 bytes, big-endian) and the RFC 9162 root.

    Raises:
        FormatError: not a size, not a hash, or the root of an empty tree with a size that is not 0.
    """
    if type(size) is not int or not 0 <= size <= MAX_TREE_SIZE:
        raise FormatError(f"the number of children of {label[:40]!r} is not an integer from 0 to 2^63-1")
    if len(root) != HASH_SIZE or (size == 0) != (root == EMPTY_ROOT):
        raise FormatError(f"the children of {label[:40]!r} cannot have this root")
    head = length_prefixed(_label_bytes(label)) + size.to_bytes(8, "big")
    return sha256(b"mrv1/branch\x00" + head + root).digest()


def absent_node_hash(label: str) -> bytes:
    """SHA-256 over "mrv1/absent" 0x00 and the label (length-prefixed)."""
    return sha256(b"mrv1/absent\x00" + length_prefixed(_label_bytes(label))).digest()


def run_root(run_id: str, phase: str, top: Sequence[bytes]) -> Digest:
    """Return the root of a run: SHA-256 over "mrv1/run" 0x00, run id, phase, number of children, their RFC 9162 root.

    Args:
        run_id: See `check_run_id`.
        phase: When the root was taken, for instance `before_training`; lower-case letters and underscores.
        top: Hashes of `data`, `model` and `training`, in this order.

    Raises:
        FormatError: run id or phase is not usable.
    """
    return _run_root(run_id, phase, len(top), tree_root(top))


def _run_root(run_id: str, phase: str, size: int, root: bytes) -> Digest:
    if not _PHASE.fullmatch(phase):
        raise FormatError(f"phase {phase[:40]!r} is not lower-case letters and underscores")
    head = length_prefixed(check_run_id(run_id).encode()) + length_prefixed(phase.encode())
    return Digest("sha256", sha256(b"mrv1/run\x00" + head + size.to_bytes(8, "big") + root).digest())


@dataclass(frozen=True, slots=True)
class TreeState:
    """Which part of a run's tree a root covers.

    Attributes:
        phase: When the root was taken.
        epochs: Number of epochs it covers.
        slots: The members of `SLOTS` that were filled, in the order of `SLOTS`.
    """

    phase: str
    epochs: int
    slots: tuple[str, ...]

    def extends(self, older: TreeState) -> bool:
        """Whether a tree in this state may have grown from `older`."""
        return self.epochs >= older.epochs and set(self.slots) >= set(older.slots)


@dataclass(frozen=True, slots=True)
class ProofStep:
    """One branch on the way from a node to the root.

    Attributes:
        label: The branch's label; empty for the root.
        index: Zero-based position of the child the proof comes from.
        size: Number of children.
        path: RFC 9162 audit path over the children's hashes, nearest sibling first.
    """

    label: str
    index: int
    size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class NodeProof:
    """Shows that one node is in the tree with a given root, without showing any other node.

    Attributes:
        run_id: The run.
        phase: The phase that the root binds.
        path: Path name of the node.
        kind: The node's kind; the children of a branch are left out.
        digest: Content digest of a leaf, else None.
        size: Number of children of a branch, else None.
        children_root: RFC 9162 root over the hashes of a branch's children, else None.
        steps: The branches from the node's parent up to the root, which comes last.
    """

    run_id: str
    phase: str
    path: str
    kind: str
    digest: Digest | None
    size: int | None
    children_root: bytes | None
    steps: tuple[ProofStep, ...]

    @property
    def node_hash(self) -> bytes:
        """The node's hash, recomputed from everything that the proof says of the node.

        Raises:
            FormatError: what is said of the node is malformed or does not suit its kind.
        """
        label = unescape_label(self.path.rpartition("/")[2])
        match self.kind, self.digest, self.size, self.children_root:
            case "absent", None, None, None:
                return absent_node_hash(label)
            case "branch", None, int(size), bytes(root):
                return branch_node_hash(label, size, root)
            case kind, Digest() as digest, None, None if kind not in ("absent", "branch"):
                return leaf_node_hash(label, kind, digest)
        raise FormatError(f"what is said of the node does not suit its kind, {self.kind[:40]!r}")


def verify_node_proof(proof: NodeProof, root: Digest) -> None:
    """Check that the proof's node is in the run with this root. Needs no tree, no file and no network.

    1. The node's hash is recomputed from its label, its kind and its digest, or size and root of its children.
    2. The labels of the steps spell the path name, and fixed branches have their fixed shape.
    3. Each step's audit path leads to the branch above it.
    4. The last branch, with run id and phase, is the root.

    The proof names its run id and its phase itself; the root binds both. Whoever expects a certain run or phase
    compares them.

    Raises:
        VerificationError: malformed proof.
        RootMismatchError: the proof leads to another root.
    """
    try:
        computed = _root_from_proof(proof)
    except FormatError as error:
        raise VerificationError(f"the proof of {proof.path[:200]!r} is malformed: {error.message}") from error
    if computed != root:
        raise RootMismatchError(
            f"the proof of {proof.path[:200]!r} leads to another root", expected=str(root), computed=str(computed)
        )


def _root_from_proof(proof: NodeProof) -> Digest:
    if len(proof.steps) > MAX_PROOF_STEPS:
        raise VerificationError(f"the proof has {len(proof.steps)} steps, more than the {MAX_PROOF_STEPS} allowed")
    labels = [unescape_label(segment) for segment in proof.path.split("/")]
    if [step.label for step in proof.steps] != ["", *labels[:-1]][::-1]:
        raise VerificationError(f"the proof of {proof.path[:200]!r} does not have one step for each part of the path")
    current = proof.node_hash
    for depth, step in zip(reversed(range(len(labels))), proof.steps, strict=True):
        _check_shape(labels[:depth], labels[depth], step)
        inner = root_from_inclusion(leaf_hash(current), step.index, step.size, step.path)
        current = branch_node_hash(step.label, step.size, inner) if depth else inner
    return _run_root(proof.run_id, proof.phase, proof.steps[-1].size, current)


def _check_shape(parents: list[str], label: str, step: ProofStep) -> None:
    fixed = SHAPE.get("/".join(parents)) if len(parents) < 2 else None
    if parents[:2] == ["training", "epochs"]:
        if len(parents) == 2 and not _EPOCH.fullmatch(label):
            raise VerificationError(f"{label[:40]!r} is not an epoch number")
        fixed = EPOCH_CHILDREN if len(parents) == 3 else None
    if fixed is not None and (step.size != len(fixed) or label not in fixed or fixed.index(label) != step.index):
        place = "/".join(map(escape_label, parents)) or "the root"
        raise VerificationError(f"{label[:40]!r} is not child {step.index} of {place[:200]}")


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """Shows that a later root of a run extends an earlier one: data, model and config unchanged, epochs only added.

    Attributes:
        run_id: The run.
        older_phase, newer_phase: Phases of the two roots.
        older_epochs, newer_epochs: Number of epochs each covers.
        older_epochs_root, newer_epochs_root: RFC 9162 roots over the epoch hashes.
        data, model: Hashes of the two branches, equal on both sides.
        config, environment: Hashes of the two leaves, equal on both sides.
        older_results, newer_results: Hashes of `results`; the older one must be absent, or equal.
        path: RFC 9162 consistency path over the epochs; empty when `older_epochs` is 0 or both sizes are equal.
    """

    run_id: str
    older_phase: str
    newer_phase: str
    older_epochs: int
    newer_epochs: int
    older_epochs_root: bytes
    newer_epochs_root: bytes
    data: bytes
    model: bytes
    config: bytes
    environment: bytes
    older_results: bytes
    newer_results: bytes
    path: tuple[bytes, ...]


def verify_consistency_proof(proof: ConsistencyProof, older: Digest, newer: Digest) -> None:
    """Check that the run with root `newer` is the run with root `older`, grown.

    Raises:
        VerificationError: malformed proof, or an older result that was replaced.
        RootMismatchError: the proof leads to other roots.
    """
    check_hashes((proof.data, proof.model, proof.config, proof.environment, proof.older_results, proof.newer_results))
    absent = absent_node_hash("results")
    if proof.older_results not in (absent, proof.newer_results):
        raise VerificationError("the results were replaced between the two roots")
    sides = (
        (older, proof.older_phase, proof.older_results, proof.older_epochs, proof.older_epochs_root, "older"),
        (newer, proof.newer_phase, proof.newer_results, proof.newer_epochs, proof.newer_epochs_root, "newer"),
    )
    for root, phase, results, epochs, epochs_root, which in sides:
        try:
            log = branch_node_hash("epochs", epochs, epochs_root)
            children = (proof.config, proof.environment, results, log)
            training = branch_node_hash("training", len(children), tree_root(children))
            computed = run_root(proof.run_id, phase, (proof.data, proof.model, training))
        except FormatError as error:
            raise VerificationError(f"malformed consistency proof: {error.message}") from error
        if computed != root:
            raise RootMismatchError(
                f"the consistency proof leads to another {which} root", expected=str(root), computed=str(computed)
            )
    if proof.older_epochs == 0:
        if proof.path:
            raise VerificationError("the consistency path from a run without epochs must be empty")
        return
    verify_consistency(
        proof.older_epochs, proof.newer_epochs, proof.older_epochs_root, proof.newer_epochs_root, proof.path
    )


class MLProvenanceMerkleTree:
    """The tree of one run. Slots are filled, epochs are appended, roots are taken at any state.

    A slot may be filled again; whoever has anchored a root must not do that, because the tree keeps no older content.

    Args:
        run_id: See `check_run_id`.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = check_run_id(run_id)
        self._slots: dict[str, MerkleNode] = {}
        self._epochs: list[MerkleNode] = []
        self._log = LogTree()

    @property
    def epochs(self) -> tuple[MerkleNode, ...]:
        """The epoch entries, oldest first."""
        return tuple(self._epochs)

    @property
    def epoch_count(self) -> int:
        """Number of epochs."""
        return len(self._epochs)

    def set(self, path: str, content: MerkleNode) -> None:
        """Fill a slot, or fill it again; the content gets the slot's label.

        Raises:
            FormatError: not one of `SLOTS`.
        """
        if path not in SLOTS:
            raise FormatError(f"{path!r} is not a place for content", hint=f"one of {', '.join(SLOTS)}")
        self._slots[path] = content.relabel(path.rpartition("/")[2])

    def append_epoch(
        self,
        epoch: int,
        *,
        model_state: MerkleNode | None = None,
        metrics: MerkleNode | None = None,
        privacy_metrics: MerkleNode | None = None,
    ) -> MerkleNode:
        """Add an epoch and return its node.

        Args:
            epoch: The trainer's own number; must grow from entry to entry. It becomes the label.
            model_state: Content of the model after the epoch, or None where none is tracked.
            metrics: Content of the metrics, or None.
            privacy_metrics: Content of the privacy accounting, or None.

        Raises:
            RunStateError: the number does not grow.
            FormatError: not an epoch number: an integer from 0 to 10^16 - 1.
        """
        given = (model_state, metrics, privacy_metrics)
        children = [
            MerkleNode.absent(label) if content is None else content.relabel(label)
            for label, content in zip(EPOCH_CHILDREN, given, strict=True)
        ]
        node = MerkleNode.branch(str(epoch), children)
        self.append_epoch_node(node)
        return node

    def append_epoch_node(self, node: MerkleNode) -> None:
        """Add an epoch that was built before, for instance read from a file.

        Raises:
            RunStateError: its number does not grow.
            FormatError: it does not have the form of an epoch.
        """
        if not _EPOCH.fullmatch(node.label):
            raise FormatError(f"{node.label[:40]!r} is not an epoch number", hint="epochs are integers from 0")
        if tuple(child.label for child in node.children) != EPOCH_CHILDREN:
            raise FormatError(f"epoch {node.label} does not have the children {', '.join(EPOCH_CHILDREN)}")
        if self._epochs and int(node.label) <= int(self._epochs[-1].label):
            raise RunStateError(
                f"epoch {node.label} comes after epoch {self._epochs[-1].label}",
                hint="epochs are added once each, in growing order",
            )
        self._epochs.append(node)
        self._log.append(node.hash)

    def state(self, phase: str) -> TreeState:
        """Return the present state under a phase name."""
        return TreeState(phase, len(self._epochs), tuple(slot for slot in SLOTS if slot in self._slots))

    def root(self, state: TreeState | str) -> Digest:
        """Return the root at a state, or at the present state under a phase name.

        Raises:
            FormatError: the tree never was in that state.
        """
        return run_root(self.run_id, self._state(state).phase, [node.hash for node in self._top(self._state(state))])

    def node(self, path: str, state: TreeState | str = "present") -> MerkleNode:
        """Return the node with a path name; `""` has none, since the root is not a node but a digest.

        Raises:
            FormatError: no such node.
        """
        return self._trail(path, self._state(state))[-1]

    def walk(self, state: TreeState | str = "present") -> Iterator[tuple[str, MerkleNode]]:
        """Yield (path name, node) for every node below the root, parents first."""
        for node in self._top(self._state(state)):
            yield from node.walk(escape_label(node.label))

    def prove(self, path: str, state: TreeState | str) -> NodeProof:
        """Return the inclusion proof of a node, leaf or branch.

        Raises:
            FormatError: no such node, or the tree never was in that state.
        """
        state = self._state(state)
        trail = self._trail(path, state)
        parents: list[tuple[str, Sequence[MerkleNode]]] = [("", self._top(state))]
        parents += [(node.label, node.children) for node in trail[:-1]]
        steps = []
        for (label, siblings), child in zip(parents, trail, strict=True):
            index = next(i for i, node in enumerate(siblings) if node.label == child.label)
            log = LogTree(node.hash for node in siblings)
            steps.append(ProofStep(label, index, len(siblings), tuple(log.inclusion_proof(index))))
        node = trail[-1]
        is_branch = node.kind == "branch"
        return NodeProof(
            run_id=self.run_id,
            phase=state.phase,
            path=path,
            kind=node.kind,
            digest=node.digest,
            size=len(node.children) if is_branch else None,
            children_root=tree_root(child.hash for child in node.children) if is_branch else None,
            steps=tuple(reversed(steps)),
        )

    def prove_consistency(self, older: TreeState, newer: TreeState | str) -> ConsistencyProof:
        """Return the proof that the root at `newer` extends the root at `older`.

        Raises:
            FormatError: the tree never was in one of the states, or `older` is not the earlier one.
        """
        newer = self._state(newer)
        if not newer.extends(older):
            raise FormatError(f"phase {older.phase!r} is not earlier than phase {newer.phase!r}")
        old_top, new_top = self._top(older), self._top(newer)
        if [node.hash for node in old_top[:2]] != [node.hash for node in new_top[:2]]:
            raise FormatError("data or model was filled in after the older root; the roots are not comparable")
        old, new = old_top[2], new_top[2]
        if old.children[:2] != new.children[:2]:
            raise FormatError("config or environment was filled in after the older root")
        path = self._log.consistency_proof(older.epochs, newer.epochs) if older.epochs else []
        return ConsistencyProof(
            run_id=self.run_id,
            older_phase=older.phase,
            newer_phase=newer.phase,
            older_epochs=older.epochs,
            newer_epochs=newer.epochs,
            older_epochs_root=self._log.root(older.epochs),
            newer_epochs_root=self._log.root(newer.epochs),
            data=new_top[0].hash,
            model=new_top[1].hash,
            config=new.children[0].hash,
            environment=new.children[1].hash,
            older_results=old.children[2].hash,
            newer_results=new.children[2].hash,
            path=tuple(path),
        )

    def _state(self, state: TreeState | str) -> TreeState:
        return self.state(state) if isinstance(state, str) else state

    def _top(self, state: TreeState) -> tuple[MerkleNode, ...]:
        if not 0 <= state.epochs <= len(self._epochs):
            raise FormatError(f"the run has {len(self._epochs)} epochs, not {state.epochs}")
        missing = [slot for slot in state.slots if slot not in self._slots]
        if missing:
            raise FormatError(f"the tree has nothing at {', '.join(missing)}")
        filled = set(state.slots)

        def slot(branch: str, label: str) -> MerkleNode:
            path = f"{branch}/{label}"
            return self._slots[path] if path in filled else MerkleNode.absent(label)

        data = MerkleNode.branch("data", [slot("data", label) for label in SHAPE["data"]])
        model = MerkleNode.branch("model", [slot("model", label) for label in SHAPE["model"]])
        epochs = tuple(self._epochs[: state.epochs])
        log_hash = branch_node_hash("epochs", len(epochs), self._log.root(state.epochs))
        log = MerkleNode("epochs", "branch", None, epochs, log_hash)
        training = MerkleNode.branch("training", [*(slot("training", x) for x in SHAPE["training"][:-1]), log])
        return data, model, training

    def _trail(self, path: str, state: TreeState) -> list[MerkleNode]:
        """Return the nodes from the top branch down to the one with this path name."""
        trail: list[MerkleNode] = []
        siblings: Sequence[MerkleNode] = self._top(state)
        for segment in path.split("/"):
            label = unescape_label(segment)
            found = next((node for node in siblings if node.label == label), None)
            if found is None:
                names = ", ".join(escape_label(node.label) for node in siblings[:8]) or "nothing"
                place = "/".join(escape_label(node.label) for node in trail) or "the root"
                raise FormatError(f"the run has no node {path!r}", hint=f"below {place} there is: {names}")
            trail.append(found)
            siblings = found.children
        return trail


def node_rows(path: str, node: MerkleNode) -> list[dict[str, Any]]:
    """Write a node and everything below it as flat rows, parents first, for a JSON file of one row a node.

    A row has `path`, `kind` and `hash`; a leaf also `digest`, and `value` where it has one; a branch also `size`.
    """
    rows: list[dict[str, Any]] = []
    for name, item in node.walk(path):
        row: dict[str, Any] = {"path": name, "kind": item.kind, "hash": item.hash.hex()}
        if item.digest is not None:
            row["digest"] = str(item.digest)
            if item.kind == JSON_KIND:
                row["value"] = item.value
        elif item.kind == "branch":
            row["size"] = len(item.children)
        rows.append(row)
    return rows


class TreeFileError(VerificationError):
    """A stored tree does not agree with itself.

    Args:
        path: Path name of the node, as exact as the file allows.
        message: What does not agree.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


def node_from_rows(rows: Iterator[Mapping[str, Any]], path: str) -> tuple[MerkleNode, list[TreeFileError]]:
    """Rebuild the node `path` from rows made by `node_rows`, recomputing every hash.

    Returns:
        The node as its digests say, and one error for each row whose keys, stored hash, value or digest disagree
        with the recomputation, children before parents. A branch is compared only where everything below it agrees.

    Raises:
        FormatError: rows missing or out of order, or a row that no node can be made of; the message names the path.
    """
    problems: list[TreeFileError] = []
    finished: list[tuple[str, MerkleNode]] = []  # nodes whose parent's turn has not come, the first sibling on top
    unsound: set[str] = set()
    for name, row in reversed(_take_rows(rows, path)):
        children = [finished.pop() for _ in range(row.get("size", 0))]
        for child_name, _ in children:
            if child_name.rpartition("/")[0] != name:
                raise FormatError(f"the row of a child of {name[:200]} is missing")
        try:
            node = _node_from_row(row, name, [child for _, child in children])
            found = _row_problem(row, node)
        except FormatError as error:
            raise FormatError(f"the row of {name[:200]}: {error.message}") from error
        if found and unsound.isdisjoint(child_name for child_name, _ in children):
            problems.append(TreeFileError(name, found))
        if found:
            unsound.add(name)
        finished.append((name, node))
    return finished.pop()[1], problems


def _take_rows(rows: Iterator[Mapping[str, Any]], path: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Take the rows of one subtree. Parents come first, so their sizes say how many more there must be."""
    taken: list[tuple[str, Mapping[str, Any]]] = []
    missing = 1
    while missing:
        row = next(rows, None)
        name = row.get("path") if isinstance(row, Mapping) else None
        if row is None or not isinstance(name, str) or (not taken and name != path):
            raise FormatError(f"{missing} row(s) of {path[:200]} are missing")
        size = row.get("size", 0)
        if type(size) is not int or size < 0:
            raise FormatError(f"the row of {name[:200]}: the size is not a number of children")
        taken.append((name, row))
        missing += size - 1
    return taken


def _node_from_row(row: Mapping[str, Any], path: str, children: list[MerkleNode]) -> MerkleNode:
    label, kind = unescape_label(path.rpartition("/")[2]), row.get("kind")
    if kind == "branch":
        return MerkleNode.branch(label, children)
    if kind == "absent":
        return MerkleNode.absent(label)
    if not isinstance(kind, str):
        raise FormatError("there is no kind")
    return MerkleNode.leaf(label, kind, Digest.parse(row.get("digest", "")), row.get("value"))


def _row_problem(row: Mapping[str, Any], node: MerkleNode) -> str | None:
    """Say what in a row disagrees with the node that was made of it."""
    own = {"branch": {"size"}, "absent": set(), JSON_KIND: {"digest", "value"}}.get(node.kind, {"digest"})
    if wrong := sorted(set(row) ^ {"path", "kind", "hash", *own}):
        return f"the key {wrong[0][:40]!r} is {'out of place' if wrong[0] in row else 'missing'}"
    if node.kind == JSON_KIND and node.digest is not None:
        computed = canonical_digest(node.value, node.digest.algorithm)
        if computed != node.digest:
            return f"stored digest {node.digest}, recomputed from its value {computed}"
    if row["hash"] != node.hash.hex():
        return f"stored hash {str(row['hash'])[:80]}, recomputed {node.hash.hex()}"
    return None
