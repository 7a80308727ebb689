"""A client of the manager's protocol in another language: what docs/protocol.md says, and the standard library.

TestClientInPython runs it with the port and the key of a server.
"""

import hashlib
import hmac
import os
import socket
import struct
import sys

# CBOR, as much of it as the protocol has, and maps and floats for values.


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for info, form in (24, ">B"), (25, ">H"), (26, ">I"), (27, ">Q"):
        if n < 1 << 8 * struct.calcsize(form):
            return bytes([major << 5 | info]) + struct.pack(form, n)
    raise OverflowError(n)


def encode(v):
    if v is None or v is True or v is False:
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[v]
    if isinstance(v, int):
        return head(0, v) if v >= 0 else head(1, -1 - v)
    if isinstance(v, bytes):
        return head(2, len(v)) + v
    if isinstance(v, str):
        return head(3, len(v.encode())) + v.encode()
    if isinstance(v, (list, tuple)):
        return head(4, len(v)) + b"".join(map(encode, v))
    if isinstance(v, dict):
        return head(5, len(v)) + b"".join(encode(k) + encode(x) for k, x in v.items())
    if isinstance(v, float):
        return b"\xfb" + struct.pack(">d", v)
    raise TypeError(v)


def item(b, at):
    """Returns the item that begins there, and where the next one does."""
    major, info = b[at] >> 5, b[at] & 31
    at += 1
    if major == 7:
        if info == 27:
            return struct.unpack_from(">d", b, at)[0], at + 8
        return {20: False, 21: True, 22: None}[info], at
    n = info
    if info >= 24:
        size = 1 << info - 24
        n, at = int.from_bytes(b[at : at + size], "big"), at + size
    if major == 0:
        return n, at
    if major == 1:
        return -1 - n, at
    if major == 2:
        return b[at : at + n], at + n
    if major == 3:
        return b[at : at + n].decode(), at + n
    if major == 6:
        return item(b, at)  # of a tag only what is tagged
    items = []
    for _ in range(n if major == 4 else 2 * n):
        x, at = item(b, at)
        items.append(x)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


def decode(b):
    v, at = item(b, 0)
    assert at == len(b), b
    return v


class Refused(Exception):
    pass


class Client:
    def __init__(self, port, key, name):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.last = 0
        self.replies = {}
        # Who connects is challenged first, and challenges then.
        sent = self.frame()
        assert sent[:11] == b"#CHALLENGE#" and sent[11:19] == b"{sha256}" and len(sent) == 11 + 8 + 40, sent
        self.send(b"{sha256}" + hmac.digest(key, sent[11:], "sha256"))
        if (said := self.frame()) != b"#WELCOME#":
            raise Refused(said)
        mine = b"{sha256}" + os.urandom(40)
        self.send(b"#CHALLENGE#" + mine)
        proved = hmac.compare_digest(self.frame(), b"{sha256}" + hmac.digest(key, mine, "sha256"))
        self.send(b"#WELCOME#" if proved else b"#FAILURE#")
        assert proved
        self.send(encode(["multiproc-manager", 1, 1, name]))
        hello = decode(self.frame())
        assert hello[:2] == ["multiproc-manager", 1] and len(hello[2]) == 16 and hello[3] > 0, hello

    def send(self, b):
        self.socket.sendall(struct.pack(">I", len(b)) + b)

    def read(self, n):
        b = b""
        while len(b) < n:
            more = self.socket.recv(n - len(b))
            if not more:
                raise EOFError
            b += more
        return b

    def frame(self):
        return self.read(struct.unpack(">I", self.read(4))[0])

    def ask(self, *request):
        self.last += 1
        self.send(encode([self.last, *request]))
        return self.last

    def tell(self, *request):
        self.send(encode([0, *request]))

    def reply(self, n):
        while n not in self.replies:
            r = decode(self.frame())
            if r[0] == 0:
                raise EOFError(r[2])
            self.replies[r[0]] = r[1:]
        r = self.replies.pop(n)
        if r[0] != 0:
            raise Refused(r)
        return r[1:]

    def do(self, *request):
        return self.reply(self.ask(*request))


def refused(code, f, *args):
    try:
        r = f(*args)
    except Refused as e:
        assert e.args[0][0] == code, e
        return
    raise AssertionError(r)


def step(word):
    """Says how far we are, and waits for the other program."""
    print(word, flush=True)
    sys.stdin.readline()


port, key = int(sys.argv[1]), sys.argv[2].encode()
try:
    Client(port, key + b"?", "stranger")
    raise AssertionError("let in with another key")
except Refused as e:
    assert e.args[0] == b"#FAILURE#", e

