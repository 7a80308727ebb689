"""Figures of multiprocessing.Value, in nanoseconds, as one line of JSON."""

import json
import multiprocessing
import time


def update(n=100_000):
    v = multiprocessing.Value("q", 0)
    begin = time.perf_counter()
    for _ in range(n):
        with v.get_lock():
            v.value += 1
    return (time.perf_counter() - begin) / n * 1e9


def update_object(n=100_000):
    """The same without the lock that every access to v.value takes once more."""
    v = multiprocessing.Value("q", 0)
    lock, number = v.get_lock(), v.get_obj()
    begin = time.perf_counter()
    for _ in range(n):
        with lock:
            number.value += 1
    return (time.perf_counter() - begin) / n * 1e9


if __name__ == "__main__":
    print(json.dumps({"python update": update(), "python update object": update_object()}))
