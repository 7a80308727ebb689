"""Percentiles of single round trips with multiprocessing, in nanoseconds, as one line of JSON."""

import json
import multiprocessing
import time

SIZES = ((8, 3_000), (4 << 10, 3_000), (1 << 20, 150))


def time_each(name, n, f):
    for _ in range(n // 10 + 1):
        f()
    took = []
    begin = last = time.perf_counter_ns()
    for _ in range(n):
        f()
        now = time.perf_counter_ns()
        took.append(now - last)
        last = now
    took.sort()
    return {
        name: (last - begin) / n,
        f"{name} p50": took[n // 2],
        f"{name} p99": took[n * 99 // 100],
        f"{name} worst": took[-1],
    }


def answer_queue(there, back):
    while (m := there.get()) is not None:
        back.put(m)


def queue_trips(size, n):
    there, back = multiprocessing.SimpleQueue(), multiprocessing.SimpleQueue()
    p = multiprocessing.Process(target=answer_queue, args=(there, back))
    p.start()
    message = bytes(size)

    def trip():
        there.put(message)
        back.get()

    found = time_each(f"python queue {size}", n, trip)
    there.put(None)
    p.join()
    return found


def answer_pipe(c):
    try:
        while True:
            c.send_bytes(c.recv_bytes())
    except EOFError:
        pass


def pipe_trips(size, n):
    mine, theirs = multiprocessing.Pipe()
    p = multiprocessing.Process(target=answer_pipe, args=(theirs,), daemon=True)
    p.start()
    theirs.close()
    message = bytes(size)

    def trip():
        mine.send_bytes(message)
        mine.recv_bytes()

    found = time_each(f"python pipe {size}", n, trip)
    p.kill()
    p.join()
    return found


def same(n):
    return n


if __name__ == "__main__":
    found = {}
    for size, n in SIZES:
        found |= queue_trips(size, n)
        found |= pipe_trips(size, n)
    with multiprocessing.Manager() as manager:
        d = manager.dict()
        found |= time_each("python set", 3_000, lambda: d.__setitem__("key", 1))
        found |= time_each("python get", 3_000, lambda: d["key"])
    with multiprocessing.Pool(2) as pool:
        found |= time_each("python apply", 3_000, lambda: pool.apply(same, (1,)))
    print(json.dumps(found))
