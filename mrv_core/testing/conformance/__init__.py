# SPDX-License-Identifier: MIT
"""The suite every driver passes, in this project and in others (docs/writing-a-driver.md).

    class TestMyDriver(DriverConformance):
        driver_class = MyDriver

        @pytest.fixture
        def context(self, tmp_path):
            return DriverContext("mine", MySettings(), tmp_path / "store")

What a test cannot know about a network is asked from it through the hooks of the class. A test is skipped where
the driver's capabilities or a hook say that there is nothing to check, never because of a name.
"""

import pytest

# Before the imports below, so that a failing assertion of the suite shows its values.
pytest.register_assert_rewrite(*(f"mrv_core.testing.conformance.{name}" for name in ("attempts", "hooks", "suite")))

from mrv_core.testing.conformance.forgeries import altered, commitment_of, forgeries, mutations, secrets_in  # noqa: E402
from mrv_core.testing.conformance.hooks import INCLUDED, REFUSALS  # noqa: E402
from mrv_core.testing.conformance.suite import DriverConformance  # noqa: E402

__all__ = [
    "INCLUDED",
    "REFUSALS",
    "DriverConformance",
    "altered",
    "commitment_of",
    "forgeries",
    "mutations",
    "secrets_in",
]
