# SPDX-License-Identifier: MIT
"""Fixtures that several tests of the core share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from faulty import FaultServer

from mrv_core.transport import HttpTransport


@pytest.fixture
def connect() -> Iterator[Callable[..., HttpTransport]]:
    """Return a function that makes transports, which are closed after the test."""
    with ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(closing(HttpTransport(url, **options)))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """Return a server that answers honestly until it is told otherwise."""
    with FaultServer() as server:
        yield server
