"""Figures of multiprocessing.Pool and ProcessPoolExecutor with two workers, in nanoseconds, as one line of JSON."""

import array
import concurrent.futures
import json
import multiprocessing
import time


def same(n):
    return n


def timed(n, f):
    begin = time.perf_counter()
    f()
    return (time.perf_counter() - begin) / n * 1e9


def submit_all(executor, n):
    for f in [executor.submit(same, i) for i in range(n)]:
        f.result()


def apply_each(pool, n):
    for i in range(n):
        pool.apply(same, (i,))


if __name__ == "__main__":
    found = {}
    with multiprocessing.Pool(2) as pool:
        pool.map(same, range(100))
        found["python map 1"] = timed(20_000, lambda: pool.map(same, range(20_000), chunksize=1))
        numbers = list(range(1_000_000))
        found["python map"] = timed(1_000_000, lambda: pool.map(same, numbers))
        found["python imap"] = timed(20_000, lambda: list(pool.imap(same, range(20_000))))
        floats = array.array("d", [i / 3 for i in range(100_000)])
        found["python floats"] = timed(20, lambda: [pool.apply(same, (floats,)) for _ in range(20)])
        found["python apply"] = timed(3_000, lambda: apply_each(pool, 3_000))
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        submit_all(executor, 100)
        found["python submit"] = timed(20_000, lambda: submit_all(executor, 20_000))
    print(json.dumps(found))
