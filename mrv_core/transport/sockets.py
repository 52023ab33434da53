# SPDX-License-Identifier: MIT
"""Opening a connection before a deadline: looking a name up, trying its addresses, TLS.

The standard library's own way waits for the resolver without limit, and gives every address of a name the whole
timeout again.
"""

from __future__ import annotations

import errno
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

_Addresses: TypeAlias = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]


def seconds_until(ends: float) -> float:
    """Return the seconds until a moment of the monotonic clock.

    Raises:
        TimeoutError: there are none.
    """
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def open_socket(host: str, port: int, tls: ssl.SSLContext | None, ends: float) -> socket.socket:
    """Connect to a server, with TLS where a context is given.

    Args:
        host: Name or numeric address, without brackets.
        port: TCP port.
        tls: How to check the server's certificate.
        ends: Moment of the monotonic clock at which all of it must be done.

    Raises:
        OSError: not connected; `TimeoutError`, `socket.gaierror` and `ssl.SSLError` among them.
    """
    connected = _connect(_addresses(host, port, ends), ends)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is None:
            return connected
        connected.settimeout(seconds_until(ends))  # bounds the whole handshake, not each of its reads
        return tls.wrap_socket(connected, server_hostname=host.partition("%")[0])
    except BaseException:
        connected.close()
        raise


def is_numeric(host: str) -> bool:
    """Tell whether a host is an IP address, which no resolver has to be asked for."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _connect(addresses: _Addresses, ends: float) -> socket.socket:
    """Try addresses in turn; each gets its share of the time that is left, so that one that hangs leaves some."""
    failure = OSError(errno.EADDRNOTAVAIL, "no address")
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        attempt = socket.socket(family, kind, protocol)
        try:
            attempt.settimeout(seconds_until(ends) / (len(addresses) - position))
            attempt.connect(address)
        except OSError as error:
            attempt.close()
            failure = error
        except BaseException:
            attempt.close()
            raise
        else:
            return attempt
    raise failure


def _addresses(host: str, port: int, ends: float) -> _Addresses:
    if is_numeric(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[_Addresses | OSError] = queue.SimpleQueue()
    try:
        # Nothing ends a call of the resolver, so it is left behind in a thread that holds nobody up.
        threading.Thread(target=_resolve, args=(host, port, answers), name="mrv-resolver", daemon=True).start()
    except RuntimeError:
        raise OSError(errno.EAGAIN, "no further thread") from None
    try:
        answer = answers.get(timeout=seconds_until(ends))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _resolve(host: str, port: int, answers: queue.SimpleQueue[_Addresses | OSError]) -> None:
    try:
        answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, ValueError) as error:  # ValueError: a label that IDNA refuses
        answers.put(error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, "no such name"))
