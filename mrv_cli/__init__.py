# SPDX-License-Identifier: MIT
"""The `mrv` command line: each command parses, calls the core once, and renders."""
