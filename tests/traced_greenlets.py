"""A faster dictionary of greenlets for coverage.py, which looks up the current greenlet at each call and each return.

coverage.py makes a `WeakKeyDictionary` for each thread, which takes a quarter of the processor time of traced tests.
Its callback was also seen to hang, in Python 3.11: when a thread ends, its main greenlet is freed in a pending call of
the interpreter, where the traced callback repeated its first instruction for ever, probably because another thread had
ended at that moment.
"""

import threading
import weakref
from typing import Any

from coverage.collector import Collector

MIN_SIZE = 1000
"""The number of greenlets from which on finished ones are removed."""


class Greenlets(dict[Any, int]):
    """The greenlets of one thread, each with the number of its stack. Finished ones are removed from time to time."""

    def __init__(self) -> None:
        super().__init__()
        self.max_size, self.main = MIN_SIZE, None

    def __setitem__(self, greenlet: Any, number: int) -> None:
        if not self:  # with one reference only, greenlet would search all objects for the owner when the thread ends
            self.main = greenlet
        if len(self) >= self.max_size:
            for finished in [other for other in self if other.dead]:
                del self[finished]
            self.max_size = 2 * len(self) + MIN_SIZE
        super().__setitem__(greenlet, number)


def install() -> None:
    """Let coverage.py use `Greenlets`, in tracers that start from now on."""
    start_tracer, slow = Collector._start_tracer, weakref.WeakKeyDictionary

    def start_with_fast_dictionary(collector: Collector) -> Any:
        """Start the tracer, which makes its dictionary at the first traced event: the end of `start_tracer`."""
        thread = threading.get_ident()

        def dictionary(*arguments: Any) -> Any:
            return slow(*arguments) if arguments or threading.get_ident() != thread else Greenlets()

        weakref.WeakKeyDictionary = dictionary  # type: ignore[assignment, misc]
        try:
            return start_tracer(collector)
        finally:
            weakref.WeakKeyDictionary = slow  # type: ignore[misc]

    Collector._start_tracer = start_with_fast_dictionary  # type: ignore[assignment, method-assign]
