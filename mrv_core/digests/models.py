# SPDX-License-Identifier: MIT
"""The front door for models: what a model is made of, and its weights, as two nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

from mrv_core.canonical import JsonValue
from mrv_core.digests.content import is_url, text_node, top_context
from mrv_core.digests.context import DigestContext, is_registered, loaded_type, qualified_name, unsupported
from mrv_core.digests.safetensors import safetensors_model
from mrv_core.digests.values import state_node
from mrv_core.hashing import HashFactory
from mrv_core.provenance_tree import MerkleNode

_Model: TypeAlias = "tuple[JsonValue, MerkleNode]"

_LIBRARIES: Final = {
    "torch.nn.Module": "modules:module_model",
    "sklearn.base.BaseEstimator": "estimators:estimator_model",
}


@dataclass(frozen=True, slots=True)
class ModelContent:
    """What a run commits to about a model.

    Attributes:
        architecture: A JSON leaf: classes, names, shapes, dtypes; the value is kept.
        weights: A branch with one leaf a tensor; a leaf for a file whose format is not known here.
    """

    architecture: MerkleNode
    weights: MerkleNode


def model_nodes(model: Any, *, algorithm: str = HashFactory.DEFAULT, progress: bool | None = None) -> ModelContent:
    """Return the nodes `architecture` and `weights` of a model (docs/spec/digests.md).

    The same weights give the same node, whether they come as a module, a state dict of tensors or arrays, or a
    safetensors file. Other files are hashed as they are and never loaded.

    Args:
        model: A `torch.nn.Module`, a mapping of names to tensors or arrays, a fitted scikit-learn estimator, the
            `pathlib.Path` or URL of a model file or folder, or an object with a registered digester.
        algorithm: One of `HashFactory.algorithms()`.
        progress: False for no progress bar; otherwise one is shown on a terminal after a second.

    Raises:
        UnsupportedTypeError: no digester for the model or for something in it.
        FormatError: values that have no digest, or a damaged safetensors file.
        StorageError: missing or unreadable.
        ContentChangedError: it changed while it was read.
    """
    described, weights = _model(model, top_context(algorithm, "weights", progress))
    return ModelContent(MerkleNode.json("architecture", described, algorithm), weights)


def weights_node(
    model: Any, *, algorithm: str = HashFactory.DEFAULT, label: str = "weights", progress: bool | None = None
) -> MerkleNode:
    """Return the weights of a model alone: what changes from epoch to epoch. Arguments and errors as `model_nodes`."""
    return _model(model, top_context(algorithm, label, progress))[1]


def _model(model: Any, context: DigestContext) -> _Model:
    if isinstance(model, Path) and model.suffix.lower() == ".safetensors" and not model.is_dir():
        return safetensors_model(model, context)
    if isinstance(model, Path) or is_url(model):
        return _opaque_model(model, context)
    for name, target in _LIBRARIES.items():
        cls = loaded_type(name)
        if cls is not None and isinstance(model, cls):
            module, _, function = target.partition(":")
            build: Callable[[Any, DigestContext], _Model] = getattr(
                import_module(f"mrv_core.digests.{module}"), function
            )
            return build(model, context)
    if isinstance(model, Mapping):
        return _state_model(model, context)
    if is_registered(type(model)):
        return {"class": qualified_name(type(model))}, context.build(model)
    hint = "pass a mapping of names to arrays, the file it was saved to, or call register_digester for its type"
    raise unsupported(type(model), context.where, hint)


def _opaque_model(model: Path | str, context: DigestContext) -> _Model:
    """A file whose format is not known here: its bytes are the weights, and nothing is said about what is in it."""
    node = text_node(model, context) if isinstance(model, str) else context.build(model)
    return {"opaque": "folder" if node.kind == "branch" else "file"}, node


def _state_model(state: Mapping[Any, Any], context: DigestContext) -> _Model:
    weights = state_node(state, context)
    tensors: list[JsonValue] = []
    other: list[JsonValue] = []
    for name in sorted(state):
        dtype = _element_type(state[name], f"{context.where}/{name}")
        if dtype is None:
            other.append(name)
        else:
            tensors.append([name, dtype, list(state[name].shape)])
    return {"tensors": tensors, "other": other}, weights


def _element_type(value: Any, where: str) -> str | None:
    """Return the dtype name of a tensor or array, None for anything else."""
    names = {qualified_name(cls) for cls in type(value).__mro__}
    if "torch.Tensor" in names:
        from mrv_core.digests.tensors import tensor_dtype

        return tensor_dtype(value, where)
    if names & {"numpy.ndarray", "numpy.generic"}:
        from mrv_core.digests.arrays import dtype_name

        return dtype_name(value.dtype, where)
    return None
