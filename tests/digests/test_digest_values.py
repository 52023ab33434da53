# SPDX-License-Identifier: MIT
"""Plain Python content: JSON values, bytes, mappings, tuples, lists and map-style datasets."""

from __future__ import annotations

import types
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import Iterator
from typing import Any

import digest_oracle as oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.digests import content_node, require_not_empty
from mrv_core.errors import (
    ConfigurationError,
    ContentChangedError,
    FormatError,
    StorageError,
    UnsupportedTypeError,
)

ARRAY = np.arange(3)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aé/~", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_values_are_one_leaf(value: Any) -> None:
    node = content_node(value, label="v")
    assert node.hash.hex() == oracle.json_leaf("v", value)["hash"]
    assert node.value == value


def test_tuples_of_json_are_lists() -> None:
    assert content_node((1, (2, "x"))) == content_node([1, [2, "x"]])
    assert content_node({"b": 1, "a": 2}) == content_node({"a": 2, "b": 1})


REFUSED_JSON = [
    (float("nan"), "nan at /"),
    ([0.5, float("inf")], "inf at /1"),
    ({"a": [2**53]}, r"integer at /a/0 is beyond 2\^53-1"),
    ({"a": "\ud800"}, "lone surrogate"),
    ({1: "a"}, "key of type int"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED_JSON)
def test_values_without_json_form_are_refused_with_their_place(value: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        content_node(value, label="config")
    assert caught.value.message.startswith("config: ")


def test_structures_that_contain_themselves_are_refused() -> None:
    plain: list[Any] = [1]
    plain.append(plain)
    mapping: dict[str, Any] = {"x": ARRAY}
    mapping["inner"] = {"again": mapping}
    samples: list[Any] = [ARRAY]
    samples.append((samples, ARRAY))
    for content in (plain, mapping, samples):
        with pytest.raises(FormatError, match="contains itself"):
            content_node(content)


def test_one_object_in_two_places_is_no_cycle() -> None:
    node = content_node({"a": {"x": ARRAY}, "b": {"x": ARRAY}})
    assert node.child("a").child("x") == node.child("b").child("x")


def test_too_deep_nesting_is_refused() -> None:
    content: Any = ARRAY
    for _ in range(70):
        content = {"inner": content}
    with pytest.raises(FormatError, match="deeper than 64"):
        content_node(content)


@pytest.mark.parametrize("content", [b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00\x01\xff")[::2]])
def test_bytes(content: Any) -> None:
    assert content_node(content, label="b").hash.hex() == oracle.leaf("b", "bytes", b"\x00\xff")["hash"]


def test_bytes_of_one_buffer_with_wide_items() -> None:
    assert content_node(memoryview(np.array([1, 2], "<u2").data)) == content_node(b"\x01\x00\x02\x00")


def test_kinds_keep_equal_bytes_apart() -> None:
    assert content_node(b"1").digest == content_node(1).digest
    assert content_node(b"1") != content_node(1)


def test_mappings_are_branches_sorted_by_label() -> None:
    labels = ["b", "a", "\uff01", "\U0001f600", "Z", "10", "9"]
    content = {label: ARRAY for label in labels}
    node = content_node(content, label="m")
    expected = sorted(labels, key=lambda label: label.encode("utf-8"))
    assert [child.label for child in node.children] == expected
    assert node.hash.hex() == oracle.branch("m", [oracle.array_leaf(label, ARRAY) for label in expected])["hash"]
    for other in (OrderedDict(content), UserDict(content), types.MappingProxyType(content)):
        assert content_node(other, label="m") == node


def test_names_and_values_cannot_be_shifted() -> None:
    assert content_node({"a": b"bc"}) != content_node({"ab": b"c"})
    assert content_node({"a": {"b": ARRAY}}) != content_node({"a/b": ARRAY})
    assert content_node(({"a": ARRAY}, {})) != content_node(({}, {"a": ARRAY}))


@pytest.mark.parametrize("key", [1, None, "", "\ud800", "x" * 5000])
def test_keys_that_cannot_be_labels_are_refused(key: Any) -> None:
    with pytest.raises(FormatError):
        content_node({key: ARRAY})


def test_tuples_are_branches() -> None:
    point = namedtuple("point", ["left", "right", "top"])

    def labels(content: Any) -> list[str]:
        return [child.label for child in content_node(content).children]

    assert labels((ARRAY, ARRAY)) == ["x", "y"]
    assert labels((ARRAY, [0, 1, 0])) == ["x", "y"]
    assert labels(tuple([ARRAY] * 11)) == [str(i) for i in range(11)]
    assert labels(point(ARRAY, 1, 2)) == ["left", "right", "top"]


class Squares:
    """Sample i is the array [i * i], for i below the size."""

    def __repr__(self) -> str:  # names the test case; every worker must find the same names
        return "Squares"

    def __init__(self, size: int, readable: int | None = None) -> None:
        self.size = size
        self.readable = size if readable is None else readable

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        if index >= self.readable:
            raise IndexError(index)
        return np.array([index * index])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 8, 100])
def test_datasets_are_logs_of_samples(size: int) -> None:
    samples = [oracle.array_leaf("sample", np.array([i * i])) for i in range(size)]
    assert content_node(Squares(size), label="d").hash.hex() == oracle.dataset_leaf("d", samples)["hash"]


def test_lists_of_content_are_datasets() -> None:
    assert content_node([np.array([i * i]) for i in range(5)]) == content_node(Squares(5))
    assert content_node(Squares(5)) != content_node(Squares(4))
    assert content_node([ARRAY, ARRAY + 1]) != content_node([ARRAY + 1, ARRAY])


def test_torch_datasets() -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 0])
    dataset = torch.utils.data.TensorDataset(x, y)
    assert content_node(dataset) == content_node([(x[i].numpy(), y[i].numpy()) for i in range(3)])
    subset = torch.utils.data.Subset(dataset, [2, 0])
    assert content_node(subset) == content_node([dataset[2], dataset[0]])


