# Prints the public names of multiprocessing and concurrent.futures, one a line: "name MODULE NAME" and, for what a class of these
# modules adds to its bases from elsewhere, "method MODULE CLASS.NAME".
import concurrent.futures
import importlib
import inspect
import multiprocessing
import pkgutil
import sys

# Newer versions than the one that the page was checked against add internals, which nobody writes programs with. What they make public counts.
with_internals = sys.version_info[:2] <= (3, 11)


def modules():
    for package in multiprocessing, concurrent.futures:
        yield package
        for m in pkgutil.iter_modules(package.__path__):
            if not m.name.startswith(("_", "popen_")):  # what runs on another platform
                yield importlib.import_module(package.__name__ + "." + m.name)


def names(module):
    public = [n for n in getattr(module, "__all__", ()) if not n.startswith("_")]
    if with_internals or not public:
        for n, v in vars(module).items():
            if not n.startswith("_") and not inspect.ismodule(v) and getattr(v, "__module__", module.__name__) == module.__name__:
                public.append(n)
    return sorted(set(public))


def ours(cls):
    return cls.__module__.partition(".")[0] in ("multiprocessing", "concurrent")


# Some methods are there in instances only.
made = [multiprocessing.Lock(), multiprocessing.RLock(), multiprocessing.Semaphore(), multiprocessing.Condition(), multiprocessing.Event(),
        multiprocessing.Barrier(1), multiprocessing.Value("i"), multiprocessing.Array("i", 1)]
instances = {}
for i in made:
    instances.setdefault(type(i), i)

for module in modules():
    for name in names(module):
        print("name", module.__name__, name)
        cls = getattr(module, name)
        if not inspect.isclass(cls) or not ours(cls):
            continue
        methods = {n: c for c in reversed(cls.__mro__) if ours(c) for n in vars(c)}
        methods.update({n: cls for n in vars(instances.get(cls, object)) if cls in instances})
        for n, c in sorted(methods.items()):
            if not n.startswith("_"):
                # Executors have their methods from a hidden module, and are documented in the package.
                home = "concurrent.futures" if c.__module__.startswith("concurrent.futures.") else c.__module__
                print("method", home, c.__name__ + "." + n)
