# SPDX-License-Identifier: MIT
"""The product agrees with every example that the oracle makes from the text of the specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vector_cases

from mrv_core.canonical import canonical_bytes
from mrv_core.digests import content_node, digest_file, model_nodes
from mrv_core.provenance_tree import MerkleNode

CASES = vector_cases.cases()


def as_dict(node: MerkleNode) -> dict[str, Any]:
    result: dict[str, Any] = {"label": node.label, "kind": node.kind, "hash": node.hash.hex()}
    if node.digest is not None:
        result["digest"] = str(node.digest)
    else:
        result["children"] = [as_dict(child) for child in node.children]
    return result


@pytest.mark.parametrize("case", CASES["files"], ids=lambda case: str(case["length"]))
def test_files(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(vector_cases.pattern(case["length"]))
    for algorithm, digest in zip(vector_cases.ALGORITHMS, case["digests"], strict=True):
        assert str(digest_file(path, algorithm)) == digest
        assert str(content_node(path, algorithm=algorithm).digest) == digest
    assert as_dict(content_node(path, label="file.bin")) == case["node"]


@pytest.mark.parametrize("case", CASES["folders"], ids=lambda case: case["name"])
def test_folders(case: dict[str, Any], tmp_path: Path) -> None:
    for entry in case["entries"]:
        path = tmp_path.joinpath(*entry["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if "folder" in entry:
            path.mkdir()
        elif "link" in entry:
            path.symlink_to(entry["link"])
        else:
            path.write_bytes(bytes.fromhex(entry["file"]))
    assert as_dict(content_node(tmp_path, label="folder", symlinks="record")) == case["node"]


@pytest.mark.parametrize("case", CASES["json"], ids=lambda case: case["canonical"])
def test_json(case: dict[str, Any]) -> None:
    value = case["value"]
    assert canonical_bytes(value).decode() == case["canonical"]
    if not isinstance(value, str):
        assert as_dict(content_node(value, label="value")) == case["node"]


def numpy_array(case: dict[str, Any]) -> Any:
    name, data = case["dtype"], bytes.fromhex(case["elements"])
    if name.startswith(("bfloat16", "float8")):
        return None
    fixed = {"bytes": "S", "str": "<U", "void": "V"}
    word, _, rest = name.partition("[")
    if name.startswith("["):
        dtype = np.dtype([("x", "<f4"), ("y", "<i2", (2,))])
    else:
        dtype = np.dtype(fixed[word] + rest.rstrip("]") if word in fixed else name)
    return np.frombuffer(data, dtype).reshape(case["shape"])


@pytest.mark.parametrize("case", CASES["arrays"], ids=lambda case: f"{case['dtype']}{case['shape']}")
def test_arrays(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    array = numpy_array(case)
    if array is not None:
        assert as_dict(content_node(array, label="array")) == case["node"]
    if array is None or array.dtype.kind in "biufc":
        data = bytearray.fromhex(case["elements"])
        dtype = getattr(torch, case["dtype"])
        tensor = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        assert as_dict(content_node(tensor.reshape(case["shape"]), label="array")) == case["node"]


def build(content: dict[str, Any]) -> Any:
    ((word, value),) = content.items()
    match word:
        case "bytes":
            return bytes.fromhex(value)
        case "int64":
            return np.array(value, np.int64)
        case "json":
            return value
        case "mapping":
            return {name: build(part) for name, part in value.items()}
        case _:
            return tuple(map(build, value))


@pytest.mark.parametrize("case", CASES["structures"], ids=lambda case: next(iter(case["content"])))
def test_structures(case: dict[str, Any]) -> None:
    assert as_dict(content_node(build(case["content"]))) == case["node"]


class Samples:
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        return np.array([index]), index


@pytest.mark.parametrize("case", CASES["datasets"], ids=lambda case: str(len(case["samples"])))
def test_datasets(case: dict[str, Any]) -> None:
    samples = Samples(len(case["samples"]))
    assert as_dict(content_node(samples, label="data")) == case["node"]
    if samples.size:
        assert as_dict(content_node([samples[i] for i in range(samples.size)], label="data")) == case["node"]


@pytest.mark.parametrize("case", CASES["weights"])
def test_weights(case: dict[str, Any], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes.fromhex(case["safetensors"]))
    state = {
        name: torch.frombuffer(bytearray.fromhex(data), dtype=getattr(torch, dtype)).reshape(shape)
        for name, dtype, shape, data in case["tensors"]
    }
    for model in (path, state):
        content = model_nodes(model)
        assert as_dict(content.weights) == case["weights"]
        assert as_dict(content.architecture) == case["architecture"]
