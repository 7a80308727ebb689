"""Figures of multiprocessing.Semaphore, in nanoseconds, as one line of JSON."""

import json
import multiprocessing
import time

ROUNDS = 5_000


def two_calls(semaphore, n):
    begin = time.perf_counter()
    for _ in range(n):
        semaphore.acquire()
        semaphore.release()
    return (time.perf_counter() - begin) / n * 1e9


def with_statement(semaphore, n):
    begin = time.perf_counter()
    for _ in range(n):
        with semaphore:
            pass
    return (time.perf_counter() - begin) / n * 1e9


def answer(ping, pong):
    for _ in range(ROUNDS):
        ping.acquire()
        pong.release()


def turns(ping, pong):
    p = multiprocessing.Process(target=answer, args=(ping, pong))
    p.start()
    ping.release()  # until it has started
    pong.acquire()
    begin = time.perf_counter()
    for _ in range(ROUNDS - 1):
        ping.release()
        pong.acquire()
    taken = time.perf_counter() - begin
    p.join()
    return taken / (ROUNDS - 1) * 1e9


if __name__ == "__main__":
    semaphore = multiprocessing.Semaphore(3)
    print(json.dumps({
        "python semaphore": two_calls(semaphore, 200_000),
        "python with semaphore": with_statement(semaphore, 200_000),
        "python turns": turns(multiprocessing.Semaphore(0), multiprocessing.Semaphore(0)),
    }))
