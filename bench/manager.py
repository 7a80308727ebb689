"""Figures of multiprocessing.Manager().dict(), in nanoseconds, as one line of JSON."""

import json
import multiprocessing
import time


def per_call(n, f):
    begin = time.perf_counter()
    for i in range(n):
        f(i)
    return (time.perf_counter() - begin) / n * 1e9


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        d = manager.dict()
        print(json.dumps({
            "python set": per_call(5_000, lambda i: d.__setitem__("key", i)),
            "python get": per_call(5_000, lambda i: d["key"]),
        }))
