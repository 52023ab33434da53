# SPDX-License-Identifier: MIT
"""The worker's side of a conversation in lines of JSON. Standard library only: it runs in the peers' environments."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


def serve(actions: Mapping[str, Callable[..., Any]]) -> None:
    """Answer requests `[action, argument, ...]` with the action's result and the seconds it took, until input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        start = time.perf_counter()
        value = actions[name](*arguments)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "value": value}), file=replies, flush=True)
