# SPDX-License-Identifier: MIT
"""From a Python object to the function that hashes it.

Types are recognised by the names of their classes and base classes, so that hashing a NumPy array never imports
torch, and looking at a torch tensor never imports pandas.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias
from weakref import WeakKeyDictionary

from mrv_core.errors import ConfigurationError, FormatError, UnsupportedTypeError
from mrv_core.hashing import Digest
from mrv_core.progress import Progress
from mrv_core.provenance_tree import MerkleNode

SymlinkPolicy: TypeAlias = Literal["refuse", "record"]

MAX_NESTING: Final = 64
"""Deepest nesting of mappings, tuples and objects; folders nest on their own account."""


@dataclass(frozen=True, slots=True)
class DigestContext:
    """What a digester is told about the node it has to build.

    Attributes:
        algorithm: Hash algorithm of the content digests.
        label: Label of the node.
        where: Path of the content from the outermost object, for error messages.
        progress: Shows bars.
        symlinks: What to do about a symbolic link inside a folder.
        parents: Identities of the objects around this one, to notice an object that contains itself.
    """

    algorithm: str
    label: str
    where: str
    progress: Progress
    symlinks: SymlinkPolicy
    parents: tuple[int, ...] = ()

    def node(self, content: Any, label: str) -> MerkleNode:
        """Return the node of something inside the content, under a label.

        Raises:
            UnsupportedTypeError: no digester knows its type.
            FormatError: it contains itself, or is nested too deep.
        """
        return self.inside(content, label, f"{self.where}/{label}" if self.where else label).build(content)

    def build(self, content: Any) -> MerkleNode:
        """Return the node of the content this context is for."""
        node = find_digester(type(content), self.where)(content, self)
        return node if node.label == self.label else node.relabel(self.label)

    def inside(self, content: Any, label: str, where: str) -> DigestContext:
        """Return the context for something inside the content.

        Raises:
            FormatError: it contains itself, or is nested too deep.
        """
        if id(content) in self.parents:
            raise FormatError(f"{where}: the content contains itself")
        if len(self.parents) >= MAX_NESTING:
            raise FormatError(f"{where}: the content is nested deeper than {MAX_NESTING} levels")
        parents = (*self.parents, id(content))
        return DigestContext(self.algorithm, label, where, self.progress, self.symlinks, parents)

    def part(self, label: str) -> DigestContext:
        """Return the context for a part of the same object under a label of its own."""
        return replace(self, label=label, where=f"{self.where}/{label}")

    def leaf(self, kind: str, digest: Digest) -> MerkleNode:
        """Return a leaf with this context's label."""
        return MerkleNode.leaf(self.label, kind, digest)

    def quiet(self) -> DigestContext:
        """Return the same context without progress bars, for parts of work that already has one."""
        return replace(self, progress=Progress(False))


Digester: TypeAlias = Callable[[Any, DigestContext], MerkleNode]

_BUILT_IN: Final[dict[str, str]] = {
    "builtins.NoneType": "values:json_node",
    "builtins.bool": "values:json_node",
    "builtins.int": "values:json_node",
    "builtins.float": "values:json_node",
    "builtins.str": "values:json_node",
    "builtins.list": "values:list_node",
    "builtins.tuple": "values:tuple_node",
    "builtins.dict": "values:mapping_node",
    "collections.abc.Mapping": "values:mapping_node",
    "types.MappingProxyType": "values:mapping_node",
    "builtins.bytes": "values:bytes_node",
    "builtins.bytearray": "values:bytes_node",
    "builtins.memoryview": "values:bytes_node",
    "pathlib.Path": "files:path_node",
    "numpy.ndarray": "arrays:array_node",
    "numpy.generic": "arrays:scalar_node",
    "scipy.sparse.sparray": "sparse:sparse_node",
    "scipy.sparse.spmatrix": "sparse:sparse_node",
    "torch.Tensor": "tensors:tensor_node",
    "torch.nn.Module": "modules:module_node",
    "torch.utils.data.Dataset": "values:dataset_node",
    "sklearn.base.BaseEstimator": "estimators:estimator_node",
    "pyarrow.Table": "tables:table_node",
    "pyarrow.RecordBatch": "tables:batch_node",
    "pyarrow.ChunkedArray": "tables:column_node",
    "pyarrow.Array": "tables:array_node",
    "pandas.DataFrame": "tables:pandas_frame_node",
    "pandas.Series": "tables:pandas_series_node",
    "polars.DataFrame": "tables:polars_frame_node",
    "polars.Series": "tables:polars_series_node",
}
"""Public name of a type: module of this package and function."""

