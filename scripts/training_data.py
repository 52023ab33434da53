# SPDX-License-Identifier: MIT
"""Images to train on: MNIST's files where a folder has them, else the digits that scikit-learn brings along."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from mrv_core.errors import FormatError, StorageError

Array: TypeAlias = "np.ndarray[Any, Any]"

_IDX_UINT8: Final = 0x08
"""Type code of unsigned bytes in an IDX file; images and labels have no other."""
_MAX_IDX_BYTES: Final = 1 << 30
"""Largest array read: 20 times MNIST's, so that a damaged header or a gzip bomb does not fill the memory."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class ImageData:
    """A training and a test set of grey images.

    Attributes:
        name: What it is, for people and for the record.
        train_images, test_images: uint8, shape (n, side, side), values from 0 to `largest`.
        train_labels, test_labels: int64, shape (n,), from 0.
        largest: Value of a white pixel.
    """

    name: str
    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array
    largest: int

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.train_labels.max()) + 1


def load_digits() -> ImageData:
    """Return scikit-learn's 1,797 handwritten digits, the last fifth of them as test set."""
    from sklearn import datasets

    bundle = datasets.load_digits()
    images, labels = bundle.images.astype(np.uint8), bundle.target.astype(np.int64)
    split = len(labels) * 4 // 5
    name = "handwritten digits of scikit-learn, 8x8"
    return ImageData(name, images[:split], labels[:split], images[split:], labels[split:], largest=16)


def load_mnist(folder: Path) -> ImageData:
    """Read MNIST, or anything in its format, from a folder with the four IDX files, gzipped or not.

    Raises:
        StorageError: a file is missing or unreadable.
        FormatError: a file is not an IDX file, or images and labels do not belong together.
    """
    train_images, train_labels = _read_pair(folder, "train")
    test_images, test_labels = _read_pair(folder, "t10k")
    _, height, width = train_images.shape
    if height != width or test_images.shape[1:] != (height, width):
        raise FormatError(f"{folder}: images must be square, of one size in training and test set")
    return ImageData(f"IDX files in {folder.name}", train_images, train_labels, test_images, test_labels, largest=255)


def _read_pair(folder: Path, name: str) -> tuple[Array, Array]:
    images = read_idx(_find(folder, f"{name}-images-idx3-ubyte"), dimensions=3)
    labels = read_idx(_find(folder, f"{name}-labels-idx1-ubyte"), dimensions=1).astype(np.int64)
    if len(images) != len(labels) or not len(labels):
        raise FormatError(f"{folder}: {name} has {len(images)} images and {len(labels)} labels")
    return images, labels


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise StorageError(f"{folder} has neither {name} nor {name}.gz", hint="give the folder with MNIST's four files")


def read_idx(path: Path, *, dimensions: int) -> Array:
    """Read an IDX file of unsigned bytes: zeros, type, number of dimensions, sizes (big-endian), values.

    Raises:
        StorageError: unreadable.
        FormatError: not such a file, or shorter or longer than its header says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read_idx(file, path, dimensions)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FormatError(f"{path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _read_idx(file: _Readable, path: Path, dimensions: int) -> Array:
    head = file.read(4 + 4 * dimensions)
    if head[:4] != bytes([0, 0, _IDX_UINT8, dimensions]) or len(head) < 4 + 4 * dimensions:
        raise FormatError(f"{path}: not an IDX file of unsigned bytes with {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    size = int(np.prod(shape, dtype=object))
    if size > _MAX_IDX_BYTES:
        raise FormatError(f"{path}: {size} bytes is more than the {_MAX_IDX_BYTES} allowed")
    values = file.read(size + 1)
    if len(values) != size:
        raise FormatError(f"{path}: its header says {size} values, it has {'more' if len(values) > size else 'fewer'}")
    return np.frombuffer(values, np.uint8).reshape(shape)
