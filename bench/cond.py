"""Figures of multiprocessing.Condition and Barrier, in nanoseconds, as one line of JSON."""

import json
import multiprocessing
import time


def take_turns(cond, whose, me, rounds):
    for _ in range(rounds):
        with cond:
            while whose.value != me:
                cond.wait()
            whose.value = 1 - me
            cond.notify()


def meet(barrier, rounds):
    for _ in range(rounds):
        barrier.wait()


def both(there, here, rounds):
    """Times what this process does together with another one."""
    child = multiprocessing.Process(target=there[0], args=(*there[1], rounds + 1))
    child.start()
    here[0](*here[1], 1)
    begin = time.perf_counter()
    here[0](*here[1], rounds)
    took = time.perf_counter() - begin
    child.join()
    return took / rounds * 1e9


def notify(cond, n):
    begin = time.perf_counter()
    for _ in range(n):
        with cond:
            cond.notify()
    return (time.perf_counter() - begin) / n * 1e9


if __name__ == "__main__":
    cond = multiprocessing.Condition()
    whose = multiprocessing.RawValue("q", 0)
    barrier = multiprocessing.Barrier(2)
    print(json.dumps({
        "python turns": both((take_turns, (cond, whose, 1)), (take_turns, (cond, whose, 0)), 5_000),
        "python barrier": both((meet, (barrier,)), (meet, (barrier,)), 5_000),
        "python notify": notify(cond, 50_000),
    }))
