# SPDX-License-Identifier: MIT
"""Drivers are found by entry point and built by name; a broken plugin disables only itself."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pluggy
import pytest

from mrv_core.driver import DriverContext
from mrv_core.errors import ConfigurationError
from mrv_core.hookspecs import DriverFactory, hookimpl
from mrv_core.registry import Registry
from mrv_core.testing import plugin as memory_plugin
from mrv_core.testing.memory import MemoryDriver, MemorySettings


class Announcing:
    """A plugin that announces drivers by these names."""

    def __init__(self, *names: str, **places: str) -> None:
        self.names = names
        self.factory = DriverFactory(**{**MEMORY, **places})

    @hookimpl
    def mrv_register_drivers(self, register):
        for name in self.names:
            register(name, self.factory)


class Misspelt:
    @hookimpl
    def mrv_register_drivrs(self, register):
        """Nobody calls this."""


MEMORY = {
    "driver": "mrv_core.testing.memory:MemoryDriver",
    "settings": "mrv_core.testing.memory:MemorySettings",
    "extra": "",
    "summary": "for a test",
}
PLUGIN = """
from mrv_core.hookspecs import DriverFactory, hookimpl

@hookimpl
def mrv_register_drivers(register):
    register({name!r}, DriverFactory("{module}_driver:Driver", "{module}_settings:Settings", "", "for a test"))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that installs a distribution whose one entry point leads to a module with this source."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, source: str) -> None:
        module = f"{name}_{tmp_path.name}"  # another one in each test, because Python remembers modules
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mrv.drivers]\n{name} = {module}\n")

    return install


def test_entry_points_of_this_distribution_and_of_others_are_found(install):
    install("thirdparty", PLUGIN.format(name="thirdparty", module="nowhere"))
    registry = Registry.load()
    assert {"ethereum", "ipfs", "log", "thirdparty"} <= set(registry.names())
    assert list(registry.names()) == sorted(registry.names())
    assert registry.disabled() == {}
    assert registry.factory("thirdparty").driver == "nowhere_driver:Driver"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param("import a_library_nobody_has", "a_library_nobody_has", id="import-fails"),
        pytest.param("def", "SyntaxError", id="syntax-error"),
        pytest.param("raise RuntimeError('boom')", "RuntimeError: boom", id="raises-on-import"),
        pytest.param(
            """
            from mrv_core.hookspecs import hookimpl

            @hookimpl
            def mrv_register_drivers(register):
                raise KeyError("inside the hook")
            """,
            "inside the hook",
            id="hook-raises",
        ),
        pytest.param(
            """
            from mrv_core.hookspecs import hookimpl

            @hookimpl
            def mrv_register_driver(register):
                pass
            """,
            "mrv_register_driver",
            id="hook-misspelt",
        ),
    ],
)
def test_a_broken_plugin_disables_only_itself(install, caplog, source, reason):
    healthy = Registry.load()
    install("aaa_broken", source)
    install("zzz_fine", PLUGIN.format(name="zzz_fine", module="fine"))
    registry = Registry.load()
    assert set(registry.disabled()) == {*healthy.disabled(), "aaa_broken"}
    assert set(registry.names()) == {*healthy.names(), "zzz_fine"}
    assert reason in registry.disabled()["aaa_broken"]
    assert "aaa_broken" in caplog.text
    with pytest.raises(ConfigurationError, match="disabled") as failure:
        registry.factory("aaa_broken")
    assert reason in failure.value.hint


def test_a_name_is_announced_once(install):
    healthy = Registry.load()
    install("zzz_thief", PLUGIN.format(name="ipfs", module="thief"))
    registry = Registry.load()
    assert set(registry.disabled()) == {*healthy.disabled(), "zzz_thief"}
    assert "announced twice" in registry.disabled()["zzz_thief"]
    assert registry.factory("ipfs") == healthy.factory("ipfs")


