# SPDX-License-Identifier: MIT
"""PyTorch tensors: the leaf of the NumPy array with the same elements, whatever their layout in memory."""

from __future__ import annotations

import warnings
from typing import Any

import digest_oracle as oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mrv_core.digests import content_node, tensors
from mrv_core.errors import FormatError, UnsupportedTypeError

torch = pytest.importorskip("torch")

SHARED = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
UNSIGNED = ["uint16", "uint32", "uint64"]
NARROW = ["bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]


def tensor_oracle(tensor: Any) -> str:
    """Elements one by one in C order, as torch itself copies them out."""
    raw = b"".join(
        bytes(tensor[index].reshape(1).contiguous().view(torch.uint8).tolist()) for index in np.ndindex(*tensor.shape)
    )
    message = oracle.array_message(str(tensor.dtype).removeprefix("torch."), tensor.shape, raw)
    return str(oracle.leaf("x", "array", message)["hash"])


@pytest.mark.parametrize("name", SHARED + UNSIGNED)
@given(data=st.data())
def test_equal_to_numpy(name: str, data: st.DataObject) -> None:
    array = data.draw(npst.arrays(name, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    tensor = torch.from_numpy(np.array(array))
    order = data.draw(st.permutations(range(array.ndim)))
    assert content_node(tensor) == content_node(array)
    assert content_node(tensor.permute(order)) == content_node(array.transpose(order))


@pytest.mark.parametrize("name", NARROW)
def test_narrow_floats(name: str) -> None:
    tensor = torch.linspace(0.25, 4, 24).to(getattr(torch, name)).reshape(2, 3, 4)
    for view in (
        tensor,
        tensor.permute(2, 0, 1),
        tensor[:, ::2],
        tensor[0, 0, 0],
        tensor[:0],
        tensor.expand(2, 2, 3, 4),
    ):
        assert content_node(view, label="x").hash.hex() == tensor_oracle(view)


def test_a_tensor_is_its_elements_not_its_storage() -> None:
    base = torch.arange(24.0).reshape(4, 6)
    column = base[:, 1]
    assert content_node(column) == content_node(column.clone())
    assert content_node(base.requires_grad_()) == content_node(base.detach())
    assert content_node(torch.nn.Parameter(base)) == content_node(base.detach().numpy())


def test_lazy_conjugate_and_negative_are_resolved() -> None:
    tensor = torch.tensor([1 + 2j, 3 - 4j])
    array = tensor.numpy()
    assert tensor.conj().is_conj()
    assert content_node(tensor.conj()) == content_node(array.conj())
    assert tensor.conj().imag.is_neg()
    assert content_node(tensor.conj().imag) == content_node(array.conj().imag)
    assert content_node(tensor.imag) == content_node(array.imag)


def test_device_blocks_are_the_elements_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "BLOCK", 64)
    for tensor in (torch.arange(3000).reshape(10, 3, 100).permute(2, 0, 1), torch.arange(5), torch.tensor(3)):
        parts = list(tensors._host_blocks(tensor))
        assert np.concatenate([part.reshape(-1) for part in parts]).tolist() == tensor.reshape(-1).tolist()
        assert all(part.nbytes <= 64 for part in parts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_tensors() -> None:
    tensor = torch.arange(10_000_000, dtype=torch.float32).reshape(1000, 10_000)
    assert content_node(tensor.cuda()) == content_node(tensor)
    assert content_node(tensor.cuda().T) == content_node(tensor.T)


def refused() -> list[tuple[Any, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            (torch.zeros(2, 2).to_sparse(), "sparse"),
            (torch.zeros(2, 2).to_sparse_csr(), "sparse"),
            (torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8), "quantised"),
            (torch.zeros(2, device="meta"), "meta"),
            (torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "nested"),
            (torch.nn.parameter.UninitializedParameter(), "uninitialised"),
        ]


@pytest.mark.parametrize(("tensor", "word"), refused(), ids=lambda value: value if isinstance(value, str) else "")
def test_tensors_without_plain_elements_are_refused(tensor: Any, word: str) -> None:
    with pytest.raises(FormatError, match=word) as caught:
        content_node({"w": tensor}, label="state")
    assert caught.value.message.startswith("state/w: ")
    assert caught.value.hint


class Tagged(torch.Tensor):  # type: ignore[misc]
    """A tensor that could carry more than its elements."""


def test_subclasses_are_refused() -> None:
    with pytest.raises(UnsupportedTypeError, match="Tagged"):
        content_node(torch.zeros(3).as_subclass(Tagged))
