"""The driver of `make bench` against workers that only claim to work: no torch needed, a few seconds in all."""
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "bench")
sys.path.insert(0, BENCH)

import run as bench
from driver import group as group_module
from driver import report, turns
from driver.group import BenchError, Configuration, Group
from driver.lineup import COMPARISONS, SAME_RUN, against, lineup
from driver.turns import Ratio, Record, Turn


def fake(*flags):
    return [sys.executable, os.path.join(HERE, "fake_worker.py"), *map(str, flags)]


def configuration(name, *commands, tokens=4096, independent=False):
    return Configuration(name, commands or (fake(),), 1, tokens, independent)


def turn(tokens_per_second, noise=0.0, loss=(1.0,)):
    return Turn(tokens_per_second, [1.0, 1.0, 1.0], list(loss), 1.0, 0.0, noise, 0.0)


def is_running(process_id):
    """False for a zombie, too: nobody but its parent can end that."""
    try:
        with open(f"/proc/{process_id}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


class DriverTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        # The machine of a test is as noisy as it likes: nothing was used by others unless a test says so.
        self.quiet = lambda: (0.0, 0.0)

    def start(self, *configurations):
        running = contextlib.ExitStack()
        self.addCleanup(running.close)
        return [running.enter_context(Group(one, self.folder)) for one in configurations]

    def process_ids(self, groups):
        return [process.pid for group in groups for process in group._processes]

    def run_main(self, configurations, ratios, *flags):
        """Runs the command with this lineup. Returns its exit code, output and error output."""
        out, err = io.StringIO(), io.StringIO()
        comparisons = {name: [configurations[0].name] for name in COMPARISONS} | {"data": [one.name for one in configurations], "tensor": [configurations[-1].name]}
        with mock.patch.object(bench, "lineup", lambda *_: (configurations, ratios, comparisons)), \
                mock.patch.object(bench.machine, "cpu_seconds", self.quiet), \
                contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = bench.main(["--precision", "fp32", "--comparison", "data", "--out", self.folder, *flags])
        return code, out.getvalue(), err.getvalue()


class Rates(DriverTest):
    def test_processes_that_talk_are_as_fast_as_the_slowest_and_the_first_step_is_dropped(self):
        self.assertEqual(turns.rate(configuration("a"), [[9.0, 1.0, 4.0], [1.0, 2.0, 1.0]]), 4096 / 3.0)

    def test_the_speeds_of_independent_processes_add_up(self):
        self.assertEqual(turns.rate(configuration("a", independent=True), [[9.0, 1.0, 1.0], [9.0, 2.0, 2.0]]), 2048 / 1.0 + 2048 / 2.0)

    def test_a_ratio_counts_turns_that_were_clean_for_both_sides_and_not_the_warm_up(self):
        records = {"a": Record({}, [turn(50), turn(6), turn(8, noise=0.2), turn(9)]), "b": Record({}, [turn(1), turn(2), turn(2), turn(3)])}
        self.assertEqual(turns.paired(records, Ratio("a", "b")), [3.0, 3.0])
        row = report.ratio_row(records, Ratio("a", "b", goal=3.0))
        self.assertEqual((row["median"], row["clean_turns"], row["turns"], report.verdict(row)), (3.0, 2, 3, ">= 3.00: met"))

    def test_a_ratio_without_clean_turns_has_no_value(self):
        records = {"a": Record({}, [turn(1), turn(1, noise=0.2)]), "b": Record({}, [turn(1), turn(1)])}
        row = report.ratio_row(records, Ratio("a", "b", goal=1.0))
        self.assertNotIn("median", row)
        self.assertEqual(report.verdict(row), ">= 1.00: not measured")

    def test_losses_that_must_agree_are_compared_to_the_bit(self):
        records = {name: Record({}, [turn(1, loss=(1.0, loss))]) for name, loss in (("a", 0.1 + 0.2), ("b", 0.3), ("c", 0.3))}
        self.assertEqual(report.same_losses(records, "a", "b"), "2 steps of a and b: the loss DIFFERS in 1 of them")
        self.assertEqual(report.same_losses(records, "b", "c"), "2 steps of b and c: the same loss in each, to the bit")
        self.assertIsNone(report.same_losses(records, "a", "d"))


class Turns(DriverTest):
    def take(self, groups, ratios, rounds, cpu_seconds, deadline=float("inf")):
        records, said = {}, []
        turns.run(groups, records, ratios, rounds, deadline, cpu_seconds, said.append)
        return records, said

    def test_a_quiet_machine_needs_the_rounds_and_no_more(self):
        groups = self.start(configuration("slow", fake("--seconds", 5, 2, 2)), configuration("fast", fake("--seconds", 5, 1, 1)))
        records, _ = self.take(groups, [Ratio("fast", "slow")], 3, self.quiet)
        self.assertEqual(turns.paired(records, Ratio("fast", "slow")), [2.0, 2.0])
        self.assertEqual(len(records["fast"].turns), 3)
        self.assertEqual([loss for one in records["fast"].turns for loss in one.loss], [8.0 - step for step in range(9)])
        self.assertGreater(records["fast"].peak_bytes[0], 1_000_000)

    def test_noisy_turns_are_repeated_but_not_for_ever(self):
        class Busy:  # every reading is an hour of CPU later
            seconds = 0.0

            def __call__(self):
                self.seconds += 3600
                return self.seconds, 0.0

        groups = self.start(configuration("a"), configuration("b"))
        records, said = self.take(groups, [Ratio("a", "b")], 3, Busy())
        self.assertEqual(len(records["a"].turns), 6)
        self.assertEqual(turns.paired(records, Ratio("a", "b")), [])
        self.assertIn("(noise ", said[-1])

    def test_no_turn_begins_after_the_deadline(self):
        records, said = self.take(self.start(configuration("a")), [], 5, self.quiet, deadline=0)
        self.assertEqual(len(records["a"].turns), 2)
        self.assertEqual(said[-1], "out of time after 2 turns")


class Failures(DriverTest):
    def test_a_missing_program_is_named(self):
        with self.assertRaises(BenchError) as caught:
            Group(configuration("peer", ["/nowhere/python"]), self.folder)
        self.assertEqual(str(caught.exception), "bench - peer: cannot start /nowhere/python (no such file or directory); "
                                                "build it, or point --build or --torch-python at it")
        self.assertEqual(caught.exception.exit_code, 2)

    def test_a_worker_that_dies_is_quoted_and_the_others_end(self):
        groups = self.start(configuration("good"), configuration("bad", fake(), fake("--fails-at", 4)))
        with self.assertRaises(BenchError) as caught:
            turns.run(groups, {}, [], 3, float("inf"), self.quiet, lambda line: None)
        self.assertEqual(str(caught.exception), "bench - bad, process 1: ended with exit code 1, want an answer to 'step 3'; "
                                                f"it said: RuntimeError: out of luck (see {self.folder}/bad.1.err)")
        for group in groups:
            group.end()
        self.assertFalse(any(map(is_running, self.process_ids(groups))))

    def test_a_killed_worker_is_told_from_one_that_left(self):
        groups = self.start(configuration("a"))
        os.kill(self.process_ids(groups)[0], signal.SIGKILL)
        with self.assertRaises(BenchError) as caught:
            groups[0].ask("rss")
        self.assertEqual(str(caught.exception), f"bench - a, process 0: killed by SIGKILL, want an answer to 'rss' (see {self.folder}/a.0.err)")

    def test_a_worker_that_hangs_is_given_up_and_killed(self):
        groups = self.start(configuration("a", fake("--hangs-at", 0)))
        with mock.patch.object(group_module, "ANSWER_SECONDS", 0.2), mock.patch.object(group_module, "END_SECONDS", 0.2):
            with self.assertRaises(BenchError) as caught:
                groups[0].ask("step 3")
            groups[0].end()
        self.assertEqual(str(caught.exception), f"bench - a, process 0: got nothing in 0.2 s, want an answer to 'step 3' (see {self.folder}/a.0.err)")
        self.assertFalse(is_running(self.process_ids(groups)[0]))

    def test_an_answer_that_is_no_json_is_quoted(self):
        with self.assertRaises(BenchError) as caught:
            Group(configuration("a", ["echo", "hello"]), self.folder)
        self.assertEqual(str(caught.exception), f"bench - a, process 0: got b'hello\\n', want a sign of life (see {self.folder}/a.0.err)")

    def test_workers_end_with_a_driver_that_was_killed(self):
        for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            with self.subTest(how=how.name):
                program = ("import sys, driver_test, run\n"
                           "run.lineup = lambda *_: ([driver_test.configuration('a', driver_test.fake(), driver_test.fake())], [], {'data': ['a']})\n"
                           f"sys.exit(run.main(['--comparison', 'data', '--out', {self.folder!r}, '--rounds', '100000']))")
                driver = subprocess.Popen([sys.executable, "-c", program], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.addCleanup(driver.communicate)
                self.addCleanup(driver.kill)
                while not driver.stdout.readline().startswith(b"turn 2"):
                    self.assertIsNone(driver.poll())
                with open(f"/proc/{driver.pid}/task/{driver.pid}/children") as children:
                    workers = list(map(int, children.read().split()))
                self.assertEqual(len(workers), 2)
                driver.send_signal(how)
                driver.communicate(timeout=20)
                self.assertEqual(driver.returncode, {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how])
                self.assertTrue(wait_until(lambda: not any(map(is_running, workers))))


class Command(DriverTest):
    def test_a_run_prints_a_table_and_leaves_every_turn_in_a_file(self):
        code, out, err = self.run_main([configuration("ours", fake("--seconds", 9, 1, 1)), configuration("peer", fake("--seconds", 9, 2, 2))],
                                       [Ratio("ours", "peer", goal=1.0)], "--rounds", "3")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"ours / peer +2\.000  \[2\.000, 2\.000\]  2 of 2 +>= 1\.00: met")
        with open(os.path.join(self.folder, "w1-data-fp32.json")) as file:
            result = json.load(file)
        self.assertEqual(result["ratios"][0]["median"], 2.0)
        self.assertEqual(result["configurations"]["ours"]["tokens_per_second"], 4096)
        self.assertEqual(len(result["configurations"]["peer"]["turns"]), 3)
        self.assertEqual(result["workload"], "W1 fp32, data")

    def test_what_was_measured_outlives_a_failure(self):
        code, out, err = self.run_main([configuration("a"), configuration("b", fake("--fails-at", 7))], [Ratio("a", "b")], "--rounds", "5")
        self.assertEqual(code, 1)
        self.assertEqual(err, "bench - b, process 0: ended with exit code 1, want an answer to 'step 3'; "
                              f"it said: RuntimeError: out of luck (see {self.folder}/b.0.err)\n")
        self.assertRegex(out, r"a / b +1\.000 .* 1 of 1")

    def test_different_versions_of_torch_are_refused(self):
        code, _, err = self.run_main([configuration("ours"), configuration("peer", fake("--torch", "2.12.1"))], [])
        self.assertEqual((code, err), (2, "bench - torch: got 2.12.1 in peer, want 2.13.0 as in ours; point --torch-python at a Python with that version\n"))

    def test_only_some(self):
        code, out, _ = self.run_main([configuration(name) for name in "abc"], [Ratio("a", "b"), Ratio("a", "c")], "--rounds", "2", "--only", "c,a")
        self.assertEqual(code, 0)
        self.assertIn("a / c", out)
        self.assertNotIn("a / b", out)
        code, _, err = self.run_main([configuration("a")], [], "--only", "d")
        self.assertEqual((code, err), (2, "bench - --only: got d, want some of a\n"))

    def test_one_comparison_after_the_other_and_its_losses_compared(self):
        configurations = [configuration(name) for name in ("ours-1", "ours-2", "ours-c2", "ours-tp2")]
        configurations[3] = configuration("ours-tp2", fake("--loss", 7))
        code, out, err = self.run_main(configurations, [], "--rounds", "2", "--comparison", "all")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("6 steps of ours-1 and ours-2: the same loss in each, to the bit", out)
        self.assertIn("6 steps of ours-c2 and ours-tp2: the loss DIFFERS in 6 of them", out)
        for comparison, names in (("data", [one.name for one in configurations]), ("zero", ["ours-1"]), ("tensor", ["ours-tp2"])):
            with open(os.path.join(self.folder, f"w1-{comparison}-fp32.json")) as file:
                self.assertEqual(list(json.load(file)["configurations"]), names)

    def test_one_round_is_refused(self):
        with contextlib.redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit) as caught:
            bench.main(["--rounds", "1"])
        self.assertEqual(caught.exception.code, 2)
        self.assertIn("--rounds: got 1, want 2 or more; the first is warm-up", err.getvalue())

    def test_the_lineup_names_each_side_of_its_ratios(self):
        for precision in ("fp32", "bf16"):
            configurations, ratios, comparisons = lineup(precision, "build", "python", self.folder)
            names = [one.name for one in configurations]
            self.assertEqual(len(names), len(set(names)))
            self.assertEqual(set(names), set(sum(comparisons.values(), [])), "each takes part somewhere")
            for ratio in ratios:
                self.assertTrue(any({ratio.over, ratio.under} <= set(names) for names in comparisons.values()), ratio)
            self.assertEqual({name: len(names) for name, names in comparisons.items()},
                             {"data": 6 + (precision == "bf16"), "zero": 4, "tensor": 6, "recompute": 3} |
                             {f"pipeline{m}": 8 + 2 * (precision == "bf16") for m in (4, 8)})
            for pair in SAME_RUN:
                self.assertTrue(any(set(pair) <= set(names) for names in comparisons.values()), pair)

    def test_another_build_takes_part_name_by_name(self):
        configurations, ratios = against("fp32", "new", "old", "python", self.folder)
        commands = {one.name: " ".join(one.commands[0]) for one in configurations}
        self.assertEqual(len(commands), 8)
        for ratio in ratios:
            self.assertTrue(commands[ratio.over].startswith("new/") and commands[ratio.under].startswith("old/"), ratio)
            self.assertEqual(commands[ratio.over].replace("new/", ""), commands[ratio.under].replace("old/", ""))
            self.assertEqual((ratio.under, ratio.goal), (ratio.over + "-before", 0.99))

    def test_the_goals(self):
        goals = {precision: {(ratio.over, ratio.under): ratio.goal for ratio in lineup(precision, "build", "python", self.folder)[1] if ratio.goal}
                 for precision in ("fp32", "bf16")}
        pipelines = {precision: {pair: goal for m in (4, 8) for pair, goal in (
            ((f"ours-1f1b-{m}", f"torch-1f1b-{m}{suffix}"), 1.25 if suffix else 1.15),
            *(((f"ours-{ours}-{m}", other), goal) for ours in ("zero_bubble", "zero_bubble_v") for other, goal in (
                (f"torch-zbv-{m}{suffix}", 1.1), (f"torch-dualpipev-{m}{suffix}", 1.1), (f"ours-independent-{m}", 0.95))))}
            for precision, suffix in (("fp32", ""), ("bf16", "-autocast"))}
        for goal in pipelines.values():
            goal |= {("ours-selective", "ours-1"): 1 / 1.08, ("ours-all", "ours-1"): 1 / 1.35}
        self.assertEqual(goals["fp32"], pipelines["fp32"] | {
            ("ours-2", "ours-independent"): 0.95, ("ours-2", "torch-ddp"): 1.0, ("ours-zero3", "torch-fsdp2"): 1.05, ("ours-tp2", "torch-tp"): 1.08,
            ("ours-zero1", "ours-independent"): 0.97, ("ours-zero3", "ours-independent"): 0.94, ("ours-tp2", "ours-independent"): 0.90})
        self.assertEqual(goals["bf16"], pipelines["bf16"] | {
            ("ours-2", "ours-independent"): 0.95, ("ours-2", "torch-ddp-autocast"): 1.0, ("ours-zero3", "torch-fsdp2-mixed"): 1.0,
            ("ours-tp2", "torch-tp-mixed"): 1.0, ("ours-c2", "ours-1"): 1 / 1.06, ("ours-c4", "ours-1"): 1 / 1.12})


if __name__ == "__main__":
    unittest.main()
