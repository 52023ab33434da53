# SPDX-License-Identifier: MIT
"""What the programs beside the server, worker and watcher, have in common: they go on, whatever happens."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from mrv_core.errors import ConfigurationError, MrvError
from mrv_core.manager import BlockchainManager

_logger = logging.getLogger(__name__)


def repeat(step: Callable[[], bool], stop: threading.Event, pause_s: float) -> None:
    """Do one step after the other until told to stop. What fails is logged, and tried again.

    Args:
        step: Does something; tells whether there was anything to do.
        stop: Set from outside.
        pause_s: Seconds between two steps where there was nothing to do, or where one failed.
    """
    while not stop.is_set():
        try:
            did = step()
        except MrvError as error:
            _logger.error("%s", error.message)
            did = False
        except Exception:  # a program that raises alarms must not be what ends without one
            _logger.exception("a defect of this program")
            did = False
        if not did:
            stop.wait(pause_s)


def lease_of(manager: BlockchainManager, spare_s: float) -> timedelta:
    """Return how long something may stay with one that says nothing more: its networks' timeout, and some more.

    Raises:
        ConfigurationError: the configuration has no network.
    """
    names = manager.config.require_networks(None)
    if not names:
        raise ConfigurationError("the configuration selects no network", hint="name one in blockchain.networks")
    return timedelta(seconds=max(manager.config.networks[name].settings.timeout for name in names) + spare_s)
