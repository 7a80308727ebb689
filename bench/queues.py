"""Figures of multiprocessing.Queue between two processes, in nanoseconds, as one line of JSON."""

import json
import multiprocessing
import time

PAIR = (1, 2)
RECORD = {"ID": 1, "Name": "something", "Values": [1, 2, 3]}


def produce(q, ready, message, n):
    ready.wait()
    for _ in range(n):
        q.put(message)


def stream(message, n):
    q = multiprocessing.Queue()
    ready = multiprocessing.Event()
    p = multiprocessing.Process(target=produce, args=(q, ready, message, n))
    p.start()
    ready.set()
    q.get()
    begin = time.perf_counter()
    for _ in range(n - 1):
        q.get()
    elapsed = time.perf_counter() - begin
    p.join()
    return elapsed / (n - 1) * 1e9


def echo(there, back):
    while True:
        m = there.get()
        if m is None:
            return
        back.put(m)


def round_trip(n):
    there, back = multiprocessing.SimpleQueue(), multiprocessing.SimpleQueue()
    p = multiprocessing.Process(target=echo, args=(there, back))
    p.start()
    for _ in range(10):  # until it has started
        there.put(PAIR)
        back.get()
    begin = time.perf_counter()
    for _ in range(n):
        there.put(PAIR)
        back.get()
    elapsed = time.perf_counter() - begin
    there.put(None)
    p.join()
    return elapsed / n * 1e9


if __name__ == "__main__":
    print(json.dumps({
        "python pair": stream(PAIR, 30_000),
        "python record": stream(RECORD, 30_000),
        "python round trip": round_trip(5_000),
    }))
