"""A model that one device has no room for is described, initialised, trained, saved, loaded and trained on by four, none of which ever holds it whole.

The limit is the system's: RLIMIT_AS, on each process. It counts what a process maps, so its own share and, where it reads its peers' memory in place, theirs: weights,
4 bytes a parameter in all. Alone a device needs 16 and more."""
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import unittest

SHOAL = sys.argv.pop()
MIB = 1 << 20


def recipe(layers, width):
    return f"""[model]
name = "gpt"
vocabulary = 1024
layers = {layers}
width = {width}
heads = 8
context = 16
[data]
source = "random"
[train]
steps = 4
global_batch = 4
microbatches = 4
[layout]
devices = 1
[checkpoint]
every = 2
"""


def environment():
    # One heap for all threads: each further one would map 64 MiB that it does not use.
    return {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def mapped(pid):
    """The most that a process has mapped so far, in bytes."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmPeak"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def family(pid):
    found = [pid]
    try:
        for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += family(int(child))
    except OSError:
        pass
    return found


class MemoryLimit(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="shoal-memory-")))
        (self.folder / "small.toml").write_text(recipe(1, 64))
        (self.folder / "large.toml").write_text(recipe(8, 512))

    def train(self, name, *more, limit=None):
        """Exit code, what it said, and the most that one of its processes has mapped."""
        def set_limit():
            if limit:
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        command = [SHOAL, "train", str(self.folder / name), *more]
        with open(self.folder / "said", "w+") as said:
            process = subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=said, stderr=said, preexec_fn=set_limit)
            peak = 0
            while process.poll() is None:
                peak = max([peak, *(mapped(pid) for pid in family(process.pid))])
                time.sleep(0.01)
            said.seek(0)
            return process.returncode, said.read(), peak

    def hash(self, run):
        return subprocess.run([SHOAL, "checkpoint", "hash", str(self.folder / run / "checkpoints" / "latest")], env=environment(), capture_output=True, text=True, check=True).stdout

    def test_four_devices_train_what_one_cannot(self):
        code, said, base = self.train("small.toml", "--out", "small")
        self.assertEqual(code, 0, said)
        parameters = 8 * 12 * 512 * 512 + 2 * 1024 * 512  # and some vectors
        limit = base + 12 * parameters

        code, said, alone = self.train("large.toml", "--out", "free")
        self.assertEqual(code, 0, said)
        code, said, _ = self.train("large.toml", "--out", "one", limit=limit)
        self.assertEqual(code, 1, said)
        self.assertEqual(len([line for line in said.splitlines() if "memory" in line]), 1, said)
        self.assertNotIn("terminate", said)

        code, said, _ = self.train("large.toml", "--out", "four", "--layout", "dp=4,zero=3", "--until", "2", limit=limit)
        self.assertEqual(code, 0, said)
        code, said, peak = self.train("large.toml", "--out", "four", "--resume", "--layout", "dp=4,zero=3", limit=limit)
        self.assertEqual(code, 0, said)
        self.assertEqual(self.hash("four"), self.hash("free"))
        print(f"limit {limit // MIB} MiB mapped: {base // MIB} for a program with a small model, and 12 bytes for each of {parameters / 1e6:.1f} M parameters; "
              f"one device needs {alone // MIB}, each of four with zero=3 {peak // MIB}")


if __name__ == "__main__":
    unittest.main()
