"""Devices that are processes and do not bring the same: every kind of difference ends in one sentence, within seconds.

agreement_test.py SHOAL [TEST...]: SHOAL is the command to test."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SHOAL = ""

RECIPE = """\
[model]
name = "gpt"
vocabulary = 64
layers = 1
width = 32
heads = 2
context = 16

[data]
source = "random"

[train]
steps = 4
global_batch = 4
microbatches = 4

[optimizer]
lr = 1e-2
"""


class Agreement(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="shoal-agreement-")
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        (self.folder / "r.toml").write_text(RECIPE)

    def shoal(self, *arguments, **environment):
        return subprocess.run([SHOAL, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True, timeout=60,
                              env={**os.environ, **environment})

    def on_ranks(self, devices, first, last):
        """`shoal train` on processes, of which the last is started by another line of a shell."""
        script = f'if [ "$SHOAL_RANK" = {devices - 1} ]; then {last}; else {first}; fi'
        return self.shoal("run", "-n", devices, "sh", "-c", script)

    def test_another_setting_of_one_process_is_named(self):
        for layout, devices in (("dp=2", 2), ("dp=2,zero=3", 2), ("dp=2,owners=servers:1", 3)):
            train = f"exec '{SHOAL}' train r.toml --out o --layout {layout}"
            done = self.on_ranks(devices, train, train + " --set optimizer.lr=0.5")
            self.assertEqual((done.returncode, done.stderr),
                             (2, f"shoal run: trainer - before step 0: prepare: rank {devices - 1} has optimizer.lr 0.5, rank 0 has 0.01; "
                                 "every device must run the same program\n"))

    def test_other_instructions_of_one_process_are_another_kind_of_device(self):
        train = f"exec '{SHOAL}' train r.toml --out o --layout dp=2"
        done = self.on_ranks(2, train, "export ONEDNN_MAX_CPU_ISA=SSE41; " + train)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr, r'^shoal run: trainer - before step 0: prepare: rank 1 has device.kind "cpu [^"]*, ONEDNN_MAX_CPU_ISA=SSE41, [^"]*", '
                                      r'rank 0 has "cpu [^"]*"; every device must run the same program\n$')

    def test_a_run_does_not_go_on_with_other_instructions(self):
        done = self.shoal("train", "r.toml", "--out", "o", "--until", 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        for variables in ({"ONEDNN_MAX_CPU_ISA": "SSE41"}, {"DNNL_MAX_CPU_ISA": "SSE41"}, {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
                          {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}, {"GLIBC_TUNABLES": "glibc.malloc.check=0:glibc.cpu.hwcaps=-AVX2"}):
            (name, value), = variables.items()
            told = f"{name.replace('DNNL_', 'ONEDNN_') if name.startswith('DNNL') else name}={value}".split(":")[-1].replace("GLIBC_TUNABLES=", "")
            for devices in (1, 2):
                done = self.shoal("train", "r.toml", "--out", "o", "--resume", "--devices", devices, **variables)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertRegex(done.stderr, r'^shoal: checkpoint - run: its device.kind is "cpu [^"]*", this run\'s is "cpu [^"]*"; a run goes on only as it began')
                self.assertIn(f", {told}, ", done.stderr)
        done = self.shoal("train", "r.toml", "--out", "o", "--resume")  # as it began
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_unlike_calls_of_processes_are_named(self):
        train = f"exec '{SHOAL}' train r.toml --out o --layout dp=2"
        done = self.on_ranks(2, train, train + " --until 2")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertTrue(done.stderr.endswith("\nshoal run: trainer - calls: rank 0 calls step, rank 1 calls evaluate; every device makes the "
                                             "same collective calls in the same order\n"), done.stderr)


if __name__ == "__main__":
    SHOAL = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main()
