# SPDX-License-Identifier: MIT
# ruff: noqa: S101  (this is a test suite; its assertions are the product)
"""What the suite's scenarios are built from: fixtures and hooks for a subclass to override, and helpers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar, Final

import pytest

from mrv_core.driver import AnchorDriver, DriverContext
from mrv_core.errors import AnchorNotFoundError, BackendError, FormatError, MrvError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import NO_METADATA, Metadata, Prepared, Receipt, ReceiptState

REFUSALS: Final = (VerificationError, AnchorNotFoundError, BackendError, FormatError)
"""How a driver may say that it does not confirm something."""
INCLUDED: Final = frozenset({ReceiptState.INCLUDED, ReceiptState.FINAL})


def is_refused(method: Callable[..., object], *arguments: object) -> bool:
    """Tell whether a call is refused; any exception that is not a refusal goes through and fails the test."""
    try:
        method(*arguments)
    except REFUSALS:
        return True
    return False


class DriverHooks:
    """What the scenarios use: a network, and what can be done to it. The suite's own tests are in its subclasses."""

    driver_class: ClassVar[type[AnchorDriver]]

    @pytest.fixture
    def context(self) -> DriverContext:
        """Settings and folder of a network that can be used; one secret in the settings, if they can hold any."""
        raise NotImplementedError("override the fixture `context`")

    @pytest.fixture
    def driver(self, context: DriverContext) -> Iterator[AnchorDriver]:
        """A driver ready to anchor on the network of `context`."""
        driver = self.driver_class(context)
        yield driver
        driver.close()

    # What only the network's own tests know.

    def settle(self, driver: AnchorDriver) -> None:
        """Make the network include what was submitted: mine blocks. Needed where `mines_later` is set."""

    def reopen(self, context: DriverContext) -> AnchorDriver:
        """Return one more driver on the same network, as another process would build it."""
        return self.driver_class(context)

    def elsewhere(self, driver: AnchorDriver, context: DriverContext) -> AnchorDriver | None:
        """Return a driver on *another* network of the same kind, or None. Embedded ones only need another folder."""
        if not driver.capabilities.embedded:
            return None
        return self.driver_class(replace(context, store_dir=context.store_dir.with_name("elsewhere")))

    def count(self, driver: AnchorDriver, commitment: Digest) -> int | None:
        """Count the anchors of a commitment by asking the network, not the driver. None if it cannot be counted."""
        return None

    def reorg(self, driver: AnchorDriver) -> bool:
        """Make the network drop the last blocks, with everything anchored; False if it cannot."""
        return False

    def remove_store(self, driver: AnchorDriver, context: DriverContext) -> bool:
        """Make the network disappear; False if it cannot. Embedded ones live in their folder."""
        if not driver.capabilities.embedded:
            return False
        shutil.rmtree(context.store_dir)
        return True

    def ask_for_more(self, driver: AnchorDriver) -> bool:
        """Make the network include nothing that pays what it asks for now, long enough to wait in vain.

        Returns:
            False if it cannot. Needed only where `replaces` is set.
        """
        return False

    def overtake(self, driver: AnchorDriver, prepared: Prepared) -> bool:
        """Let something else take the place of an anchor that waits: its nonce, its coins; buried for good.

        Returns:
            False if it cannot.
        """
        return False

    def anchor_by_another(self, driver: AnchorDriver, commitment: Digest) -> bool:
        """Anchor a commitment with a key or wallet that is not the driver's, and wait until it is included.

        Returns:
            False if it cannot. Needed only where `searches` is set.
        """
        return False

    # Helpers.

    def anchor(self, driver: AnchorDriver, commitment: Digest, metadata: Metadata = NO_METADATA) -> Receipt:
        """Anchor as core does, wait for inclusion, and return the upgraded receipt."""
        receipt = driver.submit(driver.prepare(commitment, metadata))
        self.settle(driver)
        return driver.upgrade(receipt)

    def _assert_count(self, driver: AnchorDriver, commitment: Digest, expected: int) -> None:
        counted = self.count(driver, commitment)
        assert counted in (None, expected), f"the network holds {counted} anchors, not {expected}"

    def _assert_anchors_or_refuses(self, driver: AnchorDriver, commitment: Digest, metadata: Metadata) -> None:
        try:
            prepared = driver.prepare(commitment, metadata)
        except MrvError:
            return
        receipt = driver.submit(prepared)
        self.settle(driver)
        assert driver.verify(driver.upgrade(receipt), commitment).commitment == commitment
