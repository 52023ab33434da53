# SPDX-License-Identifier: MIT
"""The API does what its own OpenAPI says, whatever is sent to it (schemathesis)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi import checks

from mrv_service.app import create_app
from mrv_service.settings import ServiceSettings

from .conftest import Service, record

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


def operations() -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = create_app(ServiceSettings(base_dir=Path(folder))).openapi()["paths"]
    return [(path, method) for path, methods in paths.items() for method in methods]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as folder:
        made = Service(Path(folder))
        made.submit(record("MRV-known").to_bytes())
        yield made
        made.close()


def test_there_are_operations() -> None:
    assert len(operations()) == 20


@pytest.mark.parametrize(("path", "method"), operations())
def test_the_api_is_what_it_says(service: Service, path: str, method: str) -> None:
    described = schemathesis.openapi.from_asgi("/api/v1/openapi.json", service.app)

    @given(case=described[path][method].as_strategy())
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def any_request(case: Any) -> None:
        case.call_and_validate(headers=service.writer, checks=CHECKS)

    any_request()