c = Client(port, key, "python")
assert c.do(1) == []
refused(10, c.do, 31)
refused(1, c.do, 33, 99, encode("x"))

# A dict of Go structs, which a Go program has made.
(people,) = c.do(5, "people", 1, "", False)
(ann,) = c.do(33, people, encode("ann"))
assert decode(ann) == {"Name": "Ann", "Age": 30, "Tags": ["a", "b"]}, decode(ann)
assert c.do(33, people, encode("bob")) == [None]
assert c.do(34, people, encode("bob"), encode({"Name": "Bob", "Age": 41, "Tags": None})) == []
assert [decode(x) for x in c.do(24, people, encode("ann"), 4, encode(1), encode("Age"))] == [31]
refused(11, c.do, 24, people, encode("ann"), 1, encode(100), encode("Age"))

# An update: the lease keeps every other change of the key waiting, our own too.
lease = c.ask(41, people, encode("ann"))
old = decode(c.reply(lease)[0])
other = c.ask(35, people, encode("ann"))
c.tell(0, other)
refused(6, c.reply, other)
old["Tags"].append("c")
assert c.do(42, lease, encode(old)) == []
refused(7, c.do, 42, lease, encode(old))
assert c.do(39, people, 0)[:2] == [0, encode("ann")]

# A list, a set, and a container in a container.
(lines,) = c.do(4, 2, "")
assert c.do(67, lines, encode("one"), encode("two")) == []
assert decode(c.do(65, lines, -1)[0]) == "two"
refused(3, c.do, 65, lines, 7)
(all,) = c.do(5, "all", 2, "", True)
assert c.do(67, all, [encode([1, 2, lines]), [lines]]) == []
value, ids = c.do(65, all, 0)[0]
assert decode(value) == [1, 2, lines] and ids == [lines]
c.tell(7, lines, 2)
refused(1, c.do, 64, lines)
(tags,) = c.do(5, "tags", 3, "", True)
assert c.do(97, tags, encode(1), encode(2), encode(1)) == [2] and c.do(99, tags, encode(2), encode(3)) == [True, False]

# A queue: a get that has to wait, one that is given up, and one without waiting.
(jobs,) = c.do(5, "jobs", 4, "", False)
assert c.do(133, jobs, 5) == [False]
get = c.ask(132, jobs, 5)
step("waiting")
waited, *got = c.reply(get)
assert waited and [decode(v) for v in got] == [{"Name": "job", "Age": 1, "Tags": []}], got
c.tell(17, get)
assert c.do(138, jobs) == []
refused(21, c.do, 138, jobs)
assert c.do(139, jobs) == []
get = c.ask(132, jobs, 1)
c.tell(16, get)
refused(6, c.reply, get)

# A watch.
(seen,) = c.do(5, "seen", 12, "", True)
watch = c.ask(19, seen)
assert c.reply(watch) == []
report = c.ask(20, watch, 0)
step("watching")
number, everything, name, now = c.reply(report)
assert not everything and name == b"" and decode(now) == 17, (everything, name, now)

# An array, whose values are what is said, and a value that is compared with.
(grid,) = c.do(4, 13, "", 3, encode(0))
assert c.do(391, grid, encode(0)) == [3] and c.do(393, grid, False) == []
assert c.do(26, grid, -1, encode(0), encode(5)) == [True] and c.do(26, grid, -1, encode(0), encode(5)) == [False]
assert c.do(387, grid) == [0, encode(0), encode(0), encode(5)]

# An object is offered, and claimed by another session, once. A message that this got and did not confirm is there again when it ends.
second = Client(port, key, "second")
(box,) = c.do(4, 4, "")
(token,) = c.do(8, box)
(theirs,) = second.do(9, token)
refused(1, second.do, 9, token)
get = second.ask(132, theirs, 1)
assert second.do(1) == []
assert c.do(130, box, encode("m")) == []
assert second.reply(get) == [True, encode("m")]
second.socket.close()
assert c.do(132, box, 1)[1:] == [encode("m")]

# What has a name. (The last page says 0.)
page = c.do(27)
names = [decode(n) for n in page[1:]]
assert page[0] == 0 and [n for n, _, _ in names] == ["all", "jobs", "lock", "people", "seen", "tags"], names
assert [n[1:] for n in names if n[0] in ("lock", "tags")] == [[5, "mutex"], [3, ""]], names

# A lock, with which we are killed.
(lock,) = c.do(5, "lock", 5, "", False)
held = c.ask(160, lock, 0)
fence, abandoned = c.reply(held)
assert fence > 0 and not abandoned
assert c.do(162, lock, held, False) == []
refused(17, c.do, 162, lock, held, False)
assert c.do(161, lock)[0] > fence and c.do(164, lock) == [True, False]
step("locked")
