# SPDX-License-Identifier: MIT
"""Settings of the registry, as the command line gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, model_validator

from mrv_core.errors import ConfigurationError
from mrv_core.models import Model, describe_validation_error


class ServiceSettings(Model):
    """How a registry runs.

    Attributes:
        base_dir: Folder of the embedded database, and of the journal.
        database_url: SQLAlchemy URL of another database; `postgresql+psycopg://…`. May hold a password.
        reads: Who may read: anybody, or holders of a token with the scope `read`.
        cors_origins: Origins of pages that may call from a browser; none by default.
        allowed_hosts: Names that it may be asked by, as a Host header has them without the port; any where empty.
        max_body_bytes: Largest request.
        rate_per_minute: Requests a minute for each address.
        page_size: Most records on a page of a list.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    base_dir: Path = Path("registry")
    database_url: SecretStr | None = None
    reads: Literal["public", "private"] = "public"
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, le=1024**3)
    rate_per_minute: int = Field(default=600, ge=1, le=10_000_000)
    page_size: int = Field(default=100, ge=1, le=1000)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for origin in self.cors_origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
                raise ValueError(f"cors_origins: {origin!r:.80} is no origin, which is https://host")
        return self

    @property
    def url(self) -> str:
        """URL of the database, with its password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.base_dir.absolute() / 'registry.sqlite3'}"


def service_settings(values: dict[str, Any]) -> ServiceSettings:
    """Check settings.

    Raises:
        ConfigurationError: they are wrong; the message repeats no value.
    """
    from pydantic import ValidationError

    try:
        return ServiceSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(f"service: {describe_validation_error(error)}") from None
