# SPDX-License-Identifier: MIT
"""SciPy sparse matrices and arrays, in one canonical form whatever format they are stored in."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrv_core.digests.context import DigestContext
from mrv_core.digests.values import branch_of
from mrv_core.errors import FormatError
from mrv_core.provenance_tree import MerkleNode


def sparse_node(content: Any, context: DigestContext) -> MerkleNode:
    """Return a branch of `shape`, `indptr`, `indices` and `data`: compressed rows, sorted, entries of one place summed.

    Stored zeros are entries like any other.

    Raises:
        FormatError: not two-dimensional.
    """
    if len(content.shape) != 2:
        raise FormatError(
            f"{context.where}: a sparse array of {len(content.shape)} dimensions has no canonical form here",
            hint="reshape it to two dimensions, or pass its toarray()",
        )
    rows = content.tocsr(copy=True)
    rows.sum_duplicates()
    parts = {
        "shape": [int(length) for length in rows.shape],
        "indptr": rows.indptr.astype(np.int64),  # the width of the indices depends on how the matrix was made
        "indices": rows.indices.astype(np.int64),
        "data": rows.data,
    }
    return branch_of(parts.items(), context)
