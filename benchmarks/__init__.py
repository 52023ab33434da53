# SPDX-License-Identifier: MIT
"""Speed and memory side by side with the peers, on the same input, in the same run (docs/benchmarks.md)."""
