# SPDX-License-Identifier: MIT
"""Our digests of files and folders, and the standard library's, in a process of their own."""

import hashlib
from pathlib import Path

from protocol import serve

from mrv_core.digests import content_node, digest_file


def ours(path: str) -> str:
    """Return the BLAKE3 digest of a file."""
    return digest_file(path, progress=False).hex


def sha256(path: str) -> str:
    """Return the SHA-256 digest of a file, read as the standard library does it best."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder(path: str) -> str:
    """Return the root over all files of a folder."""
    return content_node(Path(path), progress=False).hash.hex()


serve({"ours": ours, "sha256": sha256, "folder": folder})
