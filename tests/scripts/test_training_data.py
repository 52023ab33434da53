# SPDX-License-Identifier: MIT
"""MNIST's files are read exactly, and anything else is refused in one line."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from training_data import load_digits, load_mnist, read_idx

from mrv_core.errors import FormatError, StorageError


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path):
    rng = np.random.default_rng(1)
    for name, count in (("train", 30), ("t10k", 10)):
        images, labels = rng.integers(0, 256, (count, 8, 8)), np.arange(count) % 10
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def test_reads_plain_and_gzipped_files(mnist):
    data = load_mnist(mnist)
    expected = np.random.default_rng(1).integers(0, 256, (30, 8, 8))
    assert np.array_equal(data.train_images, expected)
    assert data.train_labels.tolist() == [n % 10 for n in range(30)]
    assert (data.test_images.shape, data.largest, data.classes) == ((10, 8, 8), 255, 10)


def test_the_bundled_digits_are_whole():
    data = load_digits()
    assert len(data.train_labels) + len(data.test_labels) == 1797
    assert data.train_images.max() == data.largest == 16
    assert data.classes == 10


def test_a_missing_file_is_named(mnist):
    (mnist / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(StorageError, match="has neither t10k-images-idx3-ubyte nor"):
        load_mnist(mnist)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "header says 16 values, it has fewer"),
        (lambda data: data + b"\0", "header says 16 values, it has more"),
        (lambda data: data[:7], "not an IDX file"),
        (lambda data: b"\0\0\x0d\x01" + data[4:], "not an IDX file"),
        (lambda data: data[:4] + b"\xff" * 4 + data[8:], "more than the"),
        (lambda data: b"", "not an IDX file"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, message):
    path = tmp_path / "labels"
    path.write_bytes(change(idx(np.arange(16))))
    with pytest.raises(FormatError, match=message):
        read_idx(path, dimensions=1)


@pytest.mark.parametrize("change", [lambda data: data[:-20], lambda data: data[:40] + b"\xff" * 20 + data[60:]])
def test_a_damaged_gzip_file_is_refused(tmp_path, change):
    path = tmp_path / "labels.gz"
    path.write_bytes(change(gzip.compress(idx(np.random.default_rng(2).integers(0, 256, 200)))))
    with pytest.raises(FormatError, match=r"not a whole gzip file|header says 200 values"):
        read_idx(path, dimensions=1)


def test_images_and_labels_must_belong_together(mnist):
    (mnist / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((29, 8, 8))))
    with pytest.raises(FormatError, match="train has 29 images and 30 labels"):
        load_mnist(mnist)
    (mnist / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((30, 8, 7))))
    with pytest.raises(FormatError, match="must be square"):
        load_mnist(mnist)
