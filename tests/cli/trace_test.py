"""shoal train --trace and shoal trace: what happened, in a file that other tools open, and as a picture.

trace_test.py SHOAL [TEST...]: SHOAL is the command to test.
"""

import collections
import json
import os
import re
import signal
import xml.etree.ElementTree

import support
from support import CommandBase, metrics


class TraceTest(CommandBase):
    def events(self, name):
        """The complete events, by rank. Instructions of a row do not overlap, and waits lie within theirs."""
        content = json.loads((self.folder / name).read_text())
        rows = collections.defaultdict(list)
        names = {event["pid"]: event["args"]["name"] for event in content["traceEvents"] if event["name"] == "process_name"}
        for event in content["traceEvents"]:
            if event["ph"] == "X":
                rows[event["pid"]].append(event)
        self.assertEqual(names, {rank: f"rank {rank}" for rank in names})
        for row in rows.values():
            begin = end = 0  # what is left of the instruction at hand
            for event in row:
                first, last = event["ts"], event["ts"] + event["dur"]
                if event["cat"] == "wait":
                    self.assertGreaterEqual(first, begin - 1e-3)
                    self.assertLessEqual(last, end + 1e-3)
                    begin = last
                else:
                    self.assertGreaterEqual(first, end - 1e-3)
                    begin, end = first, last
        return rows

    def test_a_pipeline_shows_every_pass_of_every_step(self):
        layout = ["--layout", "pp=2,dp=2", "--set", "model.layers=2", "--until", 5]
        self.train("--out", "plain", *layout)
        done = self.train("--out", "traced", *layout, "--trace", "t.json")
        self.assertEqual(self.content_hash("plain/checkpoints/latest"), self.content_hash("traced/checkpoints/latest"))
        self.assertEqual([line["loss_bits"] for line in metrics(self.folder / "plain")], [line["loss_bits"] for line in metrics(self.folder / "traced")])

        rows = self.events("t.json")
        self.assertEqual(sorted(rows), [0, 1, 2, 3])
        steps = {event["args"]["step"] for row in rows.values() for event in row}
        self.assertEqual(steps, {2, 3, 4})  # of 5, after two that warm up
        passes = collections.defaultdict(set)
        for row in rows.values():
            for event in row:
                if "pass" in event["args"] and event["cat"] == "compute":
                    about = event["args"]
                    letter = {"forward": "F", "backward": "B", "input gradients": "I", "weight gradients": "W"}[about["pass"]]
                    self.assertEqual(event["name"], f"run {about['stage']}{letter}{about['microbatch']}")
                    passes[about["stage"], about["pass"]].add((about["step"], about["microbatch"]))
        self.assertEqual({place: len(of) for place, of in passes.items()},
                         {place: 6 * len(steps) for place in ((0, "forward"), (0, "backward"), (1, "forward"), (1, "input gradients"), (1, "weight gradients"))})
        whom = {event["name"] for row in rows.values() for event in row if event["cat"] == "wait"}
        self.assertEqual(whom & {"wait for all", "wait for rank 0", "wait for rank 2"}, {"wait for all", "wait for rank 0", "wait for rank 2"})
        self.assertEqual({event["cat"] for event in rows[0]}, {"compute", "wait", "reduce", "update", "gather"})

        table = r"share       device  compute     wait   reduce   update   gather     rest\n(?: +\d(?: +\d+\.\d %){6}\n){4}"
        self.assertRegex(done.stderr, r"\ntrace       t\.json; ui\.perfetto\.dev opens it, a picture is made by: [^\n]*shoal trace t\.json --timeline t\.svg\n" + table)
        told = self.shoal("trace", "t.json", "--timeline", "t.svg")
        self.assertEqual((told.returncode, told.stderr), (0, ""))
        self.assertRegex(told.stdout, "^" + table + r"drawn in t\.svg\n$")
        picture = (self.folder / "t.svg").read_text()
        xml.etree.ElementTree.fromstring(picture)
        self.assertRegex(picture, r"dp=2,pp=2, step [234] as it ran")
        self.assertEqual(len(re.findall(r">device \d<", picture)), 4)

    def test_layouts_without_stages(self):
        for name, arguments in {"one": ["--devices", 1], "zero": ["--layout", "dp=2,zero=3"],
                                "tensor": ["--layout", "tp=2", "--set", "numerics.tensor_chunks=2"]}.items():
            self.train("--out", name, "--until", 3, "--trace", f"{name}.json", *arguments)
            rows = self.events(f"{name}.json")
            self.assertEqual(len(rows), 1 if name == "one" else 2)
            words = {event["name"].split()[0] for event in rows[0]}
            self.assertLessEqual({"load", "run", "free", "all_reduce", "update"} | {"zero": {"fetch"}, "tensor": {"exchange"}}.get(name, set()), words)
            self.assertEqual({event["args"]["step"] for event in rows[0]}, {2})
            drawn = self.shoal("trace", f"{name}.json", "--timeline", f"{name}.svg")
            self.assertEqual(drawn.returncode, 0, drawn.stderr)

    def test_what_cannot_be_is_one_sentence(self):
        for devices in (1, 2):
            self.assert_refused(["train", "r.toml", "--devices", devices, "--trace", "no/t.json"],
                                "trace - no/t.json: cannot be written: No such file or directory; name a file that can be")
        self.assert_refused(["train", "r.toml", "--trace", "."], "trace - .: cannot be written: Is a directory; name a file that can be")
        self.assert_refused(["train", "r.toml", "--trace", ""], "shoal train - --trace: got nothing, want a file such as trace.json")
        self.assertEqual(list((self.folder / "runs").iterdir()), [])
        self.assert_refused(["trace", "none.json"], "none.json - cannot be read: want a file that shoal train --trace wrote")
        self.assert_refused(["trace", "r.toml"], "r.toml - trace: got something else, want a file that shoal train --trace wrote")
        (self.folder / "empty.json").write_text('{"otherData":{"layout":"dp=1"},"traceEvents":[]}')
        self.assert_refused(["trace", "empty.json"], "empty.json - steps: got none, want at least one; the run ended before the first that is traced")
        self.train("--until", 1, "--trace", "short.json")  # traced all the same
        self.assert_refused(["trace", "short.json", "--timeline", "no/t.svg"], "--timeline no/t.svg - cannot be written")

    def test_a_run_that_is_stopped_leaves_what_it_had(self):
        process = self.start("--out", "o", "--devices", "2", "--trace", "t.json")
        self.wait_for_step("o", 4)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=30), 1)
        self.assertEqual(len(self.events("t.json")), 2)

    def test_a_device_that_dies_leaves_what_was_traced_before(self):
        process = self.start("--out", "o", "--devices", "2", "--trace", "t.json")
        support.wait_for(lambda: len(support.children(process.pid)) == 2)
        self.wait_for_step("o", 4)
        os.kill(support.children(process.pid)[1], signal.SIGKILL)
        self.assertEqual(process.wait(timeout=30), 1)
        self.assertEqual(len(self.events("t.json")), 2)


if __name__ == "__main__":
    support.main()
