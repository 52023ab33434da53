# SPDX-License-Identifier: MIT
"""How a daemon says no, apart from the client library, which is not loaded before a daemon is talked to."""

from __future__ import annotations

from mrv_core.errors import BackendError


class RefusedError(BackendError):
    """The daemon understood a call and answered that it failed. Its text is shown, never judged by."""
