# SPDX-License-Identifier: MIT
"""Content digests: every byte of data and models, whatever holds them (docs/spec/digests.md is the format)."""

from mrv_core.digests.content import content_node, require_not_empty
from mrv_core.digests.context import DigestContext, Digester, SymlinkPolicy, register_digester
from mrv_core.digests.files import digest_file
from mrv_core.digests.models import ModelContent, model_nodes, weights_node

__all__ = [
    "DigestContext",
    "Digester",
    "ModelContent",
    "SymlinkPolicy",
    "content_node",
    "digest_file",
    "model_nodes",
    "register_digester",
    "require_not_empty",
    "weights_node",
]
