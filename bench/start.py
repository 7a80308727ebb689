"""Start and join of a process that does nothing, in nanoseconds, as one line of JSON."""

import json
import multiprocessing
import time


def nothing():
    pass


def start_and_join(method, n):
    context = multiprocessing.get_context(method)

    def once():
        p = context.Process(target=nothing)
        p.start()
        p.join()

    once()  # with the first one start the fork server and the resource tracker, too
    begin = time.perf_counter()
    for _ in range(n):
        once()
    return (time.perf_counter() - begin) / n * 1e9


if __name__ == "__main__":
    print(json.dumps({
        "python spawn": start_and_join("spawn", 5),
        "python fork": start_and_join("fork", 50),
        "python forkserver": start_and_join("forkserver", 20),
    }))
