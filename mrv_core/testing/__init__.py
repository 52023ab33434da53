# SPDX-License-Identifier: MIT
"""Tools for testing drivers and whatever uses them: a network in one file, and the suite every driver passes.

`mrv_core.testing.memory` needs nothing but core; `mrv_core.testing.conformance` needs pytest.
"""