_registered: Final[dict[str | type, Digester]] = {}
_found: Final[WeakKeyDictionary[type, Digester]] = WeakKeyDictionary()


def register_digester(type_or_name: type | str, digester: Digester) -> None:
    """Teach the digests a new type. Subclasses of it are included, unless they have a digester of their own.

    A digester is `function(content, context) -> MerkleNode`. It usually says what the content consists of and leaves
    the hashing to the digesters that exist:

        register_digester("PIL.Image.Image", lambda image, context: context.node(numpy.asarray(image), context.label))

    Whoever verifies needs the same digester; the commitment says what was hashed, not by which function.

    Args:
        type_or_name: The type, or its dotted name, so that the library need not be imported.
        digester: The function. Registering a type again replaces it.

    Raises:
        ConfigurationError: the type has a digester of this project, whose meaning must not change.
    """
    name = type_or_name if isinstance(type_or_name, str) else qualified_name(type_or_name)
    built_in = {cls for known in _BUILT_IN if (cls := loaded_type(known)) is not None}
    if name in _BUILT_IN or type_or_name in built_in or loaded_type(name) in built_in:
        raise ConfigurationError(f"{name} has a digester already", hint="register a subclass of it instead")
    _registered[type_or_name] = digester
    _found.clear()


def find_digester(cls: type, where: str) -> Digester:
    """Return the function that hashes objects of a class.

    Raises:
        UnsupportedTypeError: there is none; the message names the class.
        ConfigurationError: there is one, but a library that it needs is not installed.
    """
    digester = _found.get(cls)
    if digester is None:
        digester = _found[cls] = _search(cls, where)
    return digester


def is_registered(cls: type) -> bool:
    """Whether a user registered a digester for a class or one of its bases."""
    return any(base in _registered or qualified_name(base) in _registered for base in cls.__mro__)


def qualified_name(cls: type) -> str:
    """Return module and qualified name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def unsupported(cls: type, where: str, hint: str | None = None) -> UnsupportedTypeError:
    """Build the error for a type that cannot be hashed."""
    name = qualified_name(cls)
    register = f'mrv_core.digests.register_digester("{name}", function)'
    return UnsupportedTypeError(
        f"{where}: no digester for {name}",
        hint=hint or f"convert it to arrays, tables, files or JSON values, or call {register}",
    )


def _search(cls: type, where: str) -> Digester:
    known: dict[type | str, Digester | str] = {}
    known.update(_BUILT_IN)
    known.update(_registered)
    known.update([(found, value) for name, value in known.items() if (found := loaded_type(name)) is not None])
    for base in cls.__mro__:
        value = known.get(base) or known.get(qualified_name(base))
        if value is not None:
            return _load(value, base, where) if isinstance(value, str) else value
    if _is_map_style(cls):
        return _load("values:dataset_node", cls, where)
    raise unsupported(cls, where)


def loaded_type(name: type | str) -> type | None:
    """Return the class with a public name if its module is imported; libraries define many classes elsewhere."""
    if isinstance(name, type):
        return name
    module, _, attribute = name.rpartition(".")
    # `__dict__`, because asking a module for an attribute may import things.
    found = getattr(sys.modules.get(module), "__dict__", {}).get(attribute)
    return found if isinstance(found, type) else None


def _is_map_style(cls: type) -> bool:
    return all(hasattr(cls, name) for name in ("__len__", "__getitem__")) and not hasattr(cls, "keys")


def _load(target: str, cls: type, where: str) -> Digester:
    module, _, function = target.partition(":")
    try:
        found: Digester = getattr(importlib.import_module(f"mrv_core.digests.{module}"), function)
    except ImportError as error:
        library = error.name or str(error)
        raise ConfigurationError(
            f"{where}: hashing {qualified_name(cls)} needs {library}, which is not installed",
            hint=f"pip install {library}",
        ) from error
    return found