def test_a_plugin_that_is_refused_announces_none_of_its_drivers():
    registry = Registry()
    registry.add_plugin(memory_plugin, "memory")
    with pytest.raises(ConfigurationError, match="'memory' is announced twice") as failure:
        registry.add_plugin(Announcing("first", "memory"), "greedy")
    assert "greedy" in failure.value.hint
    with pytest.raises(ConfigurationError, match="'same' is announced twice"):
        registry.add_plugin(Announcing("same", "same"), "stutter")
    assert registry.names() == ("memory",)


def test_a_misspelt_hook_is_refused_and_leaves_no_trace():
    registry = Registry()
    with pytest.raises(pluggy.PluginValidationError):
        registry.add_plugin(Misspelt(), "misspelt")
    registry.add_plugin(memory_plugin, "memory")
    assert registry.names() == ("memory",)


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("memry", "did you mean 'memory'?"), ("Memory", "did you mean 'memory'?"), ("xyz", "installed drivers: memory")],
)
def test_an_unknown_driver_suggests_what_there_is(asked, hint):
    registry = Registry()
    registry.add_plugin(memory_plugin, "memory")
    for ask in (registry.factory, registry.settings_model, lambda name: registry.create(name, None)):
        with pytest.raises(ConfigurationError, match=f"no driver '{asked}'") as failure:
            ask(asked)
        assert failure.value.hint == hint


def test_no_driver_at_all_is_said():
    with pytest.raises(ConfigurationError) as failure:
        Registry().factory("log")
    assert failure.value.hint == "installed drivers: none"


@pytest.mark.parametrize(
    ("extra", "hint"),
    [("eth", "pip install 'mrv-provenance[eth]'"), ("", "reinstall the package that brings it")],
)
def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch, extra, hint):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"needs_library_{extra}.py").write_text("import a_library_nobody_has")
    registry = Registry()
    registry.add_plugin(Announcing("needy", driver=f"needs_library_{extra}:Driver", extra=extra), "needy")
    assert registry.settings_model("needy") is MemorySettings, "settings stay readable without the library"
    with pytest.raises(ConfigurationError, match="'needy' needs the package 'a_library_nobody_has'") as failure:
        registry.create("needy", DriverContext("n", MemorySettings(), tmp_path))
    assert failure.value.hint == hint


def test_settings_must_be_network_settings():
    registry = Registry()
    registry.add_plugin(Announcing("odd", settings="mrv_core.models:Receipt"), "odd")
    with pytest.raises(ConfigurationError, match="not NetworkSettings"):
        registry.settings_model("odd")


@pytest.mark.parametrize("place", ["mrv_core.testing.memory:NoSuchDriver", "mrv_core.testing.memory"])
def test_a_driver_that_is_not_in_its_module_is_a_configuration_error(tmp_path, place):
    registry = Registry()
    registry.add_plugin(Announcing("lost", driver=place), "lost")
    with pytest.raises(ConfigurationError, match="lost"):
        registry.create("lost", DriverContext("n", MemorySettings(), tmp_path))


def test_a_driver_is_built_with_its_context(tmp_path):
    registry = Registry()
    registry.add_plugin(memory_plugin, "memory")
    settings = registry.settings_model("memory").model_validate_json(b'{"finality_depth": 2}')
    driver = registry.create("memory", DriverContext("m", settings, tmp_path))
    assert isinstance(driver, MemoryDriver)
    assert driver.status().network == "m"


def test_finding_drivers_loads_none_of_their_libraries():
    program = """
        import json, sys
        from mrv_core.registry import Registry
        registry = Registry.load()
        for name in registry.names():
            registry.settings_model(name)
        print(json.dumps([registry.names(), sorted({name.partition(".")[0] for name in sys.modules})]))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    names, modules = json.loads(done.stdout)
    assert {"ethereum", "ipfs", "log"} <= set(names)
    heavy = {"web3", "eth", "eth_tester", "eth_account", "ipfshttpclient", "cryptography", "codecarbon"}
    heavy |= {"torch", "numpy", "pandas", "polars", "pyarrow", "sklearn", "requests", "pytest"}
    assert not heavy & set(modules)
