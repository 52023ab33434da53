# SPDX-License-Identifier: MIT
"""Models: weights are the same node whatever holds them, architecture is a leaf of its own, no file is ever loaded."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import digest_oracle as oracle
import numpy as np
import pytest

from mrv_core.digests import content_node, model_nodes, weights_node
from mrv_core.digests.context import MAX_NESTING
from mrv_core.errors import FormatError, StorageError, UnsupportedTypeError

torch = pytest.importorskip("torch")
nn = torch.nn


class Net(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4)])
        self.last = nn.Linear(4, 3, bias=False)
        self.blocks[0].weight = nn.Parameter(torch.ones(4, 4, dtype=torch.bfloat16))
        self.again = self.blocks[0]
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


def test_the_same_weights_are_the_same_node(tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.torch")
    net = Net()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    save.save_file(state, tmp_path / "a.safetensors", metadata={"epoch": "1"})
    save.save_file(dict(reversed(state.items())), tmp_path / "b.SafeTensors")
    matrices = {name: value for name, value in state.items() if value.ndim == 2}
    strided = {name: value.T.contiguous().T for name, value in matrices.items()}
    models = [net, state, {**state, **strided}, tmp_path / "a.safetensors", tmp_path / "b.SafeTensors"]
    weights = {model_nodes(model).weights.hash for model in models} | {weights_node(model).hash for model in models}
    assert len(weights) == 1
    assert {child.label: child.kind for child in model_nodes(net).weights.children} == dict.fromkeys(state, "array")
    architectures = [model_nodes(model).architecture for model in models[1:]]
    assert all(architecture == architectures[0] for architecture in architectures)


def test_numpy_state_is_the_same_too(tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.numpy")
    state = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(0, np.int8), "n": np.array(3)}
    save.save_file(state, tmp_path / "m.safetensors")
    expected = model_nodes(tmp_path / "m.safetensors")
    assert model_nodes(state) == expected
    assert model_nodes({name: torch.from_numpy(value) for name, value in state.items()}) == expected
    assert model_nodes({name: value.astype(value.dtype.newbyteorder(">")) for name, value in state.items()}) == expected
    leaves = [oracle.array_leaf(name, state[name]) for name in sorted(state)]
    assert expected.weights.hash.hex() == oracle.branch("weights", leaves)["hash"]


def test_weights_change_with_every_part() -> None:
    state = {"a": np.zeros(3), "b": np.ones(3)}
    seen = {weights_node(state).hash}
    for other in (
        {"a": np.zeros(3)},
        {"a": np.zeros(3), "c": np.ones(3)},
        {"a": np.ones(3), "b": np.zeros(3)},
        {"a": np.zeros((3, 1)), "b": np.ones(3)},
        {"a": np.zeros(3, np.int64), "b": np.ones(3)},
        {"a": np.zeros(3), "b": np.ones(3), "extra": np.zeros(0)},
    ):
        seen.add(weights_node(other).hash)
    assert len(seen) == 7


def test_architecture_of_a_module() -> None:
    described = model_nodes(Net()).architecture.value
    assert isinstance(described, dict)
    linear = "torch.nn.modules.linear.Linear"
    assert described["modules"] == [
        ["", f"{__name__}.Net", ""],
        ["first", linear, "in_features=3, out_features=4, bias=True"],
        ["blocks", "torch.nn.modules.container.ModuleList", ""],
        ["blocks.0", linear, "in_features=4, out_features=4, bias=False"],
        ["blocks.1", "torch.nn.modules.batchnorm.BatchNorm1d", nn.BatchNorm1d(4).extra_repr()],
        ["last", linear, "in_features=4, out_features=3, bias=False"],
        ["again", linear, "in_features=4, out_features=4, bias=False"],
    ]
    assert ["blocks.0.weight", "bfloat16", [4, 4]] in described["parameters"]
    assert ["scratch", "float32", [2], False] in described["buffers"]
    assert ["blocks.1.running_mean", "float32", [4], True] in described["buffers"]
    assert described["tied"] == [["blocks.0.weight", "again.weight"]]


def test_architecture_and_weights_change_apart() -> None:
    torch.manual_seed(1)
    one, other = model_nodes(nn.Linear(3, 2)), model_nodes(nn.Linear(3, 2))
    assert one.architecture == other.architecture
    assert one.weights != other.weights
    relu, gelu = model_nodes(nn.Sequential(nn.ReLU())), model_nodes(nn.Sequential(nn.GELU()))
    assert relu.architecture != gelu.architecture
    assert relu.weights == gelu.weights
    with_dropout = [model_nodes(nn.Sequential(nn.Dropout(p))) for p in (0.1, 0.5)]
    assert with_dropout[0].architecture != with_dropout[1].architecture


def test_training_changes_weights_only() -> None:
    net = nn.Linear(3, 2)
    before = model_nodes(net)
    net(torch.ones(4, 3)).sum().backward()
    assert model_nodes(net) == before
    torch.optim.SGD(net.parameters(), 0.1).step()
    after = model_nodes(net)
    assert after.architecture == before.architecture
    assert after.weights != before.weights
    assert net.training


def test_a_deep_model_has_a_flat_description() -> None:
    net: Any = nn.Linear(1, 1)
    for _ in range(2 * MAX_NESTING):
        net = nn.Sequential(net)
    assert len(model_nodes(net).architecture.value["modules"]) == 2 * MAX_NESTING + 1  # type: ignore[index,call-overload,arg-type]


def test_modules_inside_content_are_branches() -> None:
    net = nn.Linear(2, 2)
    node = content_node({"net": net, "x": np.ones(1)}).child("net")
    content = model_nodes(net)
    assert node.children == (content.architecture, content.weights)


def test_uninitialised_and_meta_weights_are_refused() -> None:
    for model in (nn.LazyLinear(3), nn.Linear(2, 2, device="meta")):
        with pytest.raises(FormatError) as caught:
            model_nodes(model)
        assert caught.value.hint


def test_extra_state_is_a_leaf_or_an_error() -> None:
    class Counting(nn.Module):  # type: ignore[misc]
        def __init__(self, extra: Any) -> None:
            super().__init__()
            self.extra = extra

        def get_extra_state(self) -> Any:
            return self.extra

    assert weights_node(Counting({"seen": 3})).child("_extra_state").value == {"seen": 3}
    with pytest.raises(UnsupportedTypeError, match=r"weights/_extra_state: no digester for builtins\.set"):
        weights_node(Counting({1j}))


@pytest.mark.parametrize("model", [5, "model.pt", None, [1], np.zeros(3), object()])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises((UnsupportedTypeError, FormatError)) as caught:
        model_nodes(model)
    assert caught.value.hint


def test_state_with_other_keys_is_refused() -> None:
    with pytest.raises(FormatError, match="key of type int"):
        model_nodes({0: np.zeros(3)})


# --- files


class Canary:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "executed"))


def hostile_files(folder: Path, canary: Path) -> list[Path]:
    array = np.array([Canary(canary)], object)
    pickled = pickle.dumps(Canary(canary))
    for name in ("model.pkl", "model.joblib", "model.bin", "model.h5", "model.ckpt"):
        (folder / name).write_bytes(pickled)
    np.save(folder / "data.npy", array, allow_pickle=True)
    np.savez(folder / "data.npz", array, allow_pickle=True)
    torch.save({"w": torch.ones(2), "x": Canary(canary)}, folder / "model.pt")
    return sorted(folder.iterdir())


def test_pickles_are_hashed_and_never_loaded(tmp_path: Path) -> None:
    folder, canary = tmp_path / "files", tmp_path / "canary"
    folder.mkdir()
    seen: list[str] = []
    watching = True
    sys.addaudithook(lambda event, _: seen.append(event) if watching and event.startswith("pickle.") else None)
    files = hostile_files(folder, canary)
    seen.clear()
    for path in files:
        content = model_nodes(path)
        assert content.weights.hash.hex() == oracle.path_node("weights", path)["hash"]
        assert content.architecture.value == {"opaque": "file"}
        content_node(path)
    assert model_nodes(folder).architecture.value == {"opaque": "folder"}
    watching = False
    assert not seen
    assert not canary.exists()
    with pytest.raises(FormatError):
        content_node(np.array([Canary(canary)], object))
    pickle.loads((folder / "model.pkl").read_bytes())
    assert canary.exists(), "the canary does not sing: this test shows nothing"


def safetensors_bytes(header: Any, data: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


DAMAGED = {
    "empty": b"",
    "only a size": (0).to_bytes(8, "little"),
    "too short": b"\x01\x02\x03",
    "header longer than the file": safetensors_bytes({}, size=1000),
    "header of a terabyte": safetensors_bytes({}, size=2**40),
    "header size beyond 2**63": safetensors_bytes({}, size=2**64 - 1),
    "not JSON": safetensors_bytes(b"hello"),
    "not an object": safetensors_bytes([]),
    "not UTF-8": safetensors_bytes(b'{"\xff": 1}'),
    "duplicate name": safetensors_bytes(
        b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"0"
    ),
    "deep": safetensors_bytes(b'{"a":' + b"[" * 70_000 + b"]" * 70_000 + b"}"),
    "metadata of numbers": safetensors_bytes({"__metadata__": {"a": 1}}),
    "metadata a list": safetensors_bytes({"__metadata__": []}),
    "entry not an object": safetensors_bytes({"a": 3}),
    "no dtype": safetensors_bytes({"a": {"shape": [1], "data_offsets": [0, 4]}}, b"0000"),
    "one key more": safetensors_bytes({"a": entry(more=1)}, b"0000"),
    "unknown dtype": safetensors_bytes({"a": entry(dtype="F31")}, b"0000"),
    "dtype a list": safetensors_bytes({"a": entry(dtype=["F32"])}, b"0000"),
    "half a byte": safetensors_bytes({"a": entry(dtype="F4", shape=[8])}, b"0000"),
    "negative shape": safetensors_bytes({"a": entry(shape=[-1, -1])}, b"0000"),
    "fractional shape": safetensors_bytes({"a": entry(shape=[1.0])}, b"0000"),
    "boolean shape": safetensors_bytes({"a": entry(shape=[True])}, b"0000"),
    "shape a number": safetensors_bytes({"a": entry(shape=1)}, b"0000"),
    "huge shape": safetensors_bytes({"a": entry(shape=[2**53 - 1] * 8)}, b"0000"),
    "reversed offsets": safetensors_bytes({"a": entry(offsets=[4, 0])}, b"0000"),
    "negative offsets": safetensors_bytes({"a": entry(offsets=[-4, 0])}, b"0000"),
    "three offsets": safetensors_bytes({"a": entry(offsets=[0, 4, 4])}, b"0000"),
    "beyond the end": safetensors_bytes({"a": entry()}, b"000"),
    "bytes left over": safetensors_bytes({"a": entry()}, b"00000"),
    "no tensors but bytes": safetensors_bytes({}, b"0"),
    "gap": safetensors_bytes({"a": entry(offsets=[0, 4]), "b": entry(offsets=[5, 9])}, b"000000000"),
    "overlap": safetensors_bytes({"a": entry(offsets=[0, 4]), "b": entry(offsets=[2, 6])}, b"000000"),
    "one on the other": safetensors_bytes({"a": entry(), "b": entry()}, b"0000"),
    "shape against offsets": safetensors_bytes({"a": entry(shape=[2])}, b"0000"),
    "empty name": safetensors_bytes({"": entry()}, b"0000"),
    "lone surrogate": safetensors_bytes(b'{"\\ud800":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"0"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_safetensors_files_are_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(DAMAGED[damage])
    with pytest.raises(FormatError):
        model_nodes(path)


def test_odd_but_valid_safetensors_files(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    header = {"b": entry(offsets=[0, 4]), "none": entry(shape=[0], offsets=[4, 4]), "a": entry("U8", [], [4, 5])}
    path.write_bytes(safetensors_bytes(json.dumps(header).encode() + b"   ", b"\x00\x00\x80?\x07"))
    arrays = {"a": np.uint8(7), "b": np.array([1], np.float32), "none": np.zeros(0, np.float32)}
    assert weights_node(path) == weights_node(arrays)
    path.write_bytes(safetensors_bytes({}))
    assert weights_node(path).children == ()


def test_safetensors_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        model_nodes(tmp_path / "m.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "folder.safetensors" / "f").write_bytes(b"")
    assert model_nodes(tmp_path / "folder.safetensors").architecture.value == {"opaque": "folder"}


def test_saved_twice_by_torch_the_files_differ_and_the_weights_do_not(tmp_path: Path) -> None:
    state = {"w": torch.ones(3)}
    for name in ("one.pt", "other.pt"):
        torch.save(state, tmp_path / name)
        assert weights_node(torch.load(tmp_path / name, weights_only=True)) == weights_node(state)
    assert weights_node(tmp_path / "one.pt") != weights_node(tmp_path / "other.pt")
