"""The job of `demo logstats` with concurrent.futures: one task per file.

python3 logstats.py FILE... prints the same JSON as `demo logstats --json FILE...`.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor


def count(name):
    visits = 0
    clients = set()
    with open(name, "rb") as log:
        for line in log:
            fields = line.split(None, 1)
            if fields:
                visits += 1
                clients.add(fields[0].split(b",", 1)[0])
    return {"file": name, "visits": visits, "clients": len(clients)}


def main():
    with ProcessPoolExecutor() as pool:
        json.dump({"files": list(pool.map(count, sys.argv[1:]))}, sys.stdout)
        print()


if __name__ == "__main__":
    main()
