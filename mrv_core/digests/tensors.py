# SPDX-License-Identifier: MIT
"""PyTorch tensors: the same leaf as a NumPy array with the same dtype, shape and elements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch

from mrv_core.digests.arrays import BLOCK, Array, elements_node
from mrv_core.digests.context import DigestContext, unsupported
from mrv_core.errors import FormatError
from mrv_core.provenance_tree import MerkleNode

_PLAIN: Final = (torch.Tensor, torch.nn.Parameter, getattr(torch.nn, "Buffer", torch.Tensor))
_SAME_WIDTH: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_DTYPES: Final = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex32 complex64 "
    "complex128 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu".split()
)


def tensor_node(tensor: Any, context: DigestContext) -> MerkleNode:
    """Return the leaf of a tensor. A tensor on another device is copied to memory block by block.

    Raises:
        UnsupportedTypeError: a subclass that may carry more than its elements.
        FormatError: a tensor whose elements do not lie in memory as they are: sparse, quantised, meta, ...
    """
    if torch.nn.parameter.is_lazy(tensor):
        raise FormatError(f"{context.where}: an uninitialised parameter has no values", hint="run one forward pass")
    if type(tensor) not in _PLAIN:
        raise unsupported(type(tensor), context.where, "pass tensor.as_subclass(torch.Tensor) for its elements alone")
    dtype = tensor_dtype(tensor, context.where)
    raw = _as_integers(tensor.detach())
    parts = [raw.numpy()] if raw.device.type == "cpu" else _host_blocks(raw)
    return elements_node(dtype, tuple(tensor.shape), parts, context)


def tensor_dtype(tensor: Any, where: str) -> str:
    """Return the name of a tensor's dtype in array headers.

    Raises:
        FormatError: the elements do not lie in memory as they are.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_nested:
        raise FormatError(f"{where}: a nested tensor", hint="pass its unbind() as a tuple")
    if tensor.layout != torch.strided:
        raise FormatError(f"{where}: a tensor of layout {tensor.layout}", hint="pass its to_dense()")
    if tensor.is_quantized:
        raise FormatError(f"{where}: a quantised tensor", hint="pass its int_repr(), q_scale() and q_zero_point()")
    if tensor.is_meta:
        raise FormatError(f"{where}: a meta tensor has a shape but no values", hint="load the weights first")
    if name not in _DTYPES:
        raise FormatError(f"{where}: tensors of dtype {name} are not supported", hint="convert it with to(dtype)")
    return name


def _as_integers(tensor: Any) -> Any:
    """Return a view of the same memory as integers of the same width, which NumPy can share whatever the dtype."""
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(_SAME_WIDTH[tensor.element_size()])


def _host_blocks(tensor: Any) -> Iterator[Array]:
    """Yield the elements in C order, copied from the device in blocks."""
    if tensor.nbytes <= BLOCK:
        yield tensor.cpu().numpy()
        return
    row = tensor.nbytes // len(tensor)
    if row > BLOCK:
        for part in tensor:
            yield from _host_blocks(part)
        return
    for part in tensor.split(BLOCK // row):
        yield part.cpu().numpy()