def test_streams_are_refused() -> None:
    torch = pytest.importorskip("torch")

    class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Iterator[int]:
            return iter([1])

    for content in (Stream(), iter([1]), (i for i in [1])):
        with pytest.raises(UnsupportedTypeError):
            content_node(content)


def test_a_dataset_that_cannot_be_read_is_named_with_the_sample() -> None:
    with pytest.raises(StorageError, match=r"train: sample 3 of .*Squares cannot be read: IndexError"):
        content_node(Squares(5, readable=3), label="train")
    with pytest.raises(FormatError, match=r"train\[1\]: an object array"):
        content_node([ARRAY, np.array([None])], label="train")
    with pytest.raises(UnsupportedTypeError, match=r"train\[0\]/y: no digester for builtins.complex"):
        content_node([(ARRAY, 1j)], label="train")


def test_a_dataset_that_grows_is_an_error() -> None:
    class Growing(Squares):
        def __getitem__(self, index: int) -> Any:
            self.size = 4
            return np.array(index)

    with pytest.raises(ContentChangedError, match="length"):
        content_node(Growing(3))


def test_unsupported_types_name_themselves_and_the_way_out() -> None:
    class Strange:
        pass

    with pytest.raises(
        UnsupportedTypeError, match=r"data/a: no digester for .*test_digest_values\..*Strange"
    ) as caught:
        content_node({"a": Strange(), "b": ARRAY}, label="data")
    assert "register_digester(" in (caught.value.hint or "")
    for content in ({1, 2}, 1j, object(), type, lambda: None):
        with pytest.raises(UnsupportedTypeError):
            content_node(content)


def test_text_is_never_taken_for_a_file_or_a_value(tmp_path: Any) -> None:
    for text in ("hello", str(tmp_path), ""):
        with pytest.raises(FormatError, match="path or a value") as caught:
            content_node(text)
        assert "pathlib.Path" in (caught.value.hint or "")
    assert content_node({"text": "hello"}).kind == "json"


def test_wrong_options_are_refused() -> None:
    with pytest.raises(FormatError, match="unknown hash algorithm"):
        content_node(1, algorithm="md5")
    with pytest.raises(ConfigurationError, match="follow"):
        content_node(1, symlinks="follow")  # type: ignore[arg-type]


EMPTY = [
    np.zeros((0, 3)),
    np.zeros((3, 0)),
    [],
    {},
    (),
    b"",
    Squares(0),
    (ARRAY, np.zeros(0)),
    {"train": ARRAY, "more": {"test": Squares(0)}},
]


@pytest.mark.parametrize("content", EMPTY, ids=repr)
def test_empty_data_sets_are_refused(content: Any) -> None:
    with pytest.raises(FormatError, match=r"training.* is empty"):
        require_not_empty(content, "training")


@pytest.mark.parametrize("content", [ARRAY, np.float32(1), [0], {"a": []}, (ARRAY, []), b"0", Squares(1), 0], ids=repr)
def test_data_sets_with_something_in_them_pass(content: Any) -> None:
    require_not_empty(content)


def test_empty_tensors_are_refused() -> None:
    torch = pytest.importorskip("torch")
    require_not_empty(torch.tensor(1))
    with pytest.raises(FormatError, match="empty"):
        require_not_empty((torch.zeros(0, 3), torch.zeros(0)))
