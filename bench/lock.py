"""Figures of multiprocessing.Lock, in nanoseconds, as one line of JSON."""

import json
import multiprocessing
import time


def with_statement(lock, n):
    begin = time.perf_counter()
    for _ in range(n):
        with lock:
            pass
    return (time.perf_counter() - begin) / n * 1e9


def two_calls(lock, n):
    begin = time.perf_counter()
    for _ in range(n):
        lock.acquire()
        lock.release()
    return (time.perf_counter() - begin) / n * 1e9


if __name__ == "__main__":
    lock = multiprocessing.Lock()
    print(json.dumps({
        "python with": with_statement(lock, 200_000),
        "python calls": two_calls(lock, 200_000),
    }))
