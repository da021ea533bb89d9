"""What the tests of the shoal command share: a store to train on, a folder for each test, ways to run it and to wait.

A test file ends with support.main() and is called as X_test.py SHOAL [TEST...]: SHOAL is the command to test.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

SHOAL = ""
ROOT = pathlib.Path(__file__).resolve().parents[2]

RECIPE = """\
[model]
name = "gpt"
layers = 1
width = 32
heads = 2
context = 16

[data]
source = "store"
path = "store"

[train]
steps = 12
global_batch = 12
microbatches = 6

[optimizer]
lr = 1e-2
warmup_steps = 2
clip_norm = 1.0

[checkpoint]
every = 4

[validation]
every = 6
samples = 8
"""


def run(*arguments, cwd, seconds=60):
    """The command's end: returncode, stdout, stderr."""
    return subprocess.run([SHOAL, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=seconds)


def children(pid):
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def metrics(out):
    path = pathlib.Path(out) / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class CommandBase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base = pathlib.Path(tempfile.mkdtemp(prefix="shoal-command-"))
        text = cls.base / "text"
        text.mkdir()
        for i in range(40):
            (text / f"{i}.txt").write_text("".join(f"line {j} of file {i}: the quick brown fox\n" for j in range(20)))
        (cls.base / "data.toml").write_text('inputs = ["text"]\nout = "store"\n')
        made = run("data", "data.toml", cwd=cls.base)
        assert made.returncode == 0, made.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.base)

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=self.base))
        (self.folder / "store").symlink_to(self.base / "store")
        (self.folder / "r.toml").write_text(RECIPE)

    def shoal(self, *arguments, **options):
        return run(*arguments, cwd=self.folder, **options)

    def train(self, *arguments):
        """A training that must succeed."""
        done = self.shoal("train", "r.toml", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def content_hash(self, path):
        done = self.shoal("checkpoint", "hash", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def assert_refused(self, arguments, sentence, code=2):
        done = self.shoal(*arguments)
        self.assertEqual((done.returncode, done.stderr), (code, f"shoal: {sentence}\n"))

    def start(self, *arguments):
        """A long training in the background."""
        process = subprocess.Popen([SHOAL, "train", "r.toml", "--set", "train.steps=1000000", "--set", "checkpoint.every=10", *arguments],
                                   cwd=self.folder, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def wait_for_step(self, out, step):
        wait_for(lambda: len((self.folder / out / "metrics.jsonl").read_text().splitlines()) >= step
                 if (self.folder / out / "metrics.jsonl").exists() else False)


def main():
    global SHOAL
    SHOAL = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
