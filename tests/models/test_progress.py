"""The speed that people are shown while weights come."""

from __future__ import annotations

import pytest

from candide.models.progress import Meter, Progress, format_size

MB = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Pull:
    """A meter, the clock it reads, and what it told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[Progress] = []
        self.meter = Meter(self.told.append, "somewhere", clock=self.clock)
        self.meter.total = 1000 * MB

    def pass_time(self, seconds: float, bytes_per_second: float = 0.0) -> None:
        for _ in range(round(seconds / 0.125)):
            self.clock.now += 0.125
            self.meter.advance(self.meter.done + round(bytes_per_second * 0.125))

    @property
    def speed(self) -> float:
        return self.told[-1].bytes_per_second


def test_speed_is_that_of_the_last_seconds() -> None:
    pull = Pull()
    pull.meter.enter("downloading")
    pull.pass_time(10, 2 * MB)
    pull.pass_time(6, 8 * MB)
    assert pull.speed == pytest.approx(8 * MB)


def test_looking_for_the_next_part_does_not_count_as_slowness() -> None:
    pull = Pull()
    for _ in range(22):
        pull.meter.enter("downloading")
        pull.pass_time(1.5)  # pip starts and reads the index
        pull.pass_time(1, 10 * MB)
        pull.meter.enter("unpacking")
        assert pull.speed == pytest.approx(10 * MB)
    pull.meter.enter("downloading")
    assert pull.speed == pytest.approx(10 * MB), "a new part is not a new connection"
    pull.pass_time(30)
    assert pull.speed == pytest.approx(10 * MB)


def test_a_stream_in_bursts_is_as_slow_as_it_is() -> None:
    pull = Pull()
    pull.meter.enter("downloading")
    for _ in range(20):
        pull.pass_time(0.125, 8 * MB)
        pull.pass_time(0.875)
    pull.pass_time(0.125, 8 * MB)
    assert pull.speed == pytest.approx(MB, rel=0.25)


def test_waiting_has_no_speed_and_reading_the_disk_none_of_the_network() -> None:
    pull = Pull()
    pull.meter.enter("checking")
    pull.pass_time(2, 100 * MB)
    pull.meter.enter("downloading")
    assert pull.speed == 0
    pull.pass_time(2, 5 * MB)
    assert pull.speed == pytest.approx(5 * MB)
    pull.meter.enter("waiting", "the connection was cut; trying again")
    assert pull.speed == 0


def test_bytes_that_are_unpacked_are_counted_once() -> None:
    pull = Pull()
    pull.meter.enter("downloading")
    pull.pass_time(2, 10 * MB)
    pull.meter.enter("unpacking")
    pull.clock.now += 1
    pull.meter.advance(5 * MB)
    assert pull.told[-1].done == 20 * MB
    assert pull.speed == pytest.approx(10 * MB)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0.0 MB"), (98_362_432, "98.4 MB"), (999_949_999, "999.9 MB"), (1_117_320_768, "1.1 GB")],
)
def test_sizes_are_decimal(count: int, text: str) -> None:
    assert format_size(count) == text
