# SPDX-License-Identifier: MIT
"""TLS: who may answer, and what is said where it is somebody else."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fault_modes import timeouts
from faulty import FaultServer, always
from watchdog import outcome_of

from mrv_core.transport import HttpTransport, JsonRpcClient, TransportError

Connect = Callable[..., HttpTransport]


def make_certificate(folder: Path, *names: x509.GeneralName, days: int = 1) -> Path:
    """Write a self-signed certificate and its key into one PEM file; negative days make it an expired one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=30)).not_valid_after(now + timedelta(days=days))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


def server_context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path, x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a certificate that the user has declared to be trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_trusted_server_is_talked_to_on_one_connection(connect: Connect, trusted: Path, host: str) -> None:
    with FaultServer(tls=server_context(trusted)) as server:
        client = JsonRpcClient(connect(f"https://{host}:{server.port}"))
        assert [client.call("method", n)["params"] for n in range(5)] == [[n] for n in range(5)]
        assert client.call("method", "x" * 3_000_000)["params"] == ["x" * 3_000_000]
        assert server.connections == 1


@pytest.mark.parametrize("mode", ["close-while-idle", "two-answers"])
def test_a_kept_connection_that_is_closed_or_has_surplus_is_not_used(
    connect: Connect, trusted: Path, mode: str
) -> None:
    with FaultServer(tls=server_context(trusted), plan=always(mode)) as server:
        client = JsonRpcClient(connect(server.url))
        for number in range(3):
            assert client.call("method", number)["params"] == [number]
            if mode == "close-while-idle":
                server.wait_until_all_are_closed()
        assert (server.connections, len(server.requests)) == (3, 3)


def test_a_self_signed_server_is_refused_before_it_is_told_anything(connect: Connect, certificate: Path) -> None:
    with FaultServer(tls=server_context(certificate)) as server:
        with pytest.raises(TransportError, match="its certificate is not trusted: self") as refused:
            connect(server.url).request("POST", body=b"secret")
        assert not refused.value.maybe_delivered
        assert "SSL_CERT_FILE" in str(refused.value.hint)
        assert server.requests == []


def test_the_certificate_of_another_name_is_refused(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, x509.DNSName("other.example"))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with FaultServer(tls=server_context(certificate)) as server:
        for host, mismatch in (("127.0.0.1", "IP address mismatch"), ("localhost", "Hostname mismatch")):
            with pytest.raises(TransportError, match=mismatch) as refused:
                connect(f"https://{host}:{server.port}").request("GET")
            assert not refused.value.maybe_delivered
        assert server.requests == []


def test_an_expired_certificate_is_refused(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path, x509.DNSName("localhost"), days=-1)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with (
        FaultServer(tls=server_context(certificate)) as server,
        pytest.raises(TransportError, match="certificate has expired"),
    ):
        connect(f"https://localhost:{server.port}").request("GET")


@pytest.mark.parametrize("greeting", ["garbage", "fin", "reset", "html", "status-400"])
def test_a_server_that_speaks_no_tls_got_nothing(connect: Connect, greeting: str) -> None:
    with FaultServer(greeting=greeting) as server:
        transport = connect(server.url.replace("http:", "https:"), timeout_s=50)
        outcome = outcome_of(lambda: transport.request("POST", body=b"secret"))
        assert isinstance(outcome, TransportError)
        assert not outcome.maybe_delivered
        assert outcome.hint
        assert server.requests == []


def test_a_handshake_that_never_ends_is_ended(connect: Connect) -> None:
    with FaultServer(greeting="silence") as server:
        transport = connect(server.url.replace("http:", "https:"), timeout_s=0.3)
        outcome = outcome_of(lambda: transport.request("POST", body=b"secret"))
        assert isinstance(outcome, TransportError)
        assert "in time" in str(outcome)
        assert not outcome.maybe_delivered


def test_plain_http_to_a_server_that_speaks_tls_is_garbage(connect: Connect, certificate: Path) -> None:
    with FaultServer(tls=server_context(certificate)) as server:
        outcome = outcome_of(lambda: connect(server.url.replace("https:", "http:"), timeout_s=50).request("GET"))
        assert isinstance(outcome, TransportError)
        assert outcome.hint


@pytest.mark.parametrize("mode", ["silence", "drip", "fin", "reset", "reset-mid-body", "short-body", "endless-body"])
def test_faults_inside_tls_are_the_same_faults(connect: Connect, trusted: Path, mode: str) -> None:
    for timeout_s in timeouts(mode):
        with FaultServer(tls=server_context(trusted), plan=always(mode)) as server:
            transport = connect(server.url, timeout_s=timeout_s, max_bytes=300_000)
            outcome = outcome_of(partial(transport.request, "GET"))
        if server.fired:
            break
    assert server.fired == {mode: 1}
    assert isinstance(outcome, TransportError)
    assert outcome.maybe_delivered
