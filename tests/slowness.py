"""How long others may wait for an event loop, on a machine as slow as the one the tests run on."""

import timeit

SECONDS = 3.0
COUNTS = 100


def longest_gap() -> float:
    """Return three seconds, since other tests keep the machine busy, or on a slow machine the time
    in which it counts to this many millions. What the tests guard against froze a service for
    longer."""
    return max(SECONDS, COUNTS * timeit.timeit("for _ in range(1_000_000): pass", number=1))
