# SPDX-License-Identifier: MIT
"""The processes that answer on one socket, what they write to the log, and the counts that they share."""

from __future__ import annotations

import gc
import multiprocessing.connection
import os
import resource
import signal
import socket
import tempfile
import threading
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from mrv_service.observing import COUNTS_VARIABLE, log_as_json
from mrv_service.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class Serving:
    """Builds the application in the process that runs it; handed to new processes by pickle, so by no command line.

    Attributes:
        settings: Checked settings.
    """

    settings: ServiceSettings

    def __call__(self) -> FastAPI:
        """Build the application, which logs from now on."""
        from mrv_service.app import create_app

        log_as_json()
        parent = multiprocessing.parent_process()
        if parent is not None:
            threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
        app = create_app(self.settings)
        # What is loaded now stays: to look through all of it for garbage would hold up answers for a tenth of a second.
        gc.collect()
        gc.freeze()
        return app


def run(serving: Serving, listening: socket.socket, processes: int) -> None:
    """Answer requests until a signal says to stop.

    Args:
        serving: What is run.
        listening: An open socket.
        processes: How many share it. One that dies is started anew.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each connection is an open file
    config = uvicorn.Config(serving, factory=True, workers=processes, log_config=None, access_log=False)
    if processes == 1:
        uvicorn.Server(config).run(sockets=[listening])
        return
    log_as_json()
    with tempfile.TemporaryDirectory(prefix="mrv-counts-") as counts:
        os.environ[COUNTS_VARIABLE] = counts  # read where prometheus_client is imported
        Multiprocess(config, sockets=[listening]).run()


def _end_with(sentinel: int) -> None:
    """End this process when its parent was killed: left alone it would hold the port, and nobody would restart it."""
    multiprocessing.connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
