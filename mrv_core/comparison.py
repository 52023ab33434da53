# SPDX-License-Identifier: MIT
"""Compares real content with the leaves that commit to it, and names the exact leaves that differ."""

from __future__ import annotations

import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mrv_core.digests import content_node, weights_node
from mrv_core.errors import FormatError, MrvError, StorageError
from mrv_core.files import storage_error
from mrv_core.hashing import HashFactory
from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree, escape_label

MAX_DIFFERENCES: Final = 20
"""Leaves named in one comparison; of a wholly different folder of 20,000 files the first ones suffice."""

MAX_EXPANDED: Final = 1024**3
"""Bytes that a compressed file may expand to in any case."""
MAX_EXPANSION: Final = 100
"""Times its own size that a larger one may expand to; zeros shrink a thousandfold."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One leaf that the content does not have as it was committed.

    Attributes:
        path: Path name of the leaf.
        message: What differs.
        expected: The committed digest or hash, None where nothing was committed.
        computed: The one found now, None where there is nothing now.
    """

    path: str
    message: str
    expected: str | None
    computed: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Outcome of comparing content with a node.

    Attributes:
        path: Path name of the node.
        source: What was read.
        detail: One line for people.
        differences: Empty where the content is what was committed.
    """

    path: str
    source: str
    detail: str
    differences: tuple[Difference, ...]


def compare_nodes(committed: MerkleNode, found: MerkleNode, path: str) -> tuple[Difference, ...]:
    """Return the leaves in which two nodes differ, at most `MAX_DIFFERENCES`."""
    differences: list[Difference] = []
    _collect(committed, found, path, differences)
    return tuple(differences[:MAX_DIFFERENCES])


def _collect(committed: MerkleNode, found: MerkleNode, path: str, differences: list[Difference]) -> None:
    if committed.hash == found.hash or len(differences) >= MAX_DIFFERENCES:
        return
    if not (committed.kind == found.kind == "branch"):
        differences.append(Difference(path, _reason(committed, found), _text(committed), _text(found)))
        return
    before = {child.label: child for child in committed.children}
    after = {child.label: child for child in found.children}
    for label in dict.fromkeys([*before, *after]):
        place = f"{path}/{escape_label(label)}"
        if label not in after:
            differences.append(Difference(place, "is missing in the given content", _text(before[label]), None))
        elif label not in before:
            differences.append(Difference(place, "was not committed", None, _text(after[label])))
        else:
            _collect(before[label], after[label], place, differences)


def _reason(committed: MerkleNode, found: MerkleNode) -> str:
    if committed.is_absent:
        return "was not tracked"
    if committed.kind != found.kind:
        return f"was committed as {committed.kind}, the given content is {found.kind}"
    return "the given content differs from what was committed"


def _text(node: MerkleNode) -> str:
    return str(node.digest) if node.digest is not None else node.hash.hex()


def compare_content(
    tree: MLProvenanceMerkleTree, path: str, content: Any, *, progress: bool | None = None
) -> Comparison:
    """Recompute the digests of content and compare them with a node of the tree.

    Args:
        tree: The run's tree.
        path: Path name of the node.
        content: An object, or a `pathlib.Path` whose form is taken from what was committed: a file or folder as it
            is, `.npy`, `.npz`, `.parquet`, `.arrow` or `.feather` where an array or a table was committed.
        progress: Show a progress bar; by default only on a terminal.

    Raises:
        FormatError: no such node, or the file's form cannot be compared with what was committed.
        StorageError: the file is missing or unreadable.
    """
    committed = tree.node(path)
    if committed.is_absent:
        raise FormatError(f"nothing was tracked as {path}", hint="see 'mrv status RUN' for what was")
    source = str(content) if isinstance(content, Path) else type(content).__name__
    try:
        loaded = _load(committed, path, content) if isinstance(content, Path) else content
    except _DamagedFileError as error:
        difference = Difference(path, error.message, _text(committed), None)
        return Comparison(path, source, "the file is damaged", (difference,))
    found = _node_like(committed, loaded, progress)
    differences = compare_nodes(committed, found, path)
    differing = "1 leaf differs" if len(differences) == 1 else f"{len(differences)} leaves differ"
    detail = differing if differences else "every leaf is as committed"
    return Comparison(path, source, detail, differences)


def compare_model(tree: MLProvenanceMerkleTree, model: Any, *, progress: bool | None = None) -> Comparison:
    """Compare a model's weights with every model state of the run, the newest first.

    Raises:
        FormatError: the run tracked no model.
        StorageError: the file is missing or unreadable.
    """
    states = [
        (f"training/epochs/{node.label}/model_state", node.child("model_state")) for node in reversed(tree.epochs)
    ]
    states.append(("model/weights", tree.node("model/weights")))
    states = [(path, node) for path, node in states if not node.is_absent]
    if not states:
        raise FormatError("the run tracked no model", hint="leave --model out")
    source = str(model) if isinstance(model, Path) else type(model).__name__
    found = weights_node(model, algorithm=_algorithm(states[0][1]), progress=progress)
    if isinstance(model, Path) and _is_opaque(found) and not any(_is_opaque(node) for _, node in states):
        raise FormatError(
            f"the run tracked tensors; {model} cannot be compared with that",
            hint="give the weights as .safetensors, or verify in Python with model=...",
        )
    for path, node in states:
        if node.hash == found.relabel(node.label).hash:
            return Comparison(path, source, _recognised(path, states[0][0]), ())
    path, newest = states[0]
    differences = compare_nodes(newest, found.relabel(newest.label), path)
    return Comparison(path, source, "the weights are those of no recorded state", differences)


def _recognised(path: str, newest: str) -> str:
    older = "" if path == newest else f", not those of {newest}"
    return f"the weights are those of {path}{older}; the architecture was not compared"


def _is_opaque(node: MerkleNode) -> bool:
    """Whether a node commits to files as they are, and to nothing that was found in them."""
    return {item.kind for _, item in node.walk()} <= {"branch", "file", "symlink"}


def _node_like(committed: MerkleNode, content: Any, progress: bool | None) -> MerkleNode:
    algorithm = _algorithm(committed)
    if isinstance(content, Path) and content.suffix.lower() == ".safetensors" and committed.kind == "branch":
        return weights_node(content, algorithm=algorithm, label=committed.label, progress=progress)
    if isinstance(content, _PandasTable):
        return _table_node(committed, content, progress)
    if not isinstance(content, _Parts):
        # What was committed says whether a link belongs there, not a setting of the verifier.
        return content_node(content, algorithm=algorithm, label=committed.label, progress=progress, symlinks="record")
    parts = (content_node(part, algorithm=algorithm, label=name, progress=progress) for name, part in content.items())
    return MerkleNode.branch(committed.label, parts)


def _table_node(committed: MerkleNode, file: _PandasTable, progress: bool | None) -> MerkleNode:
    """Return the node of a table that pandas wrote: as columns, or as the frame with its index, whichever fits."""
    algorithm = _algorithm(committed)
    node = content_node(file.table, algorithm=algorithm, label=committed.label, progress=progress)
    if node.hash == committed.hash:
        return node
    return content_node(file.table.to_pandas(), algorithm=algorithm, label=committed.label, progress=progress)


@dataclass(frozen=True, slots=True)
class _PandasTable:
    """A table of a file that says how pandas is to read it."""

    table: Any


class _DamagedFileError(FormatError):
    """A file of the right form that cannot be read: whatever it is, it is not what was committed."""


class _Parts(dict[str, Any]):
    """Arrays of one file, by label and in the order in which the parts were committed."""


def _algorithm(node: MerkleNode) -> str:
    """Return the algorithm of the first leaf: all leaves of one piece of content share it."""
    return next((item.digest.algorithm for _, item in node.walk() if item.digest is not None), HashFactory.DEFAULT)


def _load(committed: MerkleNode, path: str, file: Path) -> Any:
    """Open a file in the form of what was committed; content that was committed as files stays a path."""
    _require_file_or_folder(file)
    kinds = {node.kind for _, node in committed.walk()} - {"branch"}
    if kinds <= {"file", "symlink"}:
        return file
    suffix = file.suffix.lower()
    if suffix == ".npy" and committed.kind == "array":
        return _open_npy(file)
    parts_are_arrays = bool(committed.children) and all(child.kind == "array" for child in committed.children)
    if suffix == ".npz" and (parts_are_arrays or committed.kind == "array"):
        return _load_npz(file, committed, path)
    if suffix in (".parquet", ".arrow", ".feather") and kinds == {"column"}:
        return _load_table(file, suffix)
    if suffix == ".safetensors" and parts_are_arrays:
        return file
    raise FormatError(
        f"{path} was committed as {', '.join(sorted(kinds))}; {file} cannot be compared with that",
        hint=f"give an array as .npy or .npz, a table as .parquet, or verify in Python with data={{{path!r}: object}}",
    )


def _require_file_or_folder(path: Path) -> None:
    """Refuse what a library would wait for, or read without end: a FIFO, a device."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise StorageError(f"there is no file or folder {path}", hint="check the path given for the data") from error
    except OSError as error:
        raise storage_error("read", path, error) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FormatError(f"{path} is neither a file nor a folder", hint="check the path given for the data")


