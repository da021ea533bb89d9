"""shoal data with a flow: run, gone on with, looked at, compared; Arrow beside LibTorch in one process."""

import hashlib
import os
import subprocess

import support
from support import CommandBase

FLOW = """\
[read]
paths = ["in.csv"]

[[step]]
filter = "v is not null"

[[step]]
group_by = ["k"]
aggregates = { n = "count()", s = "sum(v)" }

[write]
out = "out"
format = "csv"
"""


class FlowTest(CommandBase):
    def setUp(self):
        super().setUp()
        (self.folder / "in.csv").write_text("k,v\nb,1\na,2\nb,4\na,\n")
        (self.folder / "p.toml").write_text(FLOW)

    def done(self, *arguments):
        end = support.run(*arguments, cwd=self.folder)
        self.assertEqual((end.returncode, end.stderr), (0, ""))
        return end.stdout

    def hashes(self, folder):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (self.folder / folder).iterdir()}

    def test_a_flow_on_one_and_two_devices(self):
        self.assertEqual(self.done("data", "p.toml"), "out: 2 rows in 1 files\n             4 ->            4  read in.csv\n             4 ->            3  filter v is not null\n"
                         "             3 ->            2  group_by k: n = count(), s = sum(v)\n")
        self.assertEqual((self.folder / "out/part-00000.csv").read_text(), "k,n,s\na,1,2\nb,2,5\n")
        self.done("data", "p.toml", "--out", "two", "--devices", "2")
        self.assertEqual(self.hashes("out"), self.hashes("two"))
        self.assertIn("1 parts were done already", self.done("data", "p.toml"))

    def test_looking_at_it(self):
        self.assertIn("exchange: group_by k", self.done("data", "p.toml", "--explain"))
        self.assertFalse((self.folder / "out").exists())
        self.done("data", "p.toml")
        self.assertIn("2 rows", self.done("data", "show", "out"))
        self.assertIn("int64", self.done("data", "show", "in.csv"))
        self.assertEqual(self.done("data", "verify", "out"), "out: 2 rows in 1 files, all as they were written\n")
        path = self.folder / "out/part-00000.csv"
        path.write_bytes(path.read_bytes().replace(b"5", b"6"))
        self.assert_refused(["data", "verify", "out"], "out/part-00000.csv - damaged: its checksum does not hold; remove the folder and run the flow again")

    def test_token_stores_are_looked_at_too(self):
        self.assertIn("store: a token store, shards of", self.done("data", "show", "store"))
        self.assertEqual(self.done("data", "verify", "store"), "store: 2 shards, all as they were written\n")

    def test_what_cannot_be_used(self):
        self.assert_refused(["data"], "data - PIPELINE: got none, want a TOML file; shoal data --help says more")
        (self.folder / "p.toml").write_text(FLOW.replace("v is", "w is"))
        for devices in ("1", "2"):
            self.assert_refused(["data", "p.toml", "--devices", devices], "p.toml:5 - filter, position 1: unknown column: got w, want one of k, v")
        (self.folder / "p.toml").write_text(FLOW.replace("filter", "fliter"))
        self.assert_refused(["data", "p.toml"], "p.toml:4 - step: unknown step: got fliter, want filter")
        (self.folder / "p.toml").write_text('inputs = ["in.csv"]\nout = "tokens"\n')
        self.assert_refused(["data", "p.toml", "--explain"],
                            "p.toml - --explain: got a pipeline for tokens, want a flow, with a [read] table (docs/data_engine.md)")

    def test_a_folder_that_cannot_be_written(self):
        os.mkdir(self.folder / "closed", 0o500)
        os.chmod(self.base, 0o755)
        os.chmod(self.folder, 0o755)
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        end = subprocess.run([support.SHOAL, "data", "p.toml", "--out", "closed"], cwd=self.folder, capture_output=True, text=True, timeout=60, **user)
        self.assertEqual((end.returncode, end.stderr), (2, "closed - cannot be written: Permission denied; name another --out\n"))


if __name__ == "__main__":
    support.main()
