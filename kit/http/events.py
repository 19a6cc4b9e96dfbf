"""Events: counters and gauges of this process, which an optional package such as `kit.metrics` exports.

To count an event, write `COUNTS["refused", "busy"] += 1`. It takes 0.05 µs, with or without metrics. A key is an event
and a label. Labels are constants in the code or small numbers, never parts of a request, so the number of keys is
bounded.
"""

from collections import defaultdict

COUNTS: defaultdict[tuple[str, str | int], float] = defaultdict(float)
"""By event and label, the number of occurrences, or the total of seconds, since the process started."""
GAUGES: dict[tuple[str, str], float] = {}
"""By the name of a gauge and a label (such as a server), the latest value."""
