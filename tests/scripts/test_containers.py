# SPDX-License-Identifier: MIT
"""What can be said of the container files without an engine: they fit the package, its commands and each other."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
uvicorn_config = pytest.importorskip("uvicorn.config")

ROOT = Path(__file__).parents[2]
MRV = str(Path(sys.executable).with_name("mrv"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (ROOT / "docker-compose.registry.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "MRV_DATABASE_URL" in service["environment"]}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SECRET = re.compile(r"KEY|PASSWORD|PASSWD|TOKEN|SECRET")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, each on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
    lines = re.sub(r"\\\n", "", text).splitlines()
    return [(word, rest) for word, _, rest in (line.strip().partition(" ") for line in lines) if word]


def of(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def copied() -> set[str]:
    """Return what the Dockerfile copies out of the repository."""
    sources: set[str] = set()
    for rest in of("COPY"):
        if not rest.startswith("--from="):
            *names, _ = rest.split()
            sources |= set(names)
    return sources


def help_of(command: str) -> str:
    return subprocess.run([MRV, command, "--help"], capture_output=True, text=True, check=True).stdout


def check_options(words: list[str]) -> None:
    """Check a command line of `mrv`: there is such a command, and it has these options."""
    command, *options = words
    text = help_of(command)
    for option in options:
        if option.startswith("-"):
            assert re.search(rf"^  .*{re.escape(option.partition('=')[0])}\b", text, re.MULTILINE), (command, option)


# The image.


def test_what_is_copied_is_what_is_packaged() -> None:
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    needed = {"pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert copied() == packages | needed
    assert all((ROOT / each).exists() for each in copied())


def test_nothing_else_reaches_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied()


def test_the_extras_exist() -> None:
    (extras,) = re.findall(r"pip install .*'\.\[([a-z,-]+)\]'", DOCKERFILE)
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()
    assert any(each.startswith("psycopg") for each in PROJECT["project"]["optional-dependencies"]["service"])


def test_the_base_is_a_python_that_the_package_takes() -> None:
    from packaging.specifiers import SpecifierSet

    (base,) = of("ARG")
    name, _, image = base.partition("=")
    assert {rest.split()[0] for rest in of("FROM")} == {f"${{{name}}}"}
    found = re.fullmatch(r"python:(\d+\.\d+)-slim-\w+", image)
    assert found is not None
    assert f"{found[1]}.0" in SpecifierSet(PROJECT["project"]["requires-python"])


def test_the_image_runs_the_server_as_nobody_in_particular() -> None:
    (user,) = of("USER")
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", user)
    assert json.loads(of("ENTRYPOINT")[0]) == ["mrv"]
    command = json.loads(of("CMD")[0])
    check_options(command)
    assert command[command.index("--port") + 1] == of("EXPOSE")[0]
    assert json.loads(of("VOLUME")[0]) == [command[command.index("--base-dir") + 1]]


def test_the_health_check_is_a_program() -> None:
    (check,) = of("HEALTHCHECK")
    program, option, source = json.loads(check[check.index("[") :])
    assert (program, option) == ("python3", "-c")
    compile(source, "HEALTHCHECK", "exec")
    assert of("EXPOSE")[0] in source


@pytest.mark.parametrize("text", [DOCKERFILE, COMPOSE_TEXT], ids=["Dockerfile", "compose"])
def test_there_is_no_secret_in_the_files(text: str) -> None:
    assert not re.search(r"[0-9a-fA-F]{32}", text)
    assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", text), "a URL with a password"
    assert not [rest for rest in (*of("ENV"), *of("ARG")) if SECRET.search(rest)]


# The services.


@pytest.mark.parametrize("name", OURS)
def test_the_commands_and_options_exist(name: str) -> None:
    check_options(OURS[name]["command"])


def test_the_three_programs_are_there() -> None:
    assert {service["command"][0] for service in OURS.values()} == {"serve", "worker", "watch"}
    assert {service["image"] for service in OURS.values()} == {"${MRV_IMAGE:-mrv-registry}"}
    assert {service["user"] for service in OURS.values()} == set(of("USER"))


@pytest.mark.parametrize("name", OURS)
def test_the_variables_are_read_by_somebody(name: str) -> None:
    pages = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("configuration.md", "registry.md"))
    others = {"PGPASSFILE": "libpq", "FORWARDED_ALLOW_IPS": inspect.getsource(uvicorn_config)}
    said = pages + "".join(help_of(service["command"][0]) for service in OURS.values())
    for variable in OURS[name]["environment"]:
        if variable not in others:
            assert variable in said
        elif variable != "PGPASSFILE":
            assert variable in others[variable]


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files(name: str) -> None:
    service = SERVICES[name]
    granted = set(service["secrets"])
    words = [*service.get("command", []), *(str(value) for value in service["environment"].values())]
    named = {found for word in words for found in re.findall(r"/run/secrets/(\w+)", word)}
    assert named == granted <= COMPOSE["secrets"].keys()
    for variable, value in service["environment"].items():
        assert not SECRET.search(variable) or (variable.endswith("_FILE") and value.startswith("/run/secrets/"))
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("${MRV_SECRETS:-/etc/mrv}/"), "outside the repository"


def test_only_the_worker_has_the_key() -> None:
    assert [name for name in SERVICES if "eth_private_key" in SERVICES[name]["secrets"]] == ["worker"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_shut_in(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert not {"privileged", "network_mode", "pid", "devices"} & service.keys()
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")
    for volume in service.get("volumes", []):
        assert volume.partition(":")[0] in COMPOSE["volumes"], "a named volume, nothing of the host"
    for network in service["networks"]:
        assert network in COMPOSE["networks"]


def test_the_database_is_reached_by_the_services_alone() -> None:
    (name,) = SERVICES.keys() - OURS.keys()
    assert COMPOSE["networks"]["database"]["internal"] is True
    assert SERVICES[name]["networks"] == ["database"]
    assert "ports" not in SERVICES[name]
    for service in OURS.values():
        assert f"@{name}/" in service["environment"]["MRV_DATABASE_URL"]


def test_who_waits_for_health_waits_for_a_check() -> None:
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            check = SERVICES[name].get("healthcheck", {"test": of("HEALTHCHECK")})
            assert check["test"]
            assert not check.get("disable")


def test_the_proxy_is_whom_the_server_believes() -> None:
    (network,) = COMPOSE["networks"]["outside"]["ipam"]["config"]
    server = next(service for service in OURS.values() if service["command"][0] == "serve")
    assert server["environment"]["FORWARDED_ALLOW_IPS"] == network["gateway"]
    assert server["ports"] == [f"127.0.0.1:{of('EXPOSE')[0]}:{of('EXPOSE')[0]}"]
