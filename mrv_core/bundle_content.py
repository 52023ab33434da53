# SPDX-License-Identifier: MIT
"""Compares a file or folder with the one node that a bundle proves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mrv_core.digests import content_node
from mrv_core.errors import FormatError, RootMismatchError
from mrv_core.files import storage_error
from mrv_core.hashing import HashFactory
from mrv_core.proofs import InclusionProofFile
from mrv_core.provenance_tree import MerkleNode, unescape_label

_FILE_KINDS: Final = ("file", "symlink")


def compare_with_leaf(proof: InclusionProofFile, content: Path) -> str:
    """Recompute the digest of a file or folder, which must be that of the proven node; return one line for people.

    Args:
        proof: A proof that was checked.
        content: The file, or the folder where the proven node is a branch.

    Raises:
        RootMismatchError: it is another file or folder.
        FormatError: the node does not stand for a file or folder; the hint says what to use instead.
        StorageError: the content is missing or cannot be read.
    """
    committed = proof.to_proof().node_hash
    found = [_node(proof, content, algorithm) for algorithm in _algorithms(proof, content)]
    for node in found:
        if node.hash == committed:
            return f"{content} is what was committed"
    raise RootMismatchError(
        f"{content} is not what was committed as {proof.path}",
        expected=str(proof.digest) if proof.digest is not None else committed.hex(),
        computed=str(found[0].digest) if found[0].digest is not None else found[0].hash.hex(),
    )


def _algorithms(proof: InclusionProofFile, content: Path) -> Iterable[str]:
    """Return the algorithms to try: the leaf's own, or all of them for a branch, which does not say what is in it."""
    try:
        is_folder = content.is_dir()
    except OSError as error:
        raise storage_error("read", content, error) from error
    if proof.digest is not None and proof.kind in _FILE_KINDS and not is_folder:
        return (proof.digest.algorithm,)
    if proof.kind == "branch" and is_folder:
        return (HashFactory.DEFAULT, *(name for name in HashFactory.algorithms() if name != HashFactory.DEFAULT))
    raise FormatError(
        f"{proof.path} was committed as {proof.kind}; {content} cannot be compared with that",
        hint="give a file for a leaf of kind file, a folder for a branch; else use 'mrv verify RUN --data PATH'",
    )


def _node(proof: InclusionProofFile, content: Path, algorithm: str) -> MerkleNode:
    label = unescape_label(proof.path.rpartition("/")[2])
    return content_node(content, algorithm=algorithm, label=label, symlinks="record")
