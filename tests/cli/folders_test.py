"""Where a run writes and what it goes on from: folders that cannot be written, that others use, that were copied or damaged; files that are none."""

import fcntl
import json
import os
import re
import shutil
import subprocess

import support
from support import CommandBase, metrics

RECIPE_ADVICE = "; a run goes on only as it began, so give it the same settings"


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


class OutTest(CommandBase):
    def as_user(self, *arguments):
        """As somebody who may not write everywhere, also where the tests run as root."""
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        os.chmod(self.base, 0o755)
        os.chmod(self.folder, 0o755)
        done = subprocess.run([support.SHOAL, "train", "r.toml", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=60, **user)
        return done.returncode, done.stderr

    def test_a_folder_that_cannot_be_written(self):
        os.mkdir(self.folder / "closed", 0o500)
        os.mkdir(self.folder / "shut", 0)
        for out, what, why in [("closed", "written", "Permission denied"), ("closed/new", "made", "Permission denied"), ("shut/new", "made", "Permission denied"),
                               ("x" * 300, "made", "File name too long"), ("r.toml", "made", "Not a directory"), ("r.toml/x", "made", "Not a directory")]:
            for devices in ("1", "2"):
                self.assertEqual(self.as_user("--out", out, "--devices", devices), (2, f"shoal: {out} - cannot be {what}: {why}; choose another --out\n"))
        os.chmod(self.folder / "shut", 0o700)
        self.assert_refused(["train", "r.toml", "--out", ""], "shoal train - --out: got nothing, want a folder; leave it out for runs/<recipe>-<n>")
        (self.folder / "gone").symlink_to("nowhere")
        self.assert_refused(["train", "r.toml", "--out", "gone"],
                            "gone - cannot be made: it is a link to nowhere, which is not there; make that, or choose another --out")
        os.mkdir(self.folder / "far")
        (self.folder / "near").symlink_to("far")
        self.train("--out", "near", "--until", "4", "--devices", "2")
        self.assertTrue((self.folder / "far/checkpoints/step-4").is_dir())

    def test_a_run_that_may_no_longer_be_written(self):
        self.train("--out", "o", "--until", "4")
        for path in [self.folder / "o", *(self.folder / "o").rglob("*")]:
            os.chmod(path, 0o755 if path.is_dir() else 0o644)
        self.assertEqual(self.as_user("--out", "o", "--resume"), (2, "shoal: o - cannot be written: Permission denied; choose another --out\n") if os.geteuid() == 0
                         else (0, self.as_user("--out", "o", "--resume")[1]))

    def test_nobody_else_reads_what_the_mask_keeps_from_them(self):
        done = subprocess.run(["sh", "-c", f"umask 077; exec {support.SHOAL} train r.toml --devices 2 --out o"], cwd=self.folder, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 0)
        for path in [self.folder / "o", *(self.folder / "o").rglob("*")]:
            self.assertEqual(path.stat(follow_symlinks=False).st_mode & 0o077, 0o077 if path.is_symlink() else 0, path)

    def test_a_run_that_begins_is_not_called_a_failed_one(self):
        os.makedirs(self.folder / "o/checkpoints")  # what it has made so far
        holder = os.open(self.folder / "o", os.O_RDONLY)
        self.addCleanup(os.close, holder)
        fcntl.flock(holder, fcntl.LOCK_EX)
        self.assert_refused(["train", "r.toml", "--out", "o"], "o - another run is writing there; wait for its end, or choose another --out")
        fcntl.flock(holder, fcntl.LOCK_UN)
        self.assert_refused(["train", "r.toml", "--out", "o"],
                            "o - there is a run already, which saved no checkpoint to go on from; remove it, or choose another --out")

    def test_of_two_that_begin_at_once_one_runs(self):
        for attempt in range(3):
            both = [subprocess.Popen([support.SHOAL, "train", "r.toml", "--out", f"o{attempt}"], cwd=self.folder, stderr=subprocess.PIPE, text=True) for _ in range(2)]
            ends = sorted((process.communicate(timeout=60)[1], process.returncode) for process in both)
            self.assertEqual(sorted(code for _, code in ends), [0, 2], ends)
            refusal = next(said for said, code in ends if code == 2)
            self.assertRegex(refusal, rf"^shoal: o{attempt} - (another run is writing there|there is a run already); [^\n]*\n$")
            self.assertEqual(len(metrics(self.folder / f"o{attempt}")), 12)

    def test_files_that_would_be_waited_for(self):
        os.mkfifo(self.folder / "fifo.toml")
        want = "no regular file, which each device could read: want a"
        self.assert_refused(["train", "fifo.toml"], f"fifo.toml - {want} recipe (TOML)")
        self.assert_refused(["train", "r.toml", "--layout", "fifo.toml"], f"fifo.toml - {want} plan (TOML with a [layout])")
        self.assert_refused(["data", "fifo.toml"], f"fifo.toml - {want} pipeline file (TOML)")
        os.mkdir(self.folder / "o")
        os.mkfifo(self.folder / "o/metrics.jsonl")
        self.assert_refused(["train", "r.toml", "--out", "o", "--resume"],
                            "o/metrics.jsonl - cannot be written: got no regular file, want one; choose another --out")


class ResumeTest(CommandBase):
    def test_a_copy_that_followed_the_links_goes_on(self):
        self.train("--out", "whole")
        self.train("--out", "first", "--until", "6")
        for devices in ("1", "2"):
            shutil.copytree(self.folder / "first", self.folder / f"copy{devices}", symlinks=False)
            self.assertTrue((self.folder / f"copy{devices}/checkpoints/latest").is_dir())
            self.train("--out", f"copy{devices}", "--resume", "--devices", devices)
            self.assertEqual(self.content_hash(f"copy{devices}/checkpoints/latest"), self.content_hash("whole/checkpoints/latest"))
            self.assertEqual(sorted(os.listdir(self.folder / f"copy{devices}/checkpoints")), ["latest", "step-12", "step-6", "step-8"])

    def test_settings_that_differ_are_all_named(self):
        self.train("--out", "o", "--until", "4")
        for changes, told, settings in [
                (["train.seed=2"], "its train.seed is 1, this run's is 2 (--set train.seed=2)", "--set train.seed=1"),
                (["train.global_batch=18"], "its train.global_batch is 12, this run's is 18 (--set train.global_batch=18)", "--set train.global_batch=12"),
                (["optimizer.lr=0.5", "train.precision=bf16"], 'its train.precision is "fp32", this run\'s is "bf16" (--set train.precision=bf16); '
                 "its optimizer.lr is 0.01, this run's is 0.5 (--set optimizer.lr=0.5)", "--set train.precision=fp32 --set optimizer.lr=0.01")]:
            sets = [word for change in changes for word in ("--set", change)]
            for devices in ("1", "2"):
                self.assert_refused(["train", "r.toml", "--out", "o", "--resume", "--devices", devices, *sets],
                                    f"checkpoint - run: {told}{RECIPE_ADVICE} ({settings}) or start a new one")
            done = self.shoal("train", "r.toml", "--out", "o", "--resume", "--until", "5", *sets, *settings.split())  # as told
            self.assertEqual(done.returncode, 0, done.stderr)
            shutil.rmtree(self.folder / "o")
            self.train("--out", "o", "--until", "4")
        lines = support.RECIPE.splitlines()
        lines[lines.index("lr = 1e-2")] = "lr = 1e-3"
        (self.folder / "other.toml").write_text("\n".join(line for line in lines if not line.startswith("clip_norm")))
        place = f"other.toml:{lines.index('lr = 1e-3') + 1}"
        self.assert_refused(["train", "other.toml", "--out", "o", "--resume", "--set", "model.layers=2", "--set", "model.width=16", "--set", "train.seed=3"],
                            "checkpoint - run: its model.layers is 1, this run's is 2 (--set model.layers=2); its model.width is 32, this run's is 16 (--set model.width=16); "
                            f"its train.seed is 1, this run's is 3 (--set train.seed=3); its optimizer.lr is 0.01, this run's is 0.001 ({place}); and 1 more{RECIPE_ADVICE} "
                            "or start a new one")
        self.assert_refused(["train", "other.toml", "--out", "o", "--resume", "--set", "optimizer.lr=1e-2"],
                            "checkpoint - run: its optimizer.clip_norm is 1.0, this run's is 0.0 (the default, which other.toml leaves)"
                            f"{RECIPE_ADVICE} (--set optimizer.clip_norm=1.0) or start a new one")

    def test_a_damaged_checkpoint_names_the_newest_good_one(self):
        self.train("--out", "whole")
        latest = "o/checkpoints/step-8"
        cases = {"a bit": (lambda: flip_a_bit(self.folder / latest / "owner-00000.safetensors"), rf"{latest}/owner-00000.safetensors - damaged: block [^\n]*"),
                 "cut off": (lambda: os.truncate(self.folder / latest / "owner-00000.safetensors", 1000), rf"{latest}/owner-00000.safetensors - damaged: got 1000 bytes[^\n]*"),
                 "a file": (lambda: os.remove(self.folder / latest / "owner-00000.safetensors"), rf"{latest}/owner-00000.safetensors - cannot be read: No such file[^\n]*"),
                 "the manifest's text": (lambda: (self.folder / latest / "manifest.json").write_text("{"), rf"{latest}/manifest.json - damaged: [^\n]*"),
                 "the manifest": (lambda: os.remove(self.folder / latest / "manifest.json"), rf"{latest} - damaged: its manifest.json is gone")}
        for devices in ("1", "2"):
            for name, (damage, sentence) in cases.items():
                with self.subTest(name, devices=devices):
                    shutil.rmtree(self.folder / "o", ignore_errors=True)
                    self.train("--out", "o", "--until", "8")
                    damage()
                    done = self.shoal("train", "r.toml", "--out", "o", "--resume", "--devices", devices)
                    said = re.search(rf"(?m)^shoal: {sentence}; use another checkpoint; the newest good one is o/checkpoints/step-4, go on with: (.*)$", done.stderr)
                    self.assertTrue(said, done.stderr)
                    self.assertEqual(done.returncode, 2)
                    done = subprocess.run(["sh", "-c", said[1]], cwd=self.folder, capture_output=True, text=True, timeout=60)  # as told
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual(self.content_hash("o/checkpoints/latest"), self.content_hash("whole/checkpoints/latest"))

        # By name, by a link, and where there is no good one.
        shutil.rmtree(self.folder / "o")
        self.train("--out", "o", "--until", "8")
        flip_a_bit(self.folder / latest / "owner-00000.safetensors")
        for name in (latest, "o/checkpoints/latest", "o/checkpoints"):
            done = self.shoal("train", "r.toml", "--resume", name)
            self.assertRegex(done.stderr, r"; the newest good one is o/checkpoints/step-4, go on with: \S+ train r.toml --out runs/r-1 --resume o/checkpoints/step-4\n$")
            self.assertEqual(done.returncode, 2)
        flip_a_bit(self.folder / "o/checkpoints/step-4/owner-00000.safetensors")
        done = self.shoal("train", "r.toml", "--out", "o", "--resume")
        self.assertRegex(done.stderr, "; use another checkpoint; no checkpoint in o/checkpoints is whole\n$")
        self.assertEqual(json.loads((self.folder / "o/metrics.jsonl").read_text().splitlines()[-1])["step"], 8)


if __name__ == "__main__":
    support.main()
