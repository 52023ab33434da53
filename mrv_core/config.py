# SPDX-License-Identifier: MIT
"""Configuration: which networks, which hash, what is anchored when, and what a verification must see.

A configuration is a JSON document with a `blockchain` section, or a training configuration that contains one.
Order of precedence: environment variables, then the document, then defaults. Misspelt keys, unknown networks
and placeholder values are refused by name before anything is sent anywhere.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from mrv_core.canonical import canonical_bytes, parse_json, to_json_value
from mrv_core.driver import EMBEDDED, NetworkSettings
from mrv_core.errors import ConfigurationError, FormatError, StorageError
from mrv_core.files import read_limited
from mrv_core.hashing import HashFactory
from mrv_core.models import Model, ReceiptState, describe_validation_error
from mrv_core.registry import Registry

DEFAULT_CONFIG_PATH: Final = Path("configs/blockchain_config.json")
CONFIG_PATH_VARIABLE: Final = "MRV_CONFIG"
_MAX_CONFIG_BYTES: Final = 1024 * 1024

DEFAULT_DOCUMENT: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "blockchain": {
            "enabled": True,
            "networks": ["ethereum", "ipfs", "log"],
            "ethereum": {"rpc_url": EMBEDDED},
            "ipfs": {"url": EMBEDDED},
            "log": {},
        }
    }
)
"""Used where no configuration is given: three networks inside the artifacts folder, no node and no key needed."""

_M = TypeVar("_M", bound=Model)

_PLACEHOLDER = re.compile(
    r"(0x)?your[_-].*|https?://(.*[/@:.=])?your[_-].*|.*<[^<>]*>.*|\$\{?\w+\}?|change[_-]?me|replace[_-]?me|"
    r"placeholder|todo|(0x)?x{3,}|0x0{40}|0x0{64}|(0x)?\.\.\.",
    re.IGNORECASE,
)
"""What templates, tutorials and unexpanded shell variables leave where a value belongs."""
_SECRET_KEY = re.compile(r"(\w+_)?private_?key|mnemonic|seed_phrase", re.IGNORECASE)
"""Names under which wallets and templates keep what signs."""
_NETWORK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
"""Names of networks become names of folders and lock files, on file systems that ignore case too."""
_NEAR: Final = 0.75
"""How alike a top-level key must be to one of ours to be taken for a misspelling of it; `hash_algo` still is."""


def _check_require(value: object) -> object:
    if value != "all" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("must be 'all' or a number of networks from 1 on")
    return value


class StorageOptions(Model):
    """What is anchored when.

    Attributes:
        store_before_training: Anchor the root over data, model and config before the first epoch.
        store_after_training: Anchor the root over everything at the end.
        store_epoch_checkpoints: Anchor the root after each epoch.
        store_in_batches: Write roots down without sending them; `mrv batch` anchors all that wait in one batch.
    """

    store_before_training: bool = True
    store_after_training: bool = True
    store_epoch_checkpoints: bool = False
    store_in_batches: bool = False


class VerificationPolicy(Model):
    """What a verification must see on the networks before it says VALID.

    Attributes:
        require: `all`, or how many of the configured networks must hold each anchor.
        state: State an anchor must have reached; a lower one counts as PENDING.
    """

    require: Annotated[Literal["all"] | Annotated[int, Field(ge=1)], BeforeValidator(_check_require)] = "all"
    state: ReceiptState = ReceiptState.FINAL


class _BlockchainSection(Model):
    enabled: bool = True
    networks: list[str] | None = None
    storage_options: StorageOptions = StorageOptions()
    verification: VerificationPolicy = VerificationPolicy()
    debug: bool = Field(default=False, description="Log at DEBUG level")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """One network section, validated.

    Attributes:
        name: Name of the section, used in receipts.
        driver: Name of the driver.
        settings: Instance of the driver's settings model.
        selected: Whether anchoring uses the network when none is named.
    """

    name: str
    driver: str
    settings: NetworkSettings
    selected: bool


@dataclass(frozen=True, slots=True)
class Config:
    """A validated configuration.

    Attributes:
        source: Where it came from, for messages.
        hash_algorithm: Algorithm of the content digests.
        enabled: Whether anything is anchored at all.
        networks: Every configured network by name.
        storage_options: What is anchored when.
        policy: What a verification must see.
        debug: Whether to log at DEBUG level.
        training: Whatever else the document held: the training's own parameters.
    """

    source: str
    hash_algorithm: str
    enabled: bool
    networks: Mapping[str, NetworkConfig]
    storage_options: StorageOptions
    policy: VerificationPolicy
    debug: bool
    training: Mapping[str, Any]

    @property
    def selected(self) -> tuple[str, ...]:
        """Names of the networks that anchoring uses when none is named, in the document's order."""
        return tuple(name for name, network in self.networks.items() if network.selected) if self.enabled else ()

    def require_networks(self, names: Iterable[str] | None) -> tuple[str, ...]:
        """Return the given network names, or the selected ones.

        Raises:
            ConfigurationError: one of them is not configured.
        """
        if names is None:
            return self.selected
        names = tuple(dict.fromkeys([names] if isinstance(names, str) else names))
        for name in names:
            if name not in self.networks:
                raise _unknown("network", name, self.networks)
        return names

    def without_networks(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return a training's own part of a document: no `blockchain`, no network sections, which may hold keys.

        Raises:
            ConfigurationError: there is a signing key in what is left.
        """
        sections = {*self.networks, *(network.driver for network in self.networks.values())}
        own = {
            key: value
            for key, value in document.items()
            if key != "blockchain" and not (key in sections and isinstance(value, Mapping))
        }
        _refuse_secrets(own, "the training configuration")
        return own


def find_config(path: str | Path | None = None) -> Path | None:
    """Return the configuration file to use: `path`, `$MRV_CONFIG`, `configs/blockchain_config.json`, or None."""
    if path is not None:
        return Path(path)
    if named := os.environ.get(CONFIG_PATH_VARIABLE):
        return Path(named)
    try:
        DEFAULT_CONFIG_PATH.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # there is something: reading it says what is wrong, and nothing else is used in its place
    return DEFAULT_CONFIG_PATH


def load_config(
    source: Mapping[str, Any] | str | Path | None = None,
    *,
    registry: Registry | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read and validate a configuration.

    Args:
        source: A document, the path of one, or None for three embedded networks.
        registry: Known drivers; by default those installed.
        environment: Variables that override values; by default the process environment.

    Raises:
        ConfigurationError: anything unreadable, misspelt or contradictory; the message names the key, never the value.
    """
    document, name = _read(source)
    registry = registry or Registry.load()
    environment = os.environ if environment is None else environment
    section, training = _split(document, registry, name)
    sections = {key: section.pop(key) for key in list(section) if key not in _BlockchainSection.model_fields}
    settings = _validate(_BlockchainSection, section, f"{name}: blockchain")
    if settings.networks is None and not sections:
        sections = _default_sections()
    listed = _listed_networks(settings, sections, registry, f"{name}: blockchain")
    networks = {
        network: _network(
            network,
            sections.get(network, {}),
            network in listed,
            registry,
            environment,
            f"{name}: blockchain.{network}",
        )
        for network in dict.fromkeys([*listed, *sections])
    }
    config = Config(
        source=name,
        hash_algorithm=_algorithm(training.pop("hash_algorithm", HashFactory.DEFAULT), name),
        enabled=settings.enabled,
        networks=MappingProxyType(networks),
        storage_options=settings.storage_options,
        policy=settings.verification,
        debug=settings.debug,
        training=MappingProxyType(training),
    )
    _check_policy(config)
    return config


def config_schema(registry: Registry) -> dict[str, Any]:
    """Return the JSON Schema of a configuration file with the given drivers (published in docs/)."""
    section = _BlockchainSection.model_json_schema(ref_template="#/$defs/blockchain/$defs/{model}")
    definitions: dict[str, Any] = {"blockchain": {"$defs": section.pop("$defs", {})}}
    further = []
    for driver in registry.names():
        template = f"#/$defs/{driver}/$defs/{{model}}"
        definitions[driver] = registry.settings_model(driver).model_json_schema(ref_template=template)
        reference = {"$ref": f"#/$defs/{driver}"}
        section["properties"][driver] = reference
        further.append({"allOf": [reference, {"properties": {"driver": {"const": driver}}, "required": ["driver"]}]})
    section["title"] = "blockchain"
    section["propertyNames"] = {"pattern": f"^{_NETWORK_NAME.pattern}$"}
    section["additionalProperties"] = {
        "description": "A further network of any name; `driver` says which driver serves it.",
        "anyOf": further,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "MRV configuration",
        "description": "Other top-level keys are the training's own parameters.",
        "type": "object",
        "properties": {
            "hash_algorithm": {"enum": list(HashFactory.algorithms()), "default": HashFactory.DEFAULT},
            "blockchain": section,
        },
        "$defs": definitions,
    }


def _read(source: Mapping[str, Any] | str | Path | None) -> tuple[dict[str, Any], str]:
    if source is None:
        return _plain(DEFAULT_DOCUMENT, "built-in configuration"), "built-in configuration"
    if isinstance(source, Mapping):
        return _plain(source, "configuration"), "configuration"
    path = Path(source)
    try:
        document = parse_json(read_limited(path, _MAX_CONFIG_BYTES), what=str(path))
    except (FormatError, StorageError) as error:
        raise ConfigurationError(error.message, hint=error.hint) from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: a configuration must be a JSON object")
    return document, str(path)


def _plain(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        return dict(to_json_value(document))  # type: ignore[arg-type]  # a mapping becomes a dict
    except FormatError as error:
        raise ConfigurationError(f"{name}: {error.message}", hint=error.hint) from error


def _default_sections() -> dict[str, Any]:
    section = _plain(DEFAULT_DOCUMENT["blockchain"], "built-in configuration")
    return {name: section[name] for name in section["networks"]}


def _split(document: dict[str, Any], registry: Registry, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate the blockchain section, with network sections moved into it, from the training's own keys."""
    training = dict(document)
    section = training.pop("blockchain", {})
    if not isinstance(section, dict):
        raise ConfigurationError(f"{name}: 'blockchain' must be an object")
    section = dict(section)
    for driver in registry.names():
        if isinstance(training.get(driver), dict):
            if driver in section:
                raise ConfigurationError(f"{name}: {driver!r} stands both at the top and in 'blockchain'")
            section[driver] = training.pop(driver)
    for key, value in training.items():
        _check_training_key(key, registry.names() if isinstance(value, dict) else (), name)
    _refuse_secrets(training, name)
    return section, training


def _refuse_secrets(document: Mapping[str, Any], place: str) -> None:
    """Refuse a signing key among the training's parameters, which everyone may read in the run and its reports."""
    for key, value in _items(document):
        if isinstance(key, str) and _SECRET_KEY.fullmatch(key) and value is not None:
            raise ConfigurationError(
                f"{place}: {_show(key)} would be published as a parameter of the training",
                hint="move it into its network's section in 'blockchain', or into the environment",
            )


def _items(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every key with its value in a structure, which may contain itself."""
    waiting, seen = [document], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            yield from item.items()
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)


def _check_training_key(key: str, drivers: Iterable[str], name: str) -> None:
    """Refuse a key of ours in the wrong place or misspelt; it would silently become a parameter of the training."""
    if key == "networks":
        raise ConfigurationError(f"{name}: 'networks' stands at the top", hint="move it into 'blockchain'")
    known = ["blockchain", "hash_algorithm", *drivers]
    near = difflib.get_close_matches(key, known, n=1, cutoff=_NEAR)
    if near and key != near[0] and key[0].lower() == near[0][0]:  # `algorithm` is a word of its own
        raise ConfigurationError(f"{name}: unknown key {_show(key)}", hint=f"did you mean {near[0]!r}?")


def _listed_networks(
    settings: _BlockchainSection, sections: Mapping[str, Any], registry: Registry, place: str
) -> tuple[str, ...]:
    """Return the selected networks, after checking that every name means something."""
    keys = [*_BlockchainSection.model_fields, *registry.names()]
    for key, value in sections.items():
        if key not in keys and not (isinstance(value, dict) and "driver" in value):
            raise _unknown("network" if isinstance(value, dict) else "key", key, keys, prefix=f"{place}: ")
        if not isinstance(value, dict):
            raise ConfigurationError(f"{place}.{key} must be an object")
        if not _NETWORK_NAME.fullmatch(key):
            raise ConfigurationError(
                f"{place}: {_show(key)} cannot be the name of a network",
                hint="use up to 32 lower-case letters, digits, '-' and '_', beginning with a letter or digit",
            )
    if settings.networks is None:
        return tuple(sections)
    known = {*sections, *registry.names()}
    for network in settings.networks:
        if network not in known:
            raise _unknown("network", network, known, prefix=f"{place}.networks: ")
    if len(set(settings.networks)) != len(settings.networks):
        raise ConfigurationError(f"{place}.networks names a network twice")
    return tuple(settings.networks)


def _network(
    network: str,
    section: Mapping[str, Any],
    listed: bool,
    registry: Registry,
    environment: Mapping[str, str],
    place: str,
) -> NetworkConfig:
    driver = network if section.get("driver") is None else section["driver"]
    if not isinstance(driver, str):
        raise ConfigurationError(f"{place}.driver must be the name of a driver")
    try:
        model = registry.settings_model(driver)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error.message}", hint=error.hint) from error
    values, origins = dict(section), {}
    if network == driver:  # the variables speak of the one network of that driver, not of any further section
        for variable, key in model.environment.items():
            if environment.get(variable):
                values[key], origins[key] = environment[variable], variable
    _refuse_placeholders(values, origins, model, place)
    settings = _validate(model, values, place, origins)
    return NetworkConfig(network, driver, settings, listed and settings.enabled)


def _refuse_placeholders(
    values: Mapping[str, Any], origins: Mapping[str, str], model: type[NetworkSettings], place: str
) -> None:
    for key, value in values.items():
        if not (isinstance(value, str) and _PLACEHOLDER.fullmatch(value.strip())):
            continue
        variables = [variable for variable, target in model.environment.items() if target == key]
        hint = f"set the environment variable {variables[-1]}" if variables else "write the real value"
        if key in origins:
            hint = f"correct the environment variable {origins[key]}"
        raise ConfigurationError(f"{place}.{key} still holds a placeholder", hint=hint)


def _validate(
    model: type[_M], values: Mapping[str, Any], place: str, origins: Mapping[str, str] = MappingProxyType({})
) -> _M:
    for key in values:
        if key not in model.model_fields:
            raise _unknown("key", key, model.model_fields, prefix=f"{place}: ")
    key = ""
    try:
        # A driver may refuse secrets that stand in a file, so it is told which values do not.
        context = {"from_environment": frozenset(origins)}
        return model.model_validate_json(canonical_bytes(dict(values)), context=context)
    except FormatError as error:
        problem = error.message
    except ValidationError as error:
        problem = describe_validation_error(error)
        key = str(next(iter(error.errors(include_input=False, include_url=False)[0]["loc"]), ""))
    # Raised outside the handlers: the errors above hold the rejected values, which may be secrets.
    hint = f"its value comes from the environment variable {origins[key]}" if key in origins else None
    raise ConfigurationError(f"{place}{'.' if key else ': '}{problem.removeprefix('the document: ')}", hint=hint)


def _algorithm(name: object, source: str) -> str:
    try:
        HashFactory.create(name)  # type: ignore[arg-type]  # anything but a known name is refused there
    except FormatError as error:
        raise ConfigurationError(f"{source}: hash_algorithm: {error.message}", hint=error.hint) from error
    return str(name)


def _check_policy(config: Config) -> None:
    required = config.policy.require
    if required != "all" and required > len(config.selected) and config.enabled:
        raise ConfigurationError(
            f"{config.source}: blockchain.verification.require is {required}, "
            f"but {len(config.selected)} networks are selected",
            hint="use 'all' or a number from 1 to the number of networks",
        )


def _unknown(what: str, name: str, known: Iterable[str], *, prefix: str = "") -> ConfigurationError:
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return ConfigurationError(f"{prefix}unknown {what} {_show(name)}", hint=hint)


def _show(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
