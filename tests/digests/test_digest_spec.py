# SPDX-License-Identifier: MIT
"""The specification page shows what happens, and names everything that the product knows."""

from __future__ import annotations

import json
import re
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest

from mrv_core.digests import arrays, content_node, safetensors, tensors
from mrv_core.provenance_tree import MerkleNode

PAGE = (Path(__file__).parents[2] / "docs" / "spec" / "digests.md").read_text("utf-8")


def as_dict(node: MerkleNode) -> dict[str, Any]:
    result: dict[str, Any] = {"label": node.label, "kind": node.kind, "hash": node.hash.hex()}
    if node.digest is not None:
        return {**result, "digest": str(node.digest)}
    return {**result, "children": [as_dict(child) for child in node.children]}


def test_the_example() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.M | re.S)[:1]
    content = np.arange(6, dtype=np.float32).reshape(2, 3), [0, 1]
    assert as_dict(content_node(content, label="training")) == json.loads(block)


def test_the_bytes_of_the_example() -> None:
    text = PAGE.partition("That of `x` is the BLAKE3 hash of\n\n")[2].partition("\n\n")[0]
    digits = "".join(re.match(r" {4}((?:[0-9a-f]+ ?)+)", line).group(1) for line in text.splitlines())  # type: ignore[union-attr]
    digest = oracles.content_digest("blake3", bytes.fromhex(digits))
    assert f'"digest": "{digest}"' in PAGE


class Image:
    """Stands in for a picture of Pillow, which is not among the test requirements."""

    mode = "RGB"

    def __array__(self, *_: Any, **__: Any) -> Any:
        return np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.usefixtures("clean_registry")
def test_the_example_of_a_digester_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.ModuleType("PIL.Image")
    library.Image = Image  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "PIL.Image", library)
    source = PAGE.partition("### Types of your own")[2].partition("\n\n    ")[2].partition("\n\nWhoever")[0]
    exec(textwrap.dedent("    " + source), {"numpy": np})  # noqa: S102
    assert content_node(Image()) == content_node({"mode": "RGB", "pixels": np.asarray(Image())})


@pytest.mark.parametrize("name", sorted(arrays._EXTENSION_DTYPES | tensors._DTYPES))
def test_every_dtype_is_documented(name: str) -> None:
    table = PAGE.partition("| dtype | element |")[2].partition("\n\n")[0]
    assert f"`{name}`" in table


@pytest.mark.parametrize("name", sorted(safetensors._DTYPES))
def test_every_dtype_of_safetensors_files_is_documented(name: str) -> None:
    table = PAGE.partition("| in the file | here |")[2].partition("\n\n")[0]
    assert f"`{name}`" in table


@pytest.mark.parametrize("algorithm", ["blake2b-256", "blake3", "sha256", "sha3-256"])
def test_every_algorithm_is_documented(algorithm: str) -> None:
    assert f"`{algorithm}`" in PAGE.partition("## Notation")[2].partition("## Kinds")[0]
