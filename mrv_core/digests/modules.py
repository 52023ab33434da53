# SPDX-License-Identifier: MIT
"""PyTorch modules: what they are made of, and their state dict."""

from __future__ import annotations

import torch

from mrv_core.canonical import JsonValue
from mrv_core.digests.context import DigestContext, qualified_name
from mrv_core.digests.values import state_node
from mrv_core.errors import FormatError
from mrv_core.provenance_tree import MerkleNode


def module_model(module: torch.nn.Module, context: DigestContext) -> tuple[JsonValue, MerkleNode]:
    """Return the architecture of a module and the branch of its state dict: parameters and persistent buffers."""
    return architecture(module, context.where), state_node(module.state_dict(), context)


def module_node(module: torch.nn.Module, context: DigestContext) -> MerkleNode:
    """Return a branch of the module's `architecture` and `weights`."""
    described, weights = module_model(module, context.part("weights"))
    return MerkleNode.branch(context.label, [MerkleNode.json("architecture", described, context.algorithm), weights])


def architecture(module: torch.nn.Module, where: str) -> JsonValue:
    """Describe a module in flat lists, each in the order in which the module holds its parts.

    `modules`: path, class, what `extra_repr` says. `parameters`: path, dtype, shape. `buffers`: the same, and whether
    the state dict has it. `tied`: groups of paths that are one parameter.
    """
    parameters = list(module.named_parameters(remove_duplicate=False))
    for name, parameter in parameters:
        if torch.nn.parameter.is_lazy(parameter):
            raise FormatError(f"{where}: the parameter {name} is not initialised", hint="run one forward pass")
    state = module.state_dict(keep_vars=True)
    return {
        "modules": [
            [name, qualified_name(type(part)), part.extra_repr()]
            for name, part in module.named_modules(remove_duplicate=False)
        ],
        "parameters": [_described(name, parameter) for name, parameter in parameters],
        "buffers": [
            [*_described(name, buffer), name in state] for name, buffer in module.named_buffers(remove_duplicate=False)
        ],
        "tied": _tied(parameters),
    }


def _described(name: str, tensor: torch.Tensor) -> list[JsonValue]:
    return [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]


def _tied(parameters: list[tuple[str, torch.nn.Parameter]]) -> list[JsonValue]:
    groups: dict[int, list[JsonValue]] = {}
    for name, parameter in parameters:
        groups.setdefault(id(parameter), []).append(name)
    return [names for names in groups.values() if len(names) > 1]
