"""Private memory of a multiprocessing.Process that waits, in KiB, as one line of JSON."""

import json
import multiprocessing


def wait(here):
    here.send_bytes(b"ready")
    here.recv_bytes()


def private_memory(method):
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    p = context.Process(target=wait, args=(there,))
    p.start()
    here.recv_bytes()
    with open(f"/proc/{p.pid}/smaps_rollup") as f:
        kib = sum(int(line.split()[1]) for line in f if line.startswith("Private_"))
    here.send_bytes(b"end")
    p.join()
    return kib


if __name__ == "__main__":
    print(json.dumps({"python spawn": private_memory("spawn"), "python fork": private_memory("fork")}))
