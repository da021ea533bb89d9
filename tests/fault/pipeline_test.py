"""A device that dies in the middle of a pipeline ends the job: one sentence that names it, exit code 1, no process left, no hang.

pipeline_test.py SHOAL PIPELINE_PROGRAM [TEST...]. It measures the seconds from the death to the end of the job and prints them. The promise is 2; what fails
the test is SECONDS, a bound against hanging that a busy machine keeps."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
import support
from support import is_alive, wait_for

SECONDS = 10
PROGRAM = ""
LAYOUTS = {"pp=3": 3, "pp=3,schedule=zero_bubble": 3, "dp=2,pp=2": 4, "dp=2,pp=2,schedule=interleaved_1f1b:3": 4}


class Job:
    """A running pipeline whose device `rank` comes to `how` at its `call`-th call."""

    def __init__(self, layout, rank, how, call):
        self.process = subprocess.Popen([support.SHOAL, "run", "-n", str(LAYOUTS[layout]), PROGRAM, layout, str(rank), how, str(call)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self):
        """Waits for it. Returns exit code, what it said (first words to what follows them) and its errors."""
        try:
            out, errors = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, errors = self.process.communicate()
            errors += "(it did not end)"
        self.ended = time.monotonic()
        said = {}
        for line in out.splitlines():
            first, rest = line.split()
            said.setdefault(first, []).append(rest)
        return self.process.returncode, said, errors


class DeathInAPipeline(unittest.TestCase):
    def setUp(self):
        self.seconds = []  # of each death

    def tearDown(self):
        if self.seconds:
            print(f"{len(self.seconds)} deaths; seconds from death to the end of the job: median {sorted(self.seconds)[len(self.seconds) // 2]:.2f}, "
                  f"most {max(self.seconds):.2f}, {sum(each > 2 for each in self.seconds)} above 2", file=sys.stderr)

    def instants(self, layout):
        """By rank, calls to die at: early in the step, in its middle and the last. Forward of a later microbatch than the first, which is sent; the mixture
        of the schedule; the end of the last backward."""
        code, said, errors = Job(layout, 0, "none", 0).end()
        self.assertEqual((code, errors), (0, ""))
        calls = [int(said[f"calls_of_{rank}"][0]) for rank in range(LAYOUTS[layout])]
        self.assertGreaterEqual(min(calls), 12)
        return [(4, each // 2, each) for each in calls]

    def expect_the_end(self, job, sentence, since=None):
        code, said, errors = job.end()
        self.assertRegex(errors, rf"\Ashoal run: {sentence}\n\Z")
        self.assertEqual(code, 1)
        self.assertEqual([pid for pid in said["process"] if is_alive(pid)], [])
        seconds = job.ended - (since or float(said["died"][0]))
        self.seconds.append(seconds)
        self.assertLess(seconds, SECONDS)

    def test_a_killed_device(self):
        for layout in LAYOUTS:
            for rank, calls in enumerate(self.instants(layout)):
                for call in calls:
                    with self.subTest(layout=layout, rank=rank, call=call):
                        self.expect_the_end(Job(layout, rank, "kill", call), rf"rank {rank}, step 2: .* - killed by signal 9 \(Killed\)")

    def test_a_device_that_is_stopped_and_then_killed(self):
        for layout in ("pp=3,schedule=zero_bubble", "dp=2,pp=2"):
            for rank in range(LAYOUTS[layout]):
                with self.subTest(layout=layout, rank=rank):
                    job = Job(layout, rank, "stop", 6)
                    self.addCleanup(job.process.kill)
                    stopped = wait_for(lambda: [pid for pid in support.children(job.process.pid) if state(pid) == "T"])
                    time.sleep(1.5)  # longer than the grace of a failure: the others wait for it
                    self.assertIsNone(job.process.poll())
                    since = time.monotonic()
                    os.kill(stopped[0], signal.SIGKILL)
                    self.expect_the_end(job, rf"rank {rank}, step 2: .* - killed by signal 9 \(Killed\)", since)

    def test_a_data_function_that_throws(self):
        for layout in ("pp=3", "pp=3,schedule=zero_bubble", "dp=2,pp=2"):
            for rank in range(LAYOUTS[layout]):
                with self.subTest(layout=layout, rank=rank):
                    self.expect_the_end(Job(layout, rank, "data", 3), rf"rank {rank}, step 2: microbatch \d of the data function - std::runtime_error: out of luck")

    def test_an_operator_that_throws(self):
        for layout in ("pp=3,schedule=zero_bubble", "dp=2,pp=2,schedule=interleaved_1f1b:3"):
            for rank, calls in enumerate(self.instants(layout)):
                for call in calls[1:]:
                    with self.subTest(layout=layout, rank=rank, call=call):
                        self.expect_the_end(Job(layout, rank, "throw", call), rf"rank {rank}, step 2: .*out of luck.*")


def state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(2))
    support.main()
