# SPDX-License-Identifier: MIT
"""Verifiable machine-learning provenance: one Merkle tree a run, anchored on several networks.

Names are imported when they are first used, so that `import mrv_core` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrv_core.config import Config, load_config
    from mrv_core.digests import content_node, register_digester
    from mrv_core.errors import MrvError
    from mrv_core.hashing import Digest, HashFactory
    from mrv_core.manager import BlockchainManager
    from mrv_core.models import Receipt, Verdict, VerifiedAnchor
    from mrv_core.mrv.hardware import get_hardware_info
    from mrv_core.mrv.job import Job
    from mrv_core.mrv.record import MrvRecord, generate_mrv_id
    from mrv_core.mrv.schema_0_1 import compute_hash, validate_mrv_json
    from mrv_core.mrv.storage import save_mrv
    from mrv_core.mrv.tracker import MRVTracker
    from mrv_core.mrv.verification import verify_record
    from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree
    from mrv_core.report.model import IntegrityReport
    from mrv_core.tracker import ProvenanceBlockchainTracker, ProvenanceTracker
    from mrv_core.verification import verify_run

__all__ = [
    "BlockchainManager",
    "Config",
    "Digest",
    "HashFactory",
    "IntegrityReport",
    "Job",
    "MLProvenanceMerkleTree",
    "MRVTracker",
    "MerkleNode",
    "MrvError",
    "MrvRecord",
    "ProvenanceBlockchainTracker",
    "ProvenanceTracker",
    "Receipt",
    "Verdict",
    "VerifiedAnchor",
    "compute_hash",
    "content_node",
    "generate_mrv_id",
    "get_hardware_info",
    "load_config",
    "register_digester",
    "save_mrv",
    "validate_mrv_json",
    "verify_record",
    "verify_run",
]

_MODULES = {
    "config": ("Config", "load_config"),
    "digests": ("content_node", "register_digester"),
    "errors": ("MrvError",),
    "hashing": ("Digest", "HashFactory"),
    "manager": ("BlockchainManager",),
    "models": ("Receipt", "Verdict", "VerifiedAnchor"),
    "mrv.hardware": ("get_hardware_info",),
    "mrv.job": ("Job",),
    "mrv.record": ("MrvRecord", "generate_mrv_id"),
    "mrv.schema_0_1": ("compute_hash", "validate_mrv_json"),
    "mrv.storage": ("save_mrv",),
    "mrv.tracker": ("MRVTracker",),
    "mrv.verification": ("verify_record",),
    "provenance_tree": ("MLProvenanceMerkleTree", "MerkleNode"),
    "report.model": ("IntegrityReport",),
    "tracker": ("ProvenanceBlockchainTracker", "ProvenanceTracker"),
    "verification": ("verify_run",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
