"""Events: what this process has counted of its own work, in one dictionary, for whoever shows it, such as metrics.

Code counts with `COUNTS["refused", "busy"] += 1`: that calls no function, and takes 0.05 µs whether anybody shows the
numbers or not. Keys are pairs of an event and a label. Labels are words of the code or small numbers, never parts of a
request, so the dictionary stays small.
"""

from collections import defaultdict

COUNTS: defaultdict[tuple[str, str | int], float] = defaultdict(float)
"""How often each event has happened, or how many seconds it has taken, since the process started."""
GAUGES: dict[tuple[str, str], float] = {}
"""What was measured last, by the name of the measure and what it was measured of."""
