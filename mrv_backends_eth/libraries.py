# SPDX-License-Identifier: MIT
"""Loading the libraries of the extra `eth`, which only writing needs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mrv_core.errors import ConfigurationError

_lock = threading.Lock()


@contextmanager
def loading(purpose: str) -> Iterator[None]:
    """Import web3, py-evm or eth_account inside, from one thread at a time.

    py_ecc, which they import, sets the recursion limit to 100,000: from then on a document of deeply nested brackets
    could end the whole process where json would have raised RecursionError. So the limit is put back.

    Raises:
        ConfigurationError: one of them is not installed.
    """
    with _lock:
        limit = sys.getrecursionlimit()
        try:
            yield
        except ModuleNotFoundError as error:
            hint = "pip install 'mrv-provenance[eth]'"
            raise ConfigurationError(f"{purpose} needs the package {error.name!r}", hint=hint) from error
        finally:
            sys.setrecursionlimit(limit)
