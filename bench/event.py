"""Figures of multiprocessing.Event, in nanoseconds, as one line of JSON."""

import json
import multiprocessing
import time


def per_call(f, n):
    begin = time.perf_counter()
    for _ in range(n):
        f()
    return (time.perf_counter() - begin) / n * 1e9


if __name__ == "__main__":
    event = multiprocessing.Event()
    pair = per_call(event.set, 50_000)
    print(json.dumps({
        "python is_set": per_call(event.is_set, 50_000),
        "python wait": per_call(event.wait, 50_000),
        "python set clear": pair + per_call(event.clear, 50_000),
    }))
