# SPDX-License-Identifier: MIT
"""Shared by the tests of content digests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrv_core.digests import context

sys.path.insert(0, str(Path(__file__).parent))  # for `import digest_oracle, vector_cases`


@pytest.fixture
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the digesters that a test registers."""
    monkeypatch.setattr(context, "_registered", {})
    context._found.clear()
    yield
    context._found.clear()
