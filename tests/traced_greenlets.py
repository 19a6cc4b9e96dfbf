"""A faster dictionary of greenlets for coverage.py, which looks up the current greenlet at each call and each return.

coverage.py makes a `WeakKeyDictionary` for each thread, which takes a quarter of the processor time of traced tests.
Its callback was also seen to hang, in Python 3.11: when a thread ends, its main greenlet is freed in a pending call of
the interpreter, where the traced callback repeated its first instruction for ever, probably because another thread had
ended at that moment.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from coverage.collector import Collector

MIN_SIZE = 1000
"""Finished greenlets are removed when a dictionary has at least this number."""


SLOW = weakref.WeakKeyDictionary
LOCK = threading.RLock()
"""Held while `weakref.WeakKeyDictionary` is replaced, because threads may start at the same time."""


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
    """Replace the dictionary of greenlets in all tracers of coverage.py that start later.

    The first event makes the dictionary. In the main thread it is the end of `_start_tracer`; in others,
    `_installation_trace` passes it on.
    """
    for name in ("_start_tracer", "_installation_trace"):
        setattr(Collector, name, with_fast_dictionary(getattr(Collector, name)))


def with_fast_dictionary(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, during which this thread gets `Greenlets` in place of an empty `WeakKeyDictionary`."""

    def wrapped(*arguments: Any) -> Any:
        thread = threading.get_ident()

        def dictionary(*content: Any) -> Any:
            return Greenlets() if threading.get_ident() == thread and not content else SLOW(*content)

        with LOCK, patch.object(weakref, "WeakKeyDictionary", dictionary):
            return function(*arguments)

    return wrapped
