"""Events: counters and gauges of this process, which a wing such as metrics exports.

Code counts with `COUNTS["refused", "busy"] += 1`: that calls no function, and takes 0.05 µs with or without metrics.
Keys are pairs of an event and a label. Labels are words of the code or small numbers, never parts of a request, so the
dictionary stays small.
"""

from collections import defaultdict

COUNTS: defaultdict[tuple[str, str | int], float] = defaultdict(float)
"""How often each event has happened, or how many seconds it has taken, since the process started."""
GAUGES: dict[tuple[str, str], float] = {}
"""The latest measurements, by the name of the measure and the measured object."""
