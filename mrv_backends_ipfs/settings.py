# SPDX-License-Identifier: MIT
"""Settings of an IPFS network section."""

from __future__ import annotations

from pydantic import Field

from mrv_core.driver import EMBEDDED, NetworkSettings


class IpfsSettings(NetworkSettings):
    """Where blocks go.

    Attributes:
        url: `embedded` for the offline block store.
        path: Folder of the block store, relative to the network's own folder, which is used where it is left out.
    """

    url: str = EMBEDDED
    path: str | None = Field(default=None, pattern=r"^[^\x00]+$")
