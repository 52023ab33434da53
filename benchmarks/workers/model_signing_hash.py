# SPDX-License-Identifier: MIT
"""model-signing's hashing with its default settings; runs in that peer's own environment."""

import model_signing
from protocol import serve


def file(path: str) -> str:
    """Return the SHA-256 that the manifest of a single file holds."""
    (descriptor,) = model_signing.hashing.hash(path).resource_descriptors()
    digest: str = descriptor.digest.digest_hex
    return digest


def folder(path: str) -> int:
    """Return the number of files in the manifest of a folder."""
    return len(list(model_signing.hashing.hash(path).resource_descriptors()))


serve({"file": file, "folder": folder})
