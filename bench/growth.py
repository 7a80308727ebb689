"""How costs of multiprocessing grow, in nanoseconds, as one line of JSON.

growth.py WHAT   messages (by size), locks, queues, managers (by the number of processes), pools (by workers and chunks), keys.
"""

import json
import multiprocessing
import random
import sys
import time

SIZES = (8, 64, 512, 4 << 10, 32 << 10, 256 << 10, 1 << 20)
CROWDS = (1, 2, 4, 8)
BATCHES = (1, 4, 16, 64, 256, 1024)
KEYS = (1, 1000, 30_000, 1_000_000)


def put_all(q, message, n):
    for _ in range(n):
        q.put(message)


def send_all(c, message, n):
    for _ in range(n):
        c.send_bytes(message)


def per_message(send, there, receive, size):
    n = max(50, min(10_000, (16 << 20) // size))
    p = multiprocessing.Process(target=send, args=(there, bytes(size), n))
    p.start()
    receive()
    begin = time.perf_counter()
    for _ in range(n - 1):
        receive()
    taken = time.perf_counter() - begin
    p.join()
    return taken / (n - 1) * 1e9


def messages():
    found = {}
    for size in SIZES:
        q = multiprocessing.Queue()
        found[f"python queue size {size}"] = per_message(put_all, q, q.get, size)
        r, w = multiprocessing.Pipe(duplex=False)
        found[f"python pipe size {size}"] = per_message(send_all, w, r.recv_bytes, size)
    return found


def member(f, args, n, barrier, times, index):
    f(*args, 1)
    barrier.wait()
    begin = time.monotonic()
    f(*args, n)
    times[2 * index : 2 * index + 2] = begin, time.monotonic()


def together(members, n):
    """Has each of these begin at the same time: the time from the first one's beginning to the last one's end, for each of n things."""
    barrier = multiprocessing.Barrier(len(members))
    times = multiprocessing.RawArray("d", 2 * len(members))
    ps = [
        multiprocessing.Process(target=member, args=(f, args, k, barrier, times, i))
        for i, (f, args, k) in enumerate(members)
    ]
    for p in ps:
        p.start()
    for p in ps:
        p.join()
    return (max(times[1::2]) - min(times[::2])) / n * 1e9


def fight(lock, count, n):
    for _ in range(n):
        with lock:
            count.value += 1


def locks():
    lock, count = multiprocessing.Lock(), multiprocessing.RawValue("q", 0)
    n = 40_000
    return {f"python lock crowd {k}": together([(fight, (lock, count), n // k)] * k, n) for k in CROWDS}


def put(q, n):
    for _ in range(n):
        q.put(b"12345678")


def get(q, n):
    for _ in range(n):
        q.get()


def queues():
    found = {}
    n = 16_000
    for k in CROWDS:
        q = multiprocessing.Queue()
        found[f"python queue crowd {k}"] = together([(put, (q,), n // k), (get, (q,), n // k)] * k, n)
    return found


def get_key(d, n):
    for _ in range(n):
        d["key"]


def managers():
    n = 8_000
    with multiprocessing.Manager() as manager:
        d = manager.dict(key=1)
        return {f"python manager crowd {k}": together([(get_key, (d,), n // k)] * k, n) for k in CROWDS}


def same(n):
    return n


def pools():
    found = {}
    for workers in CROWDS:
        with multiprocessing.Pool(workers) as pool:
            pool.map(same, range(100))

            def per_task(n, chunk):
                numbers = list(range(n))
                begin = time.perf_counter()
                pool.map(same, numbers, chunksize=chunk)
                return (time.perf_counter() - begin) / n * 1e9

            found[f"python pool workers {workers}"] = per_task(5_000, 1)
            if workers == 2:
                for chunk in BATCHES:
                    found[f"python pool batch {chunk}"] = per_task(min(100_000, 5_000 * chunk), chunk)
    return found


def keys():
    found = {}
    with multiprocessing.Manager() as manager:
        for k in KEYS:
            d = manager.dict()
            d.update({f"key:{i}": i for i in range(k)})
            wanted = [f"key:{random.randrange(k)}" for _ in range(3_000)]
            begin = time.perf_counter()
            for key in wanted:
                d[key]
            found[f"python dict keys {k}"] = (time.perf_counter() - begin) / len(wanted) * 1e9
    return found


if __name__ == "__main__":
    print(json.dumps({f.__name__: f for f in (messages, locks, queues, managers, pools, keys)}[sys.argv[1]]()))
