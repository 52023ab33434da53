# SPDX-License-Identifier: MIT
"""Settings of an IPFS network: addresses in every spelling, modes that exclude each other, secrets that stay inside."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_ipfs.address import rpc_url
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.settings import GATEWAY, IpfsSettings
from mrv_core.config import load_config
from mrv_core.driver import DriverContext
from mrv_core.errors import ConfigurationError, FormatError, MrvError
from mrv_core.hashing import HashFactory
from mrv_core.models import NO_METADATA

SECRET = "correct-horse-battery-staple"


def settings_of(section: dict[str, object], environment: dict[str, str] | None = None) -> IpfsSettings:
    config = load_config({"blockchain": {"ipfs": section}}, environment=environment or {})
    settings = config.networks["ipfs"].settings
    assert isinstance(settings, IpfsSettings)
    return settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
        ("http://127.0.0.1:5001/", "http://127.0.0.1:5001"),
        ("http://127.0.0.1:5001/api/v0", "http://127.0.0.1:5001"),
        ("http://127.0.0.1:5001/api/v0/", "http://127.0.0.1:5001"),
        ("https://host.example/key/api/v0", "https://host.example/key"),
        ("https://user:pass@host.example:5001", "https://user:pass@host.example:5001"),
        ("http://[::1]:5001", "http://[::1]:5001"),
        ("/ip4/127.0.0.1/tcp/5001", "http://127.0.0.1:5001"),
        ("/ip4/127.0.0.1/tcp/5001/http", "http://127.0.0.1:5001"),
        ("/ip6/::1/tcp/5001/http", "http://[::1]:5001"),
        ("/dns/node.example/tcp/443/https", "https://node.example:443"),
        ("/dns4/node.example/tcp/443/tls/http", "https://node.example:443"),
        ("/dns6/node.example/tcp/80/http/", "http://node.example:80"),
    ],
)
def test_urls_and_multiaddrs_mean_the_same_place(text: str, expected: str) -> None:
    assert rpc_url(text) == expected
    assert settings_of({"url": text}).url == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:5001",
        "ipfs://bafy",
        "http://",
        "http://:5001",
        "http://host:notaport",
        "http://host:0",
        "http://host:99999",
        "http://ho st",
        "http://host\n",
        "ftp://host",
        "/ip4/127.0.0.1",
        "/ip4/127.0.0.1/udp/5001",
        "/ip4/127.0.0.1/tcp/5001/ws",
        "/ip4/127.0.0.1/tcp/5001/http/p2p/Qm",
        "/ip4/256.0.0.1/tcp/5001",
        "/ip4/::1/tcp/5001",
        "/ip6/127.0.0.1/tcp/5001",
        "/dns/a@b/tcp/5001",
        "/unix/run/ipfs.sock",
    ],
)
def test_anything_else_is_refused_by_the_name_of_its_key(text: str) -> None:
    with pytest.raises(FormatError):
        rpc_url(text)
    with pytest.raises(ConfigurationError, match=r"blockchain\.ipfs\.url"):
        settings_of({"url": text})


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z0-9.:@/\[\]]{1,40}", fullmatch=True))
def test_an_address_is_read_or_refused(text: str) -> None:
    try:
        url = rpc_url(text)
    except FormatError:
        return
    assert url.startswith(("http://", "https://"))
    assert rpc_url(url) == url


def test_a_gateway_alone_is_for_reading(tmp_path: Path) -> None:
    settings = settings_of({"gateway_url": "https://gateway.example"})
    assert settings.url == GATEWAY
    driver = IpfsDriver(DriverContext("ipfs", settings, tmp_path))
    assert not driver.status().ready
    assert not driver.capabilities.embedded
    with pytest.raises(ConfigurationError, match="gateway") as caught:
        driver.prepare(HashFactory.digest(b"", "sha256"), NO_METADATA)
    assert "5001" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"url": "gateway"}, "needs a gateway_url"),
        ({"url": "embedded", "gateway_url": "https://gateway.example"}, "no gateway"),
        ({"url": f"http://u:{SECRET}@host", "api_token": SECRET}, "both hold credentials"),
        ({"url": "http://host", "api_token": ""}, "api_token"),
        ({"url": "http://host", "api_token": f"{SECRET}\n"}, "api_token"),
        ({"url": "http://host", "gateway_url": f"https://u:{SECRET}@h/?k={SECRET}"}, "gateway_url"),
        ({"url": "http://your-node.example:5001"}, "placeholder"),
        ({"url": "http://host", "api_token": "your_token_here"}, "placeholder"),
        ({"url": f"http://u:{SECRET}@host:port"}, "url"),
        ({"url": "http://host", "pin": "yes"}, "pin"),
        ({"url": "http://host", "gateway": "https://gateway.example"}, "unknown key"),
    ],
)
def test_contradictions_are_refused_without_repeating_a_secret(section: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        settings_of(section)
    assert SECRET not in f"{caught.value}{caught.value.hint}{caught.value.__cause__}{caught.value.__context__}"


def test_the_environment_overrides_the_document() -> None:
    variables = {"IPFS_URL": "/ip4/127.0.0.1/tcp/5002/http", "IPFS_API_TOKEN": SECRET}
    settings = settings_of({"url": "embedded"}, variables)
    assert settings.url == variables["IPFS_URL"]
    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == SECRET
    assert SECRET not in repr(settings)


def test_addresses_with_passwords_are_not_shown(tmp_path: Path) -> None:
    settings = settings_of(
        {"url": f"http://user:{SECRET}@127.0.0.1:9", "gateway_url": f"http://u:{SECRET}@127.0.0.1:9"}
    )
    assert SECRET not in repr(settings)
    driver = IpfsDriver(DriverContext("ipfs", settings, tmp_path))
    status = driver.status()
    assert not status.ready
    assert "127.0.0.1:9" in status.detail
    with pytest.raises(MrvError) as caught:
        driver.lookup("bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4")
    assert SECRET not in f"{status}{caught.value!r}{caught.value.hint}"
