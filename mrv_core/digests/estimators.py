# SPDX-License-Identifier: MIT
"""Scikit-learn estimators: parameters as JSON, everything that fitting left behind as nodes; nothing is pickled.

What a fitted estimator consists of is asked of the objects themselves (`__getstate__`, `__reduce_ex__`), and only of
classes of scikit-learn, NumPy and SciPy. An object of any other class needs a digester, or is refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import PurePath
from types import ModuleType
from typing import Any, Final, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator

from mrv_core.canonical import MAX_SAFE_INTEGER, JsonValue, canonical_bytes
from mrv_core.digests.arrays import Array
from mrv_core.digests.context import DigestContext, find_digester, is_registered, qualified_name, unsupported
from mrv_core.digests.values import dataset_node, json_node
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest
from mrv_core.provenance_tree import MerkleNode

_Named: TypeAlias = Iterable[tuple[str, Any]]
_Describe: TypeAlias = Callable[[Any, DigestContext], JsonValue]

_WALKED_MODULES: Final = ("sklearn.", "scipy.interpolate.")
_NOT_CONTENT: Final = {
    "_sklearn_version": "sklearn.base.BaseEstimator",
    "_n_threads": "sklearn.cluster._kmeans._BaseKMeans",
    "n_threads": "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "_cached_dict": "sklearn.preprocessing._label.MultiLabelBinarizer",
    "_stop_words_id": "sklearn.feature_extraction.text._VectorizerMixin",
}
"""Attributes, with the class that sets them, that depend on the machine or change when the estimator is used."""
_RESERVED_KEYS: Final = frozenset({"class", "type"})
"""Keys that mark the JSON objects that this module makes up; a mapping that has one of them becomes a list of items."""
_CLUSTER_TREE: Final = "sklearn.cluster._birch._CFNode"
_MEMORY: Final = "joblib.memory.Memory"
_DISTRIBUTION: Final = "scipy.stats._distn_infrastructure.rv_frozen"
_NEIGHBOUR_TREES: Final = ("sklearn.neighbors._ball_tree", "sklearn.neighbors._kd_tree")
_NEIGHBOUR_STATE: Final = (
    "data idx_array node_data node_bounds leaf_size n_levels n_nodes n_trims n_leaves n_splits n_calls "
    "dist_metric sample_weight"
).split()
_ABSENT: Final = object()
_QUERY_COUNTERS: Final = frozenset({"n_trims", "n_leaves", "n_splits", "n_calls"})


class _NotPlainError(Exception):
    """A value that JSON alone cannot carry."""


def estimator_model(estimator: Any, context: DigestContext) -> tuple[JsonValue, MerkleNode]:
    """Return the architecture of an estimator and the branch of what it has learnt."""
    return architecture_value(estimator, context), fitted_node(estimator, context)


def estimator_node(estimator: Any, context: DigestContext) -> MerkleNode:
    """Return a branch of the estimator's `architecture` and `weights`."""
    described, weights = estimator_model(estimator, context.part("weights"))
    return MerkleNode.branch(context.label, [MerkleNode.json("architecture", described, context.algorithm), weights])


def architecture_value(estimator: Any, context: DigestContext) -> JsonValue:
    """Describe an estimator by its class and its parameters, nested ones included.

    Raises:
        UnsupportedTypeError: a parameter that cannot be described; the message names it.
        FormatError: `get_params` fails.
    """
    context = _entered(estimator, context)
    described: dict[str, JsonValue] = {}
    for name, value in sorted(_parameters(estimator, context.where).items()):
        inner = replace(context, where=f"{context.where}: parameter {name}")
        described[name] = _to_json(value, inner, _describe_other)
    return {"class": qualified_name(type(estimator)), "params": described}


def fitted_node(estimator: Any, context: DigestContext) -> MerkleNode:
    """Return a branch of the attributes that are not parameters, sorted by name, each with its whole content.

    Estimators among the parameters, such as the steps of a pipeline, are there with what they have learnt, if anything.
    Before fitting there is only what the constructor sets by itself, for most classes nothing.

    Raises:
        UnsupportedTypeError: an attribute of a class that is not known; the message has its path.
        FormatError: content that has no digest.
    """
    context = _entered(estimator, context)
    parameters = _parameters(estimator, context.where)
    children: dict[str, MerkleNode | None] = {name: _learnt(value, name, context) for name, value in parameters.items()}
    state = _state(estimator, context.where)
    learnt = ((name, value) for name, value in state if parameters.get(name, _ABSENT) is not value)
    with context.progress.task(f"hashing {context.where}"):
        children.update((name, _child(value, name, context)) for name, value in learnt)
    return MerkleNode.branch(context.label, [node for _, node in sorted(children.items()) if node is not None])


