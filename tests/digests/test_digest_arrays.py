# SPDX-License-Identifier: MIT
"""NumPy arrays against the oracle: every dtype, shape, memory order and byte order."""

from __future__ import annotations

from typing import Any

import digest_oracle as oracle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mrv_core.digests import arrays, content_node, register_digester
from mrv_core.errors import FormatError, UnsupportedTypeError

plain = (
    npst.boolean_dtypes()
    | npst.integer_dtypes()
    | npst.unsigned_integer_dtypes()
    | npst.floating_dtypes(sizes=(16, 32, 64))
    | npst.complex_number_dtypes(sizes=(64, 128))
    | npst.datetime64_dtypes()
    | npst.timedelta64_dtypes()
    | npst.byte_string_dtypes()
    | npst.unicode_string_dtypes()
)
dtypes = npst.nested_dtypes(plain, max_leaves=5)


@st.composite
def strided(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """An array of any dtype, cut, reversed, transposed, broadcast, in any byte order."""
    shape = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    array = draw(npst.arrays(draw(dtypes), shape))
    if array.ndim:
        array = np.asarray(array[draw(npst.basic_indices(array.shape, allow_newaxis=True))])
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    if draw(st.booleans()) and array.ndim < 4:
        array = np.broadcast_to(array, (2, *array.shape))
    return array.astype(array.dtype.newbyteorder(draw(st.sampled_from("<>"))), copy=draw(st.booleans()))


@given(strided())
def test_against_the_oracle(array: np.ndarray[Any, Any]) -> None:
    assert content_node(array, label="x").hash.hex() == oracle.array_leaf("x", array)["hash"]


@given(strided())
def test_memory_order_and_byte_order_do_not_matter(array: np.ndarray[Any, Any]) -> None:
    expected = content_node(array)
    for other in (
        np.ascontiguousarray(array).reshape(array.shape),
        np.asfortranarray(array).reshape(array.shape),
        array.astype(array.dtype.newbyteorder(">")),
        np.asarray(array[..., ::-1][..., ::-1]) if array.ndim else array,
    ):
        assert content_node(other) == expected


@given(strided(), st.integers(1, 64))
def test_blocks_do_not_matter(array: np.ndarray[Any, Any], block: int) -> None:
    expected = content_node(array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "BLOCK", block)
        assert content_node(array) == expected


@given(npst.arrays(np.float64, 5, elements=st.floats(allow_nan=True)), st.data())
def test_every_bit_counts(array: np.ndarray[Any, Any], data: st.DataObject) -> None:
    changed = array.copy()
    raw = changed.view(np.uint8)
    raw[data.draw(st.integers(0, raw.size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert content_node(changed) != content_node(array)


def test_what_numpy_calls_equal_may_have_two_digests() -> None:
    assert content_node(np.array([0.0])) != content_node(np.array([-0.0]))
    nan = np.array([np.nan])
    assert content_node(nan) == content_node(nan.copy())
    assert content_node(np.array([1], np.int32)) != content_node(np.array([1], np.int64))
    assert content_node(np.zeros((2, 3))) != content_node(np.zeros((3, 2)))
    assert content_node(np.zeros((2, 0))) != content_node(np.zeros((3, 0)))
    assert content_node(np.array(["a"], "U1")) != content_node(np.array(["a"], "U2"))


def test_padding_between_fields_is_not_content() -> None:
    aligned = np.dtype([("a", "u1"), ("b", "f8")], align=True)
    one = np.zeros(3, aligned)
    other = np.frombuffer(b"\xff" * one.nbytes, np.uint8).copy().view(aligned)
    other["a"], other["b"] = one["a"], one["b"]
    assert one.tobytes() != other.tobytes()
    assert content_node(one) == content_node(other) == content_node(one.astype([("a", "u1"), ("b", "f8")]))


@pytest.mark.parametrize("scalar", [np.float32(1.5), np.int8(-1), np.bool_(True), np.datetime64("2026-01-11", "s")])
def test_scalars_are_arrays_of_no_dimension(scalar: np.generic) -> None:
    assert content_node(scalar) == content_node(np.asarray(scalar))
    assert content_node(scalar).kind == "array"


def test_numpy_floats_inside_a_mapping_stay_arrays() -> None:
    node = content_node({"a": np.float64(0.5), "b": 0.5})
    assert [child.kind for child in node.children] == ["array", "json"]


def test_views_of_files_and_matrices_are_arrays(tmp_path: Any) -> None:
    array = np.arange(12).reshape(3, 4)
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert type(mapped) is np.memmap
    assert content_node(mapped) == content_node(array)
    records = np.rec.fromarrays([array[:, 0]], names="a")
    assert content_node(records) == content_node(np.asarray(records))


def test_large_arrays_go_through_every_algorithm() -> None:
    array = np.arange(700_000, dtype=np.int64)  # above the size from which BLAKE3 takes all cores
    for algorithm in ("blake2b-256", "blake3", "sha256", "sha3-256"):
        node = content_node(array, algorithm=algorithm)
        message = oracle.array_message("int64", array.shape, array.tobytes())
        assert str(node.digest) == oracle.leaf("x", "array", message, algorithm)["digest"]


def test_the_buffer_is_hashed_in_place() -> None:
    import tracemalloc

    array = np.ones(4_000_000)
    content_node(array[:10])
    tracemalloc.start()
    content_node(array)
    _, in_place = tracemalloc.get_traced_memory()
    content_node(array[::-1])
    _, in_blocks = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert in_place < 1_000_000
    assert in_blocks < arrays.BLOCK + 1_000_000


REFUSED = [
    (np.array([1, "a", None], object), "object array"),
    (np.zeros(2, [("a", "i4"), ("b", "O")]), r"content\['b'\].*object array"),
    (np.zeros(2, np.longdouble), "longdouble|float128"),
    (np.zeros(2, np.clongdouble), "complex256|clongdouble"),
]


@pytest.mark.parametrize(("array", "message"), REFUSED)
def test_arrays_without_bytes_of_their_own_are_refused(array: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        content_node(array)
    assert caught.value.hint


def test_varying_strings_are_refused() -> None:
    dtype = getattr(getattr(np, "dtypes", None), "StringDType", None)
    if dtype is None:
        pytest.skip("this NumPy has no StringDType")
    with pytest.raises(FormatError, match="varying width"):
        content_node(np.array(["a", "bcd"], dtype()))


class Celsius(np.ndarray[Any, Any]):
    unit = "C"


def test_subclasses_that_carry_more_are_refused() -> None:
    masked = np.ma.array([1, 2], mask=[False, True])
    for array in (masked, np.zeros(3).view(Celsius)):
        with pytest.raises(UnsupportedTypeError) as caught:
            content_node(array)
        assert caught.value.hint


@pytest.mark.usefixtures("clean_registry")
def test_a_subclass_can_have_a_digester_of_its_own() -> None:
    register_digester(
        Celsius, lambda array, context: context.node({"unit": array.unit, "values": np.asarray(array)}, context.label)
    )
    node = content_node(np.zeros(3).view(Celsius), label="t")
    assert [child.label for child in node.children] == ["unit", "values"]
    assert node.label == "t"


def test_sparse_matrices_have_one_form() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rows, columns, values = [2, 0, 2, 0], [1, 3, 1, 0], [1.0, 2.0, 4.0, 0.0]
    matrix = sparse.coo_matrix((values, (rows, columns)), shape=(3, 4))
    node = content_node(matrix)
    assert [child.label for child in node.children] == ["shape", "indptr", "indices", "data"]
    parts = {
        "indptr": np.array([0, 2, 2, 3]),
        "indices": np.array([0, 3, 1]),
        "data": np.array([0.0, 2.0, 5.0]),
    }
    for name, expected in parts.items():
        assert node.child(name) == content_node(expected, label=name)
    for other in (matrix.tocsr(), matrix.tocsc(), sparse.csr_array(matrix), matrix.tocsc().tocoo()):
        assert content_node(other) == node
    assert content_node(matrix.T) != node


def test_bfloat16_of_ml_dtypes_is_the_one_of_torch() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    torch = pytest.importorskip("torch")
    for name, integers in (("bfloat16", np.int16), ("float8_e4m3fn", np.uint8), ("float8_e5m2", np.uint8)):
        tensor = torch.linspace(-2, 2, 12).to(getattr(torch, name)).reshape(3, 4)
        raw = tensor.view(torch.int16 if integers is np.int16 else torch.uint8).numpy()
        array = raw.view(getattr(ml_dtypes, name))
        assert content_node(array) == content_node(tensor)
        assert content_node(array.T) == content_node(tensor.T)
    with pytest.raises(FormatError, match="int4"):
        content_node(np.zeros(2, ml_dtypes.int4))
