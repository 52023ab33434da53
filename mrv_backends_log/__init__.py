# SPDX-License-Identifier: MIT
"""Anchors in a transparency log: an append-only Merkle tree with signed checkpoints."""
