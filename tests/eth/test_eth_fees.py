# SPDX-License-Identifier: MIT
"""What is offered for a unit of gas: enough to be included, never above the cap, raised by what nodes ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_eth.fees import GWEI, Fees, coins, gwei, market_fees, replacement_fees
from mrv_core.errors import BackendUnavailableError

WEI = st.integers(min_value=0, max_value=10**13)
CAP = st.integers(min_value=1, max_value=10**13)


@given(WEI, WEI, CAP)
def test_an_offer_is_at_least_the_base_fee_and_never_above_the_cap(base: int, tip: int, cap: int) -> None:
    if max(base, tip) > cap:
        with pytest.raises(BackendUnavailableError) as failure:
            market_fees(base, tip, cap)
        assert failure.value.retryable
        return
    fees = market_fees(base, tip, cap)
    assert base <= fees.most <= cap
    assert fees.tip is not None
    assert fees.tip <= min(fees.most, tip, max(base, 50 * GWEI))


@given(WEI, CAP)
def test_a_price_before_london(price: int, cap: int) -> None:
    if price > cap:
        with pytest.raises(BackendUnavailableError):
            market_fees(None, price, cap)
    else:
        assert market_fees(None, price, cap) == Fees(price, None)


@given(WEI, WEI, WEI, WEI, CAP)
def test_a_replacement_is_an_eighth_more_and_within_the_cap(base: int, tip: int, most: int, old: int, cap: int) -> None:
    was = Fees(max(most, old), old)
    try:
        now = market_fees(base, tip, cap)
    except BackendUnavailableError:
        return
    fees = replacement_fees(was, now, base, cap)
    if fees is None:
        return
    assert fees.tip is not None
    assert fees.most <= cap
    assert fees.tip <= fees.most
    assert 8 * fees.most >= 9 * was.most
    assert 8 * fees.tip >= 9 * old
    assert fees.tip > old
    assert fees.most >= now.most
    assert fees.tip >= (now.tip or 0)


@given(WEI, WEI, CAP)
def test_what_pays_the_market_is_left_alone(base: int, tip: int, cap: int) -> None:
    try:
        now = market_fees(base, tip, cap)
    except BackendUnavailableError:
        return
    if now.most >= base * 9 // 8 + (now.tip or 0):
        assert replacement_fees(now, now, base, cap) is None


def test_a_tip_of_zero_is_outbid_by_more_than_zero() -> None:
    """Nodes take none that does not pay more of both, however small the eighth is (go-ethereum, `list.Add`)."""
    assert replacement_fees(Fees(8, 0), Fees(80, 0), 40, 100) == Fees(80, 1)


def test_replacing_a_price_before_london() -> None:
    assert replacement_fees(Fees(8, None), Fees(9, None), None, 100) == Fees(9, None)
    assert replacement_fees(Fees(80, None), Fees(81, None), None, 100) == Fees(90, None)
    assert replacement_fees(Fees(80, None), Fees(80, None), None, 100) is None
    assert replacement_fees(Fees(96, None), Fees(99, None), None, 100) is None


def test_amounts_are_written_for_people() -> None:
    assert [gwei(wei) for wei in (0, 1, 10**9, 15 * 10**8, 10**18)] == ["0", "0.000000001", "1", "1.5", "1000000000"]
    assert [coins(wei) for wei in (0, 1, 10**18, 25 * 10**17)] == ["0", "0.000000000000000001", "1", "2.5"]