def _entered(estimator: Any, context: DigestContext) -> DigestContext:
    """Note the outermost estimator, too, among the objects around what follows."""
    if context.parents[-1:] == (id(estimator),):
        return context
    return replace(context, parents=(*context.parents, id(estimator)))


def _parameters(estimator: Any, where: str) -> dict[str, Any]:
    try:
        parameters: dict[str, Any] = estimator.get_params(deep=False)
    except Exception as error:  # an estimator of someone else may raise anything
        raise _unreadable(estimator, "get_params", where, error) from error
    return dict(_content_only(estimator, parameters.items()))


def _state(estimator: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that scikit-learn keeps when it saves an estimator; the rest it makes anew of them."""
    owner = next(cls for cls in type(estimator).__mro__ if "__getstate__" in vars(cls))
    keeper: Any = owner if _is_walked(owner) else object
    try:
        return _content_only(estimator, _attributes(keeper.__getstate__(estimator)))
    except Exception as error:
        raise _unreadable(estimator, "the state", where, error) from error


def _content_only(estimator: Any, attributes: _Named) -> Iterator[tuple[str, Any]]:
    bases = {qualified_name(cls) for cls in type(estimator).__mro__}
    return ((name, value) for name, value in attributes if _NOT_CONTENT.get(name) not in bases)


def _unreadable(estimator: Any, part: str, where: str, error: Exception) -> FormatError:
    name = qualified_name(type(estimator))
    return FormatError(f"{where}: {part} of {name} cannot be read: {type(error).__name__}: {error}")


def _attributes(state: Any) -> Iterator[tuple[str, Any]]:
    """Yield what `object.__getstate__` returns: a dictionary, or one and the values of `__slots__`."""
    for part in state if isinstance(state, tuple) else (state,):
        yield from (part or {}).items()


def _learnt(value: Any, label: str, context: DigestContext) -> MerkleNode | None:
    """Return what the estimators inside a parameter have learnt, or None."""
    if is_registered(type(value)):
        return None  # its digest is in the architecture
    if isinstance(value, BaseEstimator):
        weights = fitted_node(value, _below(value, label, context))
        return weights if weights.children else None
    if not isinstance(value, Mapping | list | tuple) or id(value) in context.parents:
        return None
    inner = _below(value, label, context)
    parts = value.items() if isinstance(value, Mapping) else map(_named_part, count(), value)
    nodes = [node for name, part in parts if (node := _learnt(part, str(name), inner)) is not None]
    return MerkleNode.branch(label, nodes) if nodes else None


def _named_part(index: int, part: Any) -> tuple[str, Any]:
    """Label a part of a list by its index; a step, which is a pair of name and estimator, by its name."""
    match part:
        case (str(name), BaseEstimator() as estimator):
            return name, estimator
    return str(index), part


def _below(value: Any, label: str, context: DigestContext) -> DigestContext:
    return context.inside(value, label, f"{context.where}/{label}")


def _child(value: Any, label: str, context: DigestContext) -> MerkleNode:
    try:
        plain = _to_json(value, context, _refuse)
    except _NotPlainError:
        if id(value) not in context.parents:
            return _content(value, _below(value, label, context))
        plain = _reference(value, context)
    return json_node(plain, context.part(label))


def _refuse(value: Any, context: DigestContext) -> JsonValue:
    raise _NotPlainError


def _reference(value: Any, context: DigestContext) -> JsonValue:
    """Say how many levels above the place of a reference the object is that it leads back to."""
    return {"type": "above", "value": len(context.parents) - context.parents.index(id(value))}


def _content(value: Any, context: DigestContext) -> MerkleNode:
    """Return the node of something that is more than a plain value."""
    if is_registered(type(value)):
        return context.build(value)
    match value:
        case BaseEstimator():
            return estimator_node(value, context)
        case np.ma.MaskedArray():
            return _masked_node(value, context)
        case np.ndarray() if value.dtype == object:
            return _sequence_node(_objects(value), context)
        case Mapping():
            return _mapping_node(value, context)
        case list() | tuple():
            return _sequence_node(value, context)
        case np.random.RandomState():
            return _branch(value, value.get_state(legacy=False).items(), context)
        case np.random.Generator():
            return _branch(value, value.bit_generator.state.items(), context)
    return _object_node(value, context) if _is_walked(type(value)) else _other_node(value, context)


def _other_node(value: Any, context: DigestContext) -> MerkleNode:
    """Return the node of an array, tensor or table: what has a digester and is not merely taken for a dataset."""
    digester = find_digester(type(value), context.where)
    if digester is dataset_node:
        raise unsupported(type(value), context.where)
    return digester(value, context)


def _masked_node(array: Any, context: DigestContext) -> MerkleNode:
    """Return a branch of mask and elements. What lies behind the mask is whatever was in memory, so it becomes zero."""
    mask = np.ma.getmaskarray(array)
    data: Array = np.array(array.data)
    data[mask] = np.zeros((), data.dtype)
    return _branch(array, {"data": data, "mask": mask}.items(), context)


def _objects(array: Array) -> list[Any]:
    """Return the elements of an object array in nested lists, those of a 0-dimensional one in a list as well."""
    elements: list[Any] = np.atleast_1d(array).tolist()
    return elements


def _sequence_node(values: Sequence[Any], context: DigestContext) -> MerkleNode:
    return MerkleNode.branch(context.label, [_child(value, str(index), context) for index, value in enumerate(values)])


def _mapping_node(mapping: Mapping[Any, Any], context: DigestContext) -> MerkleNode:
    """Return a branch of the items, sorted by key; of `keys` and `values` if the keys are not text."""
    if all(isinstance(key, str) for key in mapping):
        return MerkleNode.branch(context.label, [_child(mapping[key], key, context) for key in sorted(mapping)])
    keys = _sorted_json((_to_json(key, context, _unsupported_key), key) for key in mapping)
    names = MerkleNode.json("keys", [key for key, _ in keys], context.algorithm)
    return MerkleNode.branch(context.label, [names, _child([mapping[key] for _, key in keys], "values", context)])


def _unsupported_key(key: Any, context: DigestContext) -> JsonValue:
    raise unsupported(type(key), f"{context.where}: a key", "use text or numbers as keys")


def _object_node(value: Any, context: DigestContext) -> MerkleNode:
    return _branch(value, _parts(value, context.where), context)


def _branch(value: Any, parts: _Named, context: DigestContext) -> MerkleNode:
    """Return a branch of the class of an object and its parts, sorted by name."""
    name = MerkleNode.json("class", qualified_name(type(value)), context.algorithm)
    children = [_child(part, label, context) for label, part in sorted(parts, key=lambda item: item[0])]
    return MerkleNode.branch(context.label, [name, *children])


def _is_walked(cls: type) -> bool:
    return cls.__module__.startswith(_WALKED_MODULES)


def _parts(value: Any, where: str) -> _Named:
    """Return what an object of scikit-learn or SciPy is made of: what it would hand to a pickler, and no pickler."""
    try:
        _, arguments, *rest = value.__reduce_ex__(2)
        return _named_parts(value, arguments, rest[0] if rest else None)
    except Exception as error:
        raise unsupported(type(value), where) from error


def _named_parts(value: Any, arguments: tuple[Any, ...], state: Any) -> list[tuple[str, Any]]:
    if qualified_name(type(value)) == _CLUSTER_TREE:
        return list(_cluster_parts(state))
    if type(value).__module__ in _NEIGHBOUR_TREES:
        return [item for item in zip(_NEIGHBOUR_STATE, state, strict=True) if item[0] not in _QUERY_COUNTERS]
    own = [("arguments", found)] if (found := [item for item in arguments if item is not type(value)]) else []
    if state is None or isinstance(state, Mapping) or _is_default_state(state):
        return [*own, *_attributes(state)]
    return [*own, ("state", state)]


def _is_default_state(state: Any) -> bool:
    return isinstance(state, tuple) and len(state) == 2 and all(isinstance(part, dict | None) for part in state)


def _cluster_parts(state: Any) -> _Named:
    """Return the parts of a node of a Birch tree, with the list that runs through the leaves at its head alone.

    Followed from each leaf, the list would be walked once a leaf and nested as deep as it is long.
    """
    yield from ((name, part) for name, part in state.items() if name not in ("prev_leaf_", "next_leaf_"))
    if state["prev_leaf_"] is None and state["next_leaf_"] is not None:
        yield "leaves", list(_followers(state["next_leaf_"]))


def _followers(leaf: Any) -> Iterator[Any]:
    while leaf is not None:
        yield leaf
        leaf = leaf.next_leaf_


def _describe_other(value: Any, context: DigestContext) -> JsonValue:
    """Describe a parameter that is more than a plain value."""
    if id(value) in context.parents:
        return _reference(value, context)
    inner = context.inside(value, "value", context.where)
    cls = qualified_name(type(value))
    if is_registered(type(value)):
        return _digest_of(value, inner)
    if isinstance(value, BaseEstimator):
        return architecture_value(value, inner)
    if cls == _MEMORY:
        return {"class": cls}  # where results are cached says nothing about the model
    if _is_walked(type(value)):
        parts = _parts(value, inner.where)
        return {"class": cls, "state": {name: _to_json(part, inner, _describe_part) for name, part in parts}}
    return _digest_of(value, inner)


def _describe_part(value: Any, context: DigestContext) -> JsonValue:
    """Describe what is inside an object, where `fitted_node` does not look for estimators."""
    if isinstance(value, BaseEstimator) and id(value) not in context.parents:
        return _digest_of(value, context.inside(value, "value", context.where))
    return _describe_other(value, context)


def _digest_of(value: Any, context: DigestContext) -> JsonValue:
    node = _content(value, context)
    return {"class": qualified_name(type(value)), "digest": str(Digest("sha256", node.hash))}


def _to_json(value: Any, context: DigestContext, other: _Describe) -> JsonValue:
    """Turn plain values into JSON that no other value turns into; hand everything else to `other`."""
    if isinstance(value, np.generic):
        value = _item(value, value.item())
    elif isinstance(value, np.ndarray) and value.dtype == object and not isinstance(value, np.ma.MaskedArray):
        value = _objects(value)
    match value:
        case None | bool():
            return value
        case str():
            return str.__str__(value)
        case int():
            number = int(value)
            return number if abs(number) <= MAX_SAFE_INTEGER else _tagged("int", str(number))
        case float():
            # JSON writes 1.0 as 1, and for `max_features` these mean all features and one feature.
            number_like = not np.isfinite(value) or float(value).is_integer()
            return _tagged("float", repr(float(value))) if number_like else float(value)
        case list() | tuple() | set() | frozenset() | Mapping():
            return _container_to_json(value, context, other)
    special = _special(value)
    if special is None:
        return other(value, context)
    kind, content = special
    return _tagged(kind, content if isinstance(content, str) else _to_json(content, context, _for_parts(other)))


def _for_parts(other: _Describe) -> _Describe:
    return _describe_part if other is _describe_other else other


def _item(scalar: Any, item: Any) -> Any:
    """Return the Python value of a NumPy scalar, or the scalar where there is none that is as exact."""
    return item if type(item) in (bool, int, float, str) else scalar


def _tagged(kind: str, value: JsonValue) -> JsonValue:
    return {"type": kind, "value": value}


def _container_to_json(value: Any, context: DigestContext, other: _Describe) -> JsonValue:
    if id(value) in context.parents:
        return other(value, context)
    inner = context.inside(value, "value", context.where)
    if isinstance(value, list | tuple):
        return [_to_json(item, inner, other) for item in value]
    if isinstance(value, set | frozenset):
        members = _sorted_json((_to_json(item, inner, _for_parts(other)), None) for item in value)
        return _tagged("set", [member for member, _ in members])
    if all(isinstance(key, str) for key in value) and _RESERVED_KEYS.isdisjoint(value):
        return {str.__str__(key): _to_json(item, inner, other) for key, item in value.items()}
    items = _sorted_json((_to_json(key, inner, _for_parts(other)), item) for key, item in value.items())
    return _tagged("dict", [[key, _to_json(item, inner, other)] for key, item in items])


def _sorted_json(pairs: Iterable[tuple[JsonValue, Any]]) -> Sequence[tuple[JsonValue, Any]]:
    return sorted(pairs, key=lambda pair: canonical_bytes(pair[0]))


def _special(value: Any) -> tuple[str, Any] | None:
    """Return kind and content of a value that stands for itself without being JSON, or None."""
    match value:
        case slice():
            return "slice", [value.start, value.stop, value.step]
        case range():
            return "range", [value.start, value.stop, value.step]
        case np.dtype() if value.names is None:
            return "dtype", value.str
        case PurePath():
            return "path", str(value)
        case partial():
            return "partial", [value.func, value.args, value.keywords]
    if _is_distribution(value):
        return "distribution", [type(value.dist), value.args, value.kwds]
    name = _name(value)
    return None if name is None else ("name", name)


def _is_distribution(value: Any) -> bool:
    """Whether it is a distribution of SciPy with fixed parameters; one made of data would have that data in itself."""
    if all(qualified_name(cls) != _DISTRIBUTION for cls in type(value).__mro__):
        return False
    return qualified_name(type(value.dist)).startswith("scipy.stats.") and type(value.dist).__name__.endswith("_gen")


def _name(value: Any) -> str | None:
    """Return module and name of a class or function, or None; a method also depends on the object it belongs to."""
    if not (isinstance(value, type | np.ufunc) or inspect.isroutine(value)):
        return None
    if not isinstance(getattr(value, "__self__", None), ModuleType | type | None):
        return None
    return f"{value.__module__}.{getattr(value, '__qualname__', value.__name__)}"
