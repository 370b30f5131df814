from __future__ import annotations

import pytest

from mlstack.serving.rate_limits import RateLimits, client_address


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_at_once_and_then_one_in_each_interval() -> None:
    clock = Clock()
    limits = RateLimits(2.0, 5, clock)
    assert [limits.take("a") for _ in range(5)] == [0.0] * 5
    assert limits.take("a") == pytest.approx(0.5)
    clock.now += 0.2
    assert limits.take("a") == pytest.approx(0.3)
    clock.now += limits.take("a")
    assert limits.take("a") == 0.0
    assert limits.take("a") == pytest.approx(0.5)


@pytest.mark.parametrize("rate", [0.1, 1.0, 3.0, 700.0])
def test_over_a_long_time_as_many_pass_as_the_rate_says(rate: float) -> None:
    clock = Clock()
    limits = RateLimits(rate, 10, clock)
    passed = 0
    for _ in range(4000):
        clock.now += 0.25 / rate  # four times as often as allowed
        passed += limits.take("a") == 0.0
    assert 1000 + 10 - 1 <= passed <= 1000 + 10


def test_who_comes_back_after_the_named_wait_passes() -> None:
    clock = Clock()
    limits = RateLimits(7.0, 1, clock)
    for _ in range(1000):
        assert limits.take("a") == 0.0
        clock.now += limits.take("a")


def test_a_client_does_not_pay_for_another_and_rest_fills_no_more_than_the_burst() -> None:
    clock = Clock()
    limits = RateLimits(1.0, 2, clock)
    assert [limits.take("a") > 0 for _ in range(3)] == [False, False, True]
    assert limits.take("b") == 0.0
    clock.now += 1e6
    assert [limits.take("a") > 0 for _ in range(3)] == [False, False, True]


def test_memory_is_bounded_and_who_keeps_asking_is_not_forgotten() -> None:
    clock = Clock()
    limits = RateLimits(0.001, 1, clock, remembered=100)
    limits.take("greedy")
    for number in range(10_000):
        limits.take(str(number))
        assert limits.take("greedy") > 0
    assert len(limits) == 100


def test_an_ipv6_network_is_one_client_and_a_mapped_ipv4_address_is_itself() -> None:
    assert client_address("192.0.2.7") == client_address("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_address("2001:db8:1:2::3") == client_address("2001:db8:1:2:ffff::4%eth0") == "2001:db8:1:2::/64"
    assert client_address("2001:db8:1:3::3") != client_address("2001:db8:1:2::3")
    assert [client_address(peer) for peer in ("", "unix:", "a:b\0")] == ["", "unix:", "a:b\0"]
