# SPDX-License-Identifier: MIT
"""Settings of a transparency log section."""

from __future__ import annotations

from pydantic import Field

from mrv_core.driver import NetworkSettings


class LogSettings(NetworkSettings):
    """Which log, and which key it is trusted by.

    Attributes:
        path: Folder of the log, relative to the network's own folder, which is used where it is left out.
        origin: Name of the log when it is created, written like a URL without its scheme; by default made from its key.
        verifier_key: The log's public key as a C2SP verifier key, `name+id+key`. Where it is set, nothing else is
            trusted; where it is left out, the key file in the log's own folder is, and every verification says so.
    """

    path: str | None = Field(default=None, pattern=r"^[^\x00]+$")
    origin: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._~/-]{0,127}$")
    verifier_key: str | None = Field(default=None, min_length=1, max_length=512)
