"""Times multiprocessing.Pipe between two processes.

pipe.py WHAT N   does one thing N times and prints the seconds it took: bytes (round trips of 64 bytes), objects (round
                 trips of a small dict), stream (messages of 1 MiB one way), oneway (the same through a
                 pipe that has one way only).
pipe.py          does all of it, in seven rounds each, and prints the medians as one line of JSON: microseconds per round
                 trip, and GB/s.
"""

import json
import statistics
import sys
import time
from multiprocessing import Pipe, Process

MESSAGE = {"ID": 1, "Name": "something", "Values": [1, 2, 3]}


def echo_bytes(c):
    while True:
        c.send_bytes(c.recv_bytes())


def echo_objects(c):
    while True:
        c.send(c.recv())


def sink(c):
    while True:
        if not c.recv_bytes():
            c.send_bytes(b"")


def bytes_round_trips(c, n):
    m = bytes(64)
    for _ in range(n):
        c.send_bytes(m)
        c.recv_bytes()


def object_round_trips(c, n):
    for _ in range(n):
        c.send(MESSAGE)
        c.recv()


def stream(c, n):
    m = bytes(1 << 20)
    for _ in range(n):
        c.send_bytes(m)
    c.send_bytes(b"")
    c.recv_bytes()


def sink_of(r, done):
    while True:
        if not r.recv_bytes():
            done.send_bytes(b"")


def one_way(w, n, done):
    m = bytes(1 << 20)
    for _ in range(n):
        w.send_bytes(m)
    w.send_bytes(b"")
    done.recv_bytes()


def run_one_way(n, rounds):
    r, w = Pipe(duplex=False)
    done, says = Pipe(duplex=False)
    p = Process(target=sink_of, args=(r, says), daemon=True)
    p.start()
    one_way(w, 10, done)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        one_way(w, n, done)
        seconds.append(time.perf_counter() - start)
    p.kill()
    p.join()
    return statistics.median(seconds)


KINDS = {"bytes": (echo_bytes, bytes_round_trips), "objects": (echo_objects, object_round_trips), "stream": (sink, stream)}


def run(what, n, rounds):
    if what == "oneway":
        return run_one_way(n, rounds)
    target, drive = KINDS[what]
    ours, theirs = Pipe()
    p = Process(target=target, args=(theirs,), daemon=True)
    p.start()
    theirs.close()
    drive(ours, 10)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        drive(ours, n)
        seconds.append(time.perf_counter() - start)
    p.kill()
    p.join()
    return statistics.median(seconds)


def main():
    if len(sys.argv) == 3:
        print(run(sys.argv[1], int(sys.argv[2]), 1))
        return
    print(json.dumps({
        "bytes_us": run("bytes", 5000, 7) / 5000 * 1e6,
        "objects_us": run("objects", 5000, 7) / 5000 * 1e6,
        "stream_gb_s": 500 * (1 << 20) / 1e9 / run("stream", 500, 7),
        "oneway_gb_s": 500 * (1 << 20) / 1e9 / run("oneway", 500, 7),
    }))


if __name__ == "__main__":
    main()
