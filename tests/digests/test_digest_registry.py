# SPDX-License-Identifier: MIT
"""How types find their digesters, and how users bring their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import PurePath
from typing import Any

import numpy as np
import pytest

from mrv_core.digests import DigestContext, content_node, model_nodes, register_digester
from mrv_core.errors import ConfigurationError, UnsupportedTypeError
from mrv_core.provenance_tree import MerkleNode

pytestmark = pytest.mark.usefixtures("clean_registry")


class Picture:
    def __init__(self, pixels: Any, mode: str = "RGB") -> None:
        self.pixels = pixels
        self.mode = mode


class Photo(Picture):
    pass


def digest_picture(picture: Picture, context: DigestContext) -> MerkleNode:
    return context.node({"mode": picture.mode, "pixels": picture.pixels}, context.label)


@pytest.mark.parametrize("name", [Picture, f"{__name__}.Picture"])
def test_a_registered_type_and_its_subclasses(name: Any) -> None:
    with pytest.raises(UnsupportedTypeError):
        content_node(Picture(np.zeros(2)))
    register_digester(name, digest_picture)
    expected = content_node({"mode": "RGB", "pixels": np.zeros(2)}, label="p")
    assert content_node(Picture(np.zeros(2)), label="p") == expected
    assert content_node(Photo(np.zeros(2)), label="p") == expected
    assert content_node([Photo(np.zeros(2))]) == content_node([{"mode": "RGB", "pixels": np.zeros(2)}])


def test_the_nearest_class_wins_and_registering_again_replaces() -> None:
    register_digester(Picture, digest_picture)
    register_digester(Photo, lambda photo, context: context.node(photo.pixels, context.label))
    assert content_node(Photo(np.ones(2))) == content_node(np.ones(2))
    register_digester(Photo, lambda photo, context: context.node(b"photo", context.label))
    assert content_node(Photo(np.ones(2))) == content_node(b"photo")


def test_the_public_name_of_a_type_defined_elsewhere() -> None:
    register_digester("datetime.date", lambda day, context: context.node(day.isoformat(), context.label))
    register_digester("fractions.Fraction", lambda value, context: context.node(str(value), context.label))
    import datetime
    import fractions

    assert content_node({"a": datetime.date(2026, 1, 11), "b": np.ones(1)}).child("a").value == "2026-01-11"
    assert content_node([fractions.Fraction(1, 3)]).kind == "dataset"


def test_the_label_is_the_callers_whatever_a_digester_returns() -> None:
    register_digester(Picture, lambda picture, context: context.node(picture.pixels, "other"))
    node = content_node({"a": Picture(np.zeros(2)), "b": Picture(np.zeros(2))})
    assert [child.label for child in node.children] == ["a", "b"]
    assert node == content_node({"a": np.zeros(2), "b": np.zeros(2)})


def test_the_context_says_what_to_use() -> None:
    seen: list[DigestContext] = []

    def digester(picture: Picture, context: DigestContext) -> MerkleNode:
        seen.append(context)
        return context.node(b"", context.label)

    register_digester(Picture, digester)
    content_node({"a": Picture(0)}, algorithm="sha256", label="top", symlinks="record", progress=False)
    (context,) = seen
    assert (context.algorithm, context.label, context.where) == ("sha256", "a", "top/a")
    assert (context.symlinks, context.progress.visible) == ("record", False)


@pytest.mark.parametrize("name", [dict, "builtins.dict", np.ndarray, "numpy.ndarray", "pandas.DataFrame", PurePath])
def test_the_meaning_of_supported_types_cannot_be_changed(name: Any) -> None:
    if name is PurePath:
        register_digester(name, lambda path, context: context.node(str(path), context.label))
        return
    with pytest.raises(ConfigurationError, match="has a digester already"):
        register_digester(name, digest_picture)


def test_registered_objects_can_be_models() -> None:
    register_digester(Picture, digest_picture)
    content = model_nodes(Photo(np.ones(3)))
    assert content.weights == content_node({"mode": "RGB", "pixels": np.ones(3)}, label="weights")
    assert content.architecture.value == {"class": f"{__name__}.Photo"}
    with pytest.raises(UnsupportedTypeError, match=r"builtins\.object"):
        model_nodes(object())


LAZY = """
import sys
import numpy as np
from pathlib import Path
from mrv_core.digests import content_node, digest_file, model_nodes, weights_node
content_node({"a": np.arange(3), "b": [1, 2], "file": Path(sys.argv[1])}, progress=False)
model_nodes({"w": np.ones(3)})
heavy = {"torch", "pandas", "polars", "pyarrow", "sklearn", "scipy", "fsspec", "rich", "safetensors"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""

WITHOUT_NUMPY = """
import sys
from pathlib import Path
from mrv_core.digests import content_node, digest_file
content_node(Path(sys.argv[1])), content_node(Path(sys.argv[1]).parent), content_node({"a": b"x", "b": [1]})
sys.exit(", ".join(sorted({"numpy", "subprocess", "fsspec", "rich"} & set(sys.modules))) or 0)
"""


@pytest.mark.parametrize("program", [LAZY, WITHOUT_NUMPY])
def test_nothing_is_imported_that_the_content_does_not_need(program: str, tmp_path: Any) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"x")
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1]})
    monkeypatch.delitem(sys.modules, "mrv_core.digests.tables", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pandas.* needs pyarrow") as caught:
        content_node(frame)
    assert caught.value.hint == "pip install pyarrow"
