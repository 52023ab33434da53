# SPDX-License-Identifier: MIT
"""Anchors on IPFS: one content-addressed block for each commitment."""
