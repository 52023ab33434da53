# SPDX-License-Identifier: MIT
"""A registry of MRV records and run bundles for a lab or a journal, over HTTP. It is trusted with nothing.

Whoever fetches a record checks it against the networks, not against what this service says of it.
"""