def _not_read(file: Path, what: str, error: Exception) -> MrvError:
    """Tell a file that is damaged, and so not what was committed, from one that could not be read."""
    if isinstance(error, OSError) and error.errno is not None:
        return storage_error("read", file, error)
    if isinstance(error, MemoryError):
        return StorageError(f"{file} does not fit into the memory", hint="give arrays as .npy, which need none")
    return _DamagedFileError(f"cannot read {file} as {what}: {error}")


def _open_npy(file: Path) -> Any:
    import numpy as np

    try:
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a hostile header makes NumPy raise anything
        raise _not_read(file, "a NumPy array", error) from error
    if isinstance(loaded, np.ndarray):
        return loaded
    loaded.close()
    raise FormatError(f"{file} is an archive of arrays", hint="name it .npz")


def _load_npz(file: Path, committed: MerkleNode, path: str) -> Any:
    """Match the arrays of a file with the committed parts by name, or by position where the file has no names."""
    arrays = _read_npz(file)
    labels = [node.label for node in committed.children] or [committed.label]
    # Position means something only where the labels themselves are positions: one array, a pair, a tuple.
    positional = len(labels) == 1 or labels in (["x", "y"], [str(index) for index in range(len(labels))])
    unnamed = [f"arr_{index}" for index in range(len(labels))] if positional else labels
    names = labels if set(arrays) == set(labels) else unnamed
    if set(arrays) != set(names):
        raise FormatError(
            f"{file} holds {', '.join(sorted(arrays))}; {path} was committed as {', '.join(labels)}",
            hint=f"name the arrays alike: numpy.savez(file, {', '.join(f'{label}=...' for label in labels)})",
        )
    parts = _Parts({label: arrays[name] for label, name in zip(labels, names, strict=True)})
    return parts if committed.children else parts[committed.label]


def _read_npz(file: Path) -> dict[str, Any]:
    import numpy as np

    try:
        with zipfile.ZipFile(file) as members:
            expanded = sum(member.file_size for member in members.infolist())
        size = file.stat().st_size
        if expanded <= max(MAX_EXPANDED, MAX_EXPANSION * size):
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
    except Exception as error:  # a hostile archive makes NumPy and zipfile raise anything
        raise _not_read(file, "NumPy arrays", error) from error
    raise FormatError(
        f"{file} expands to {expanded} bytes, {expanded // size} times its size",
        hint="unpack it and give each array as .npy, which needs no memory",
    )


def _load_table(file: Path, suffix: str) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import feather, parquet
    except ModuleNotFoundError as error:
        raise FormatError(f"reading {file} needs pyarrow", hint="pip install pyarrow") from error
    try:
        table = parquet.read_table(file) if suffix == ".parquet" else feather.read_table(file)
    except (OSError, MemoryError, pa.ArrowException) as error:
        raise _not_read(file, "a table", error) from error
    return _PandasTable(table) if b"pandas" in (table.schema.metadata or {}) else table
