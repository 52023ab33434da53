# SPDX-License-Identifier: MIT
"""Finds drivers by entry point and builds them by name; a broken plugin disables only itself."""

from __future__ import annotations

import difflib
import logging
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from mrv_core import hookspecs
from mrv_core.driver import AnchorDriver, DriverContext, Examine, NetworkSettings
from mrv_core.errors import ConfigurationError
from mrv_core.hookspecs import DriverFactory

_logger = logging.getLogger(__name__)


class Registry:
    """Names of drivers and how to build them."""

    def __init__(self) -> None:
        self._factories: dict[str, DriverFactory] = {}
        self._disabled: dict[str, str] = {}

    @classmethod
    def load(cls) -> Registry:
        """Return a registry with every driver that installed packages announce."""
        registry = cls()
        for entry_point in sorted(entry_points(group=hookspecs.ENTRY_POINT_GROUP), key=lambda e: e.name):
            registry._load_one(entry_point)
        return registry

    def _load_one(self, entry_point: EntryPoint) -> None:
        try:
            self.add_plugin(entry_point.load(), entry_point.name)
        except Exception as error:  # a plugin may raise anything; it must not take the others with it
            reason = f"{type(error).__name__}: {error}"
            self._disabled[entry_point.name] = reason
            _logger.warning("driver plugin %s is disabled: %s", entry_point.name, reason)

    def add_plugin(self, plugin: object, name: str) -> None:
        """Register a plugin's drivers.

        Raises:
            ConfigurationError: it announces a name that is already taken.
            pluggy.PluginValidationError: it implements a hook that does not exist.
        """
        # A manager for each plugin: what is wrong with one cannot be found again, or called, with the next.
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin, name)
        manager.check_pending()
        announced: dict[str, DriverFactory] = {}

        def register(driver_name: str, factory: DriverFactory) -> None:
            if driver_name in self._factories or driver_name in announced:
                raise ConfigurationError(
                    f"driver {driver_name!r} is announced twice", hint=f"uninstall plugin {name!r}"
                )
            announced[driver_name] = factory

        manager.hook.mrv_register_drivers(register=register)
        self._factories.update(announced)

    def names(self) -> tuple[str, ...]:
        """Names of the usable drivers, sorted."""
        return tuple(sorted(self._factories))

    def disabled(self) -> dict[str, str]:
        """Plugins that could not be loaded, with the reason."""
        return dict(self._disabled)

    def factory(self, driver: str) -> DriverFactory:
        """Return where a driver's code is.

        Raises:
            ConfigurationError: no such driver; the hint names the nearest one, or why it is disabled.
        """
        try:
            return self._factories[driver]
        except KeyError:
            pass
        if driver in self._disabled:
            raise ConfigurationError(f"driver {driver!r} is disabled", hint=self._disabled[driver])
        near = difflib.get_close_matches(driver, self.names(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"installed drivers: {', '.join(self.names()) or 'none'}"
        raise ConfigurationError(f"there is no driver {driver!r}", hint=hint)

    def settings_model(self, driver: str) -> type[NetworkSettings]:
        """Return the settings model of a driver; cheap, loads none of the driver's libraries."""
        model = _load(self.factory(driver).settings, driver, extra="")
        if not (isinstance(model, type) and issubclass(model, NetworkSettings)):
            raise ConfigurationError(f"the settings of driver {driver!r} are not NetworkSettings")
        return model

    def examiner(self, driver: str) -> Examine | None:
        """Return the function that checks a driver's receipts without any network, or None where it has none.

        Raises:
            ConfigurationError: no such driver.
        """
        place = self.factory(driver).examiner
        examine: Examine | None = _load(place, driver, extra="") if place else None
        return examine

    def create(self, driver: str, context: DriverContext) -> AnchorDriver:
        """Build a driver.

        Raises:
            ConfigurationError: its extra is not installed, or its settings do not fit.
        """
        factory = self.factory(driver)
        built: AnchorDriver = _load(factory.driver, driver, factory.extra)(context)
        return built


def _load(place: str, driver: str, extra: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        hint = f"pip install 'mrv-provenance[{extra}]'" if extra else "reinstall the package that brings it"
        raise ConfigurationError(f"driver {driver!r} needs the package {error.name!r}", hint=hint) from error
    except (ImportError, AttributeError) as error:
        hint = "reinstall or upgrade the package that brings it"
        raise ConfigurationError(f"driver {driver!r} cannot be loaded: {error}", hint=hint) from error
