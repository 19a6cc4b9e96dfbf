"""Coverage plugin: measures the same lines and branches with less processor time, in processes of xdist.

It was half of the time of `make check`. Nothing is lost: what a worker imports, the first worker imports as well; and a
greenlet keeps its own stack of calls.
"""

import weakref
from collections.abc import Generator

import pytest
from coverage import Coverage
from coverage.collector import Collector
from greenlet import greenlet  # type: ignore[import-untyped]

MANY = 1000
"""From so many greenlets on, those that have ended are forgotten."""


class Stacks(dict[greenlet, int]):
    """The number of the stack of calls of each greenlet, which coverage looks up at each call and each return.

    Its own choice is a `WeakKeyDictionary`, which is written in Python: it took a quarter of the time of traced tests.
    """

    def __setitem__(self, key: greenlet, number: int) -> None:
        if len(self) >= MANY:
            for ended in [known for known in self if getattr(known, "dead", False)]:
                del self[ended]
        super().__setitem__(key, number)


def nothing() -> None:
    """Be called: the first call makes the tracer create its dictionary."""


WEAK = weakref.WeakKeyDictionary
start_tracer = Collector._start_tracer


def start_cheap_tracer(collector: Collector) -> object:
    try:
        weakref.WeakKeyDictionary = Stacks  # type: ignore[misc, assignment]
        started = start_tracer(collector)
        nothing()
    finally:  # its own, whatever another thread, which also starts a tracer, has put there
        weakref.WeakKeyDictionary = WEAK  # type: ignore[misc]
    return started


Collector._start_tracer = start_cheap_tracer  # type: ignore[method-assign, assignment]


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Measure in the first worker alone what importing all tests covers: each worker imports the same."""
    measurement = Coverage.current()
    if measurement is None or getattr(session.config, "workerinput", {"workerid": "gw0"})["workerid"] == "gw0":
        return (yield)
    measurement.stop()
    try:
        return (yield)
    finally:
        measurement.start()
