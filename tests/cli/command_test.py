"""The shoal command as a user meets it: bad input, Ctrl-C, a killed device, resuming elsewhere, text.

command_test.py SHOAL [TEST...]: SHOAL is the command to test.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import support
from support import ROOT, RECIPE, CommandBase, children, is_alive, metrics, run, wait_for


class CommandTest(CommandBase):
    # --- bad input ---

    def test_bad_input_is_one_sentence(self):
        refused = self.assert_refused
        refused(["train", "no.toml"], "no.toml - no such file: want a recipe (TOML)")
        refused(["train"], "shoal train - RECIPE: got none, want a recipe (TOML) such as recipes/demo.toml; shoal train --keys lists its keys")
        refused(["train", "r.toml", "--set", "train.step=3"], "--set train.step=3 - train.step: unknown key; did you mean train.steps?")
        refused(["train", "r.toml", "--devices", "two"], "--devices two - layout.devices: got two, want a whole number from 1 to 256")
        refused(["train", "r.toml", "--devices", "7"],
                "--devices 7 - layout.devices: got 7, want at most train.microbatches (6); a microbatch is never divided; what works on 7 devices: "
                "dp=6,owners=servers:1 or dp=5,owners=servers:2 or dp=4,owners=servers:3")
        refused(["train", "r.toml", "--layout", "tp=2"],
                "--layout tp=2 - layout.mesh: tp=2 needs [numerics] tensor_chunks = 2 (another run: other bits); what works on 2 devices: "
                "dp=2 or dp=1,owners=servers:1")
        refused(["train", "r.toml", "--devices", "3", "--layout", "dp=2"],
                "--layout dp=2 - layout.mesh: got dp=2, which is 2 devices, want 3; what works on 3 devices: "
                "dp=3 or dp=2,owners=servers:1 or dp=1,owners=servers:2")
        refused(["train", "r.toml", "--layout", "plan.toml"], "plan.toml - no such file: want a plan (TOML with a [layout])")
        refused(["train", "r.toml", "--layout", ""], "--layout - got nothing, want auto, axes as in dp=2,tp=2, or a plan file (TOML)")
        refused(["train", "r.toml", "--until", "0"], "--until - got 0, want 1 to train.steps (12)")
        refused(["train", "r.toml", "--until", "13"], "--until - got 13, want 1 to train.steps (12)")
        refused(["train", "r.toml", "--out", "r.toml/x"], "r.toml/x - cannot be made: Not a directory; choose another --out")
        refused(["train", "r.toml", "--resume"],
                "runs/r-<n> - no run with a checkpoint to resume; name one with --out DIR or --resume CHECKPOINT")
        refused(["train", "r.toml", "--resume", "--out", "new"], "new/checkpoints - no checkpoint to resume from; start without --resume")
        self.assertFalse((self.folder / "new").exists())  # what was refused leaves no folder behind
        for line, new, sentence in [(4, "width = 31", "model.width: got 31, want a multiple of model.heads (2)"),
                                    (4, 'width = "big"', 'model.width: got "big", want a whole number from 1 to 1048576'),
                                    (4, "widht = 32", "model.widht: unknown key; did you mean model.width?")]:
            lines = RECIPE.splitlines()
            lines[line - 1] = new
            (self.folder / "bad.toml").write_text("\n".join(lines))
            refused(["train", "bad.toml"], f"bad.toml:{line} - {sentence}")
        self.assertFalse((self.folder / "runs").exists())

    def test_unusable_stores(self):
        def damaged(name, damage):
            shutil.copytree(self.base / "store", self.folder / name)
            damage(self.folder / name / "train-00000.tokens")
            return self.shoal("train", "r.toml", "--devices", "2", "--set", f"data.path={name}", "--out", f"out-{name}")

        def flip(path):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

        missing = self.shoal("train", "r.toml", "--set", "data.path=nowhere")
        truncated = damaged("truncated", lambda path: os.truncate(path, 1000))
        flipped = damaged("flipped", flip)
        for done, pattern in [(missing, r"shoal: nowhere[^\n]*\n"), (truncated, r"shoal: truncated/train-00000.tokens - cut off or grown: got 1000 bytes, [^\n]*\n"),
                              (flipped, r"shoal: flipped/train-00000.tokens - damaged: got checksum [^\n]*\n")]:
            self.assertRegex(done.stderr, "^" + pattern + "$")
            self.assertEqual(done.returncode, 2)

        # A run that could not begin leaves no folder.
        failed = self.shoal("train", "r.toml", "--set", "data.path=flipped")
        self.assertEqual(failed.returncode, 2)
        self.assertEqual(os.listdir(self.folder / "runs"), [])

    def test_help_reads_and_version_is_there(self):
        self.assertRegex(self.shoal("--version").stdout, r"^\d+\.\d+\.\d+\n$")
        for arguments in [["--help"], ["train", "--help"], ["generate", "--help"]]:
            done = self.shoal(*arguments)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("Usage: shoal", done.stdout)

    def test_a_plan_is_printed_without_devices(self):
        done = self.shoal("plan", "r.toml", "--devices", "3", "--layout", "dp=3,zero=3", "--rank", "2")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?s)^program training rank=2 microbatches=6 layout=dp=3,zero=3\n.*\n  fetch F0 %f0\n")
        self.assertEqual(len(re.findall(r"(?m)^rank \d: weights .* activations ", done.stdout)), 3)
        every = self.shoal("plan", "r.toml", "--devices", "2", "--all")  # the layout of a run that names none
        self.assertEqual(re.findall(r"(?m)^program training rank=(\d) microbatches=6 layout=dp=2$", every.stdout), ["0", "1"])
        wrong = self.shoal("plan", "r.toml", "--devices", "2", "--rank", "2")
        self.assertEqual((wrong.returncode, wrong.stderr), (2, "shoal: --rank - got 2, want 0 to 1\n"))

    def test_a_command_line_that_cannot_be_read(self):
        def said(*arguments):
            done = self.shoal(*arguments)
            self.assertEqual(done.returncode, 2)
            return done.stderr
        commands = "want a command: train, plan, trace, predict, generate, score, serve, run, data, checkpoint or convert"
        self.assertEqual(said("trian"), f'shoal: got "trian", {commands}; did you mean train?\n')
        self.assertEqual(said("Train", "r.toml", "--until", "3"), f'shoal: got "Train", {commands}; did you mean train?\n')
        self.assertEqual(said("nosuchcommand"), f'shoal: got "nosuchcommand", {commands}\n')
        self.assertEqual(said(), f"shoal: got nothing, {commands}; see shoal --help\n")
        for arguments, sentence in [
                (["checkpoint", "shwo", "x"], 'shoal checkpoint: got "shwo", want a command: show, verify, hash or convert; did you mean show?'),
                (["checkpoint"], "shoal checkpoint: got nothing, want a command: show, verify, hash or convert; see shoal checkpoint --help"),
                (["checkpoint", "show"], "shoal checkpoint show - PATH: got nothing, want TEXT; see shoal checkpoint show --help"),
                (["train", "r.toml", "--sett"], "shoal train - --sett: got an unknown flag, want one of shoal train --help; did you mean --set?"),
                (["train", "r.toml", "--Devices=3"], "shoal train - --Devices: got an unknown flag, want one of shoal train --help; did you mean --devices?"),
                (["--verbose", "train", "r.toml"], "shoal - --verbose: got an unknown flag, want one of shoal --help"),
                (["train", "r.toml", "s.toml"], 'shoal train: got "s.toml", want nothing more; see shoal train --help'),
                (["train", "r.toml", "--until"], "shoal train - --until: got nothing, want STEP; see shoal train --help"),
                (["train", "r.toml", "--until", "soon"], "shoal train - --until: got soon, want a whole number"),
                (["train", "r.toml", "--until", "1e3"], "shoal train - --until: got 1e3, want a whole number"),
                (["train", "r.toml", "--until", "3", "--until", "4"], "shoal train - --until: got it 2 times, want it once"),
                (["generate", "x", "--temperature", "warm"], "shoal generate - --temperature: got warm, want a number"),
                (["generate", "x", "--seed", "-1"], "shoal generate - --seed: got -1, want a whole number of at least 0"),
                (["generate", "x", "--devices", "99999999999"], "shoal generate - --devices: got 99999999999, want a whole number up to 2147483647"),
                (["run", "true"], "shoal run - --devices: got nothing, want N; see shoal run --help"),
                (["run", "-n", "many", "true"], "shoal run - --devices: got many, want a whole number")]:
            self.assertEqual(said(*arguments), f"shoal: {sentence}\n")

    def test_docs_and_recipes_are_true(self):
        reference = (ROOT / "docs" / "recipe.md").read_text()
        self.assertTrue(reference.endswith(self.shoal("train", "--keys").stdout), "docs/recipe.md must end with `shoal train --keys`")
        for recipe in sorted((ROOT / "recipes").glob("*.toml")):
            if recipe.name == "demo-data.toml":
                continue
            # Everything about it is right, but for this.
            done = self.shoal("train", recipe, "--devices", 99)
            self.assertRegex(done.stderr, r"^shoal: --devices 99 - layout.devices: got 99, want at most train.microbatches \(\d+\)[^\n]*\n$")

    # --- runs ---

    def test_the_devices_do_not_change_the_answer(self):
        self.train("--out", "whole")
        whole = self.content_hash("whole/checkpoints/latest")
        for devices in [2, 3]:
            out = f"on-{devices}"
            self.train("--out", out, "--devices", devices, "--until", 7)
            first = metrics(self.folder / out)
            self.assertEqual([line["step"] for line in first], list(range(1, 8)))
            self.train("--out", out, "--devices", 4 - devices if devices == 3 else 3, "--resume")
            self.assertEqual(self.content_hash(f"{out}/checkpoints/latest"), whole)
            for mine, other in zip(metrics(self.folder / out), metrics(self.folder / "whole"), strict=True):
                self.assertEqual((mine["step"], mine["loss_bits"]), (other["step"], other["loss_bits"]))
                if "validation_loss" in other:
                    self.assertEqual(mine["validation_loss"], other["validation_loss"])
        lines = metrics(self.folder / "whole")
        self.assertEqual([line["step"] for line in lines if "validation_loss" in line], [6, 12])
        self.assertLess(lines[-1]["loss"], lines[0]["loss"])
        self.assertEqual(len(metrics(self.folder / "on-2")[0]["peak_bytes"]), 2)
        self.assertEqual(sorted(os.listdir(self.folder / "whole")), ["checkpoints", "metrics.jsonl", "plan.txt", "recipe.toml"])
        self.assertEqual(sorted(os.listdir(self.folder / "whole" / "checkpoints")), ["latest", "step-12", "step-4", "step-8"])

        # The model alone, for other tools.
        self.assertEqual(self.shoal("checkpoint", "convert", "whole/checkpoints/latest", "model.safetensors").returncode, 0)
        file = (self.folder / "model.safetensors").read_bytes()
        header = json.loads(file[8:8 + int.from_bytes(file[:8], "little")])
        weights = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
        shown = self.shoal("checkpoint", "show", "whole/checkpoints/latest").stdout
        self.assertEqual(weights, {name: json.loads(shape) for name, shape in re.findall(r"^  (\S+) +weight +F32 (\[.*\])", shown, re.M)})
        self.assertIn([32, 32], weights.values())
        self.assert_refused(["checkpoint", "convert", "whole/checkpoints/latest", "model.safetensors"],
                            "model.safetensors - is there already; remove it or choose another name")

        # From an older checkpoint, with the recipe that the run left, into the same folder: later lines are dropped.
        again = self.shoal("train", "whole/recipe.toml", "--out", "whole", "--resume", "whole/checkpoints/step-4", "--until", 5)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual([line["step"] for line in metrics(self.folder / "whole")], [1, 2, 3, 4, 5])

        # What is complete says so; another run is refused.
        done = self.shoal("train", "r.toml", "--out", "on-2", "--resume")
        self.assertEqual((done.returncode, done.stderr), (0, "on-2/checkpoints/step-12 is at step 12 of 12: nothing is left to do\n"))
        other = self.shoal("train", "r.toml", "--out", "on-2", "--resume", "on-2/checkpoints/step-8", "--set", "train.seed=2")
        self.assertEqual(other.returncode, 2)
        self.assertRegex(other.stderr, r"^shoal: checkpoint - run: its train.seed is 1, this run's is 2 \(--set train.seed=2\); [^\n]*\n$")
        self.assert_refused(["train", "r.toml", "--out", "on-3"], "on-3 - there is a run already; go on with --resume, or choose another --out")

    def test_the_layout_does_not_change_the_answer(self):
        chunks = ["--set", "numerics.tensor_chunks=2"]
        self.train("--out", "whole", *chunks)
        whole = self.content_hash("whole/checkpoints/latest")
        for number, layout in enumerate(["tp=2", "dp=2,tp=2,zero=3", "dp=3,owners=servers:1"]):
            out = f"divided-{number}"
            self.train("--out", out, *chunks, "--layout", layout, "--until", 8)
            self.train("--out", out, *chunks, "--layout", "dp=2,tp=2", "--resume")
            self.assertEqual(self.content_hash(f"{out}/checkpoints/latest"), whole, layout)
            both = [(line["validation_loss"], wholes["validation_loss"])
                    for line, wholes in zip(metrics(self.folder / out), metrics(self.folder / "whole"))
                    if "validation_loss" in line and "validation_loss" in wholes]
            self.assertEqual([line for line, _ in both], [wholes for _, wholes in both])
            self.assertGreaterEqual(len(both), 2)  # evaluated while divided, before and after the layout changed
        plan = (self.folder / "divided-0" / "plan.txt").read_text()
        self.assertRegex(plan, r"cut map: 2 parts, \d+ of \d+ nodes divided, (100|9\d) % of the operations")
        self.assertRegex(plan, r"blocks.0.up.weight f32\[128,32\] S0\n")
        # Parts are put together again for whoever wants the whole.
        text = self.shoal("generate", "divided-0/checkpoints/latest", "--prompt", "line", "--tokens", "8")
        self.assertEqual(text.returncode, 0, text.stderr)
        self.assertEqual(self.shoal("checkpoint", "convert", "divided-0/checkpoints/latest", "model.safetensors").returncode, 0)
        # Another number of chunks is another run, and says so.
        self.assert_refused(["train", "r.toml", "--out", "divided-0", "--resume", "divided-0/checkpoints/step-8"],
                            "checkpoint - run: its numerics.tensor_chunks is 2, this run's is 1 (the default, which r.toml leaves); a run goes on only as it began, "
                            "so give it the same settings (--set numerics.tensor_chunks=2) or start a new one")

    def test_an_mlp_learns(self):
        done = self.shoal("train", ROOT / "recipes" / "mlp.toml", "--devices", 3, "--set", "train.steps=150", "--profile")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("aten::", done.stderr)
        lines = metrics(self.folder / "runs" / "mlp-1")
        self.assertLess(lines[-1]["validation_loss"], 1.5)
        refused = self.shoal("generate", "runs/mlp-1/checkpoints/latest", "--prompt", "x")
        self.assertEqual(refused.returncode, 2)
        self.assertRegex(refused.stderr, r"^shoal: runs/mlp-1/checkpoints/step-150 - model: got mlp, want gpt or llama, which know text\n$")

    def test_two_runs_at_once_get_two_folders(self):
        both = [subprocess.Popen([support.SHOAL, "train", "r.toml", "--devices", "2"], cwd=self.folder, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for process in both:
            _, stderr = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, stderr)
        self.assertEqual(sorted(os.listdir(self.folder / "runs")), ["r-1", "r-2"])
        self.assertEqual(*(self.content_hash(f"runs/r-{n}/checkpoints/latest") for n in (1, 2)))

    def test_generate_is_the_same_on_any_devices(self):
        prompts = ["--prompt", "line 3", "--prompt", "x" * 40, "--prompt", "fox\xe9"]  # one is longer than the context
        plain, other = [], ["--set", "train.precision=bf16", "--set", "model.tied_head=true", "--set", "model.dropout=0.1"]
        llama = ["--set", "model.name=llama", "--set", "model.kv_heads=1"]
        greedy, sampled = [], ["--temperature", "0.8", "--seed", "5"]
        texts = {}
        for name, model, how in [("plain", plain, greedy), ("sampled", None, sampled), ("other", other, sampled), ("llama", llama, sampled)]:
            out = name if name in ("other", "llama") else "plain"
            if model is not None:
                self.train("--out", out, *model)
            for devices in [1, 2, 3]:
                done = subprocess.run([support.SHOAL, "generate", f"{out}/checkpoints/latest", *prompts, "--tokens", "24", "--devices", str(devices), *how],
                                      cwd=self.folder, capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(texts.setdefault(name, done.stdout), done.stdout)
            self.assertRegex(texts[name], rb"(?s)^line 3.+\n---\nx{40}.+\n---\nfox\xc3\xa9.+\n$")
        self.assertEqual(len(set(texts.values())), 4)
        checkpoint = "plain/checkpoints/latest"
        (self.folder / "prompts.txt").write_text("one\n\n")
        self.assert_refused(["generate", checkpoint, "--prompts", "prompts.txt"], "prompts.txt:2 - got an empty line, want a prompt on each line")
        self.assert_refused(["generate", checkpoint, "--prompt", ""], "--prompt - got an empty text, want at least one character to go on from")
        self.assert_refused(["generate", checkpoint], "shoal generate - prompt: got none, want --prompt TEXT or --prompts FILE")
        self.assertEqual(self.shoal("generate", "store", "--prompt", "x").returncode, 2)

    def test_predict_is_the_same_on_any_devices(self):
        self.train("--out", "run", "--set", "numerics.tensor_chunks=2")
        files, number = {}, 0
        for flags in [[], ["--devices", "3"], ["--layout", "dp=2,tp=2"], ["--layout", "pp=2"], ["--layout", "dp=2,zero=3"]]:
            for what in [[], ["--logits"]] if not flags or "dp=2,tp=2" in flags else [["--logits"]]:
                number += 1
                name = f"p{number}.safetensors"
                done = self.shoal("predict", "run/checkpoints/latest", "--out", name, "--samples", "7", *what, *flags)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stdout, rf"^{name}: (classes|logits) of 7 samples; 0\.\d{{4}} of 112 answers are the data's\n$")
                files.setdefault(bool(what), set()).add((self.folder / name).read_bytes())
        self.assertEqual([len(files[False]), len(files[True])], [1, 1])
        head = next(iter(files[True]))[8:150]
        self.assertIn(b'"dtype":"F32","shape":[7,16,257]', head)
        refused = [
            (["run/checkpoints/latest", "--out", "p1.safetensors", "--logits"], "p1.safetensors - is there already; remove it or choose another name"),
            (["run/checkpoints/latest", "--out", "none/x"], f"none/x - cannot be written: there is no folder {self.folder}/none"),
            (["run/checkpoints/latest", "--out", "x", "--split", "test"], "--split - got test, want validation or train"),
            (["run/checkpoints/latest", "--out", "x", "--samples", "99999999"], None),
            (["run/checkpoints/latest", "--out", "x", "--layout", "tp=4"], None),
        ]
        for arguments, sentence in refused:
            if sentence:
                self.assert_refused(["predict", *arguments], sentence)
            else:
                done = self.shoal("predict", *arguments)
                self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertFalse((self.folder / "x").exists())

    # --- ends before the end ---

    def stop_and_resume(self, devices, sent):
        process = self.start("--out", "run", "--devices", str(devices))
        self.wait_for_step("run", 3)
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 1)
        match = re.search(r"^shoal: stopped at step (\d+); the last checkpoint is run/checkpoints/step-(\d+), go on with: (.*)$", stderr, re.M)
        self.assertTrue(match, stderr)
        self.assertEqual(match[1], match[2])
        self.assertTrue(match[3].endswith(f"train r.toml --set train.steps=1000000 --set checkpoint.every=10 --devices {devices} --out run --resume"), match[3])
        self.assertEqual(metrics(self.folder / "run")[-1]["step"], int(match[1]))
        self.assertEqual(self.shoal("checkpoint", "verify", "run/checkpoints/latest").returncode, 0)
        return int(match[1])

    def test_ctrl_c_keeps_a_checkpoint(self):
        step = self.stop_and_resume(2, signal.SIGINT)
        done = self.shoal("train", "r.toml", "--set", "train.steps=1000000", "--out", "run", "--resume", "--until", step + 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([line["step"] for line in metrics(self.folder / "run")], list(range(1, step + 3)))

    def test_sigterm_on_one_device(self):
        self.stop_and_resume(1, signal.SIGTERM)

    def test_the_end_of_the_terminal(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.stop_and_resume(2, signal.SIGHUP)

    def test_a_killed_device_ends_the_run(self):
        process = self.start("--out", "run", "--devices", "3")
        self.wait_for_step("run", 12)
        ranks = children(process.pid)
        self.assertEqual(len(ranks), 3)
        os.kill(ranks[1], signal.SIGKILL)
        start = time.monotonic()
        _, stderr = process.communicate(timeout=20)
        self.assertLess(time.monotonic() - start, 20)  # not a hang; how fast it is, the conformance suite says
        self.assertEqual(process.returncode, 1)
        self.assertRegex(stderr, r"(?m)^shoal: rank 1\b.*killed by signal 9 \(Killed\); the last checkpoint is run/checkpoints/step-\d+0, go on with: .* --resume$")
        self.assertEqual([pid for pid in ranks if is_alive(pid)], [])


class SharedPlacesTest(CommandBase):
    """What other commands, and other users of the terminal, do at the same time."""

    def test_a_folder_has_one_run_at_a_time(self):
        first = subprocess.Popen([support.SHOAL, "train", "r.toml", "--out", "o", "--set", "train.steps=4000"], cwd=self.folder,
                                 stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: (self.folder / "o/checkpoints/latest").exists())
            second = self.shoal("train", "r.toml", "--out", "o", "--set", "train.steps=4000", "--resume")
        finally:
            first.kill()
            first.wait()
        self.assertEqual((second.returncode, second.stderr),
                         (2, "shoal: o - another run is writing there; wait for its end, or choose another --out\n"))

    def test_a_checkpoint_of_another_run_does_not_go_into_a_folder_that_has_one(self):
        self.train("--out", "a")
        self.train("--out", "b", "--set", "train.seed=5")
        before = sorted(self.folder.glob("b/checkpoints/*"))
        done = self.shoal("train", "r.toml", "--resume", "a/checkpoints/step-8", "--out", "b")
        self.assertEqual((done.returncode, done.stderr),
                         (2, "shoal: b - there is a run already, and a/checkpoints/step-8 is not of it; choose another --out\n"))
        self.assertEqual(sorted(self.folder.glob("b/checkpoints/*")), before)

    def test_another_store_is_another_run(self):
        (self.base / "text/0.txt").write_text("another line\n" * 400)
        (self.base / "other.toml").write_text('inputs = ["text"]\nout = "other"\n')
        made = run("data", "other.toml", cwd=self.base)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.train("--out", "o", "--until", "4")
        done = self.shoal("train", "r.toml", "--out", "o", "--resume", "--set", f"data.path={self.base}/other")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, "^shoal: checkpoint - data: it is of the store with hash [0-9a-f]+, this run's is of the store with hash [0-9a-f]+; a run goes on with the data "
                                      "that it began with, so name that, or start a new run\n$")

    def test_what_a_run_may_not_change_is_named(self):
        self.train("--out", "o", "--until", "4")
        for change, sentence in (("model.width=64", "model.width is 32, this run's is 64"), ("train.precision=bf16", 'train.precision is "fp32", this run\'s is "bf16"'),
                                 ("optimizer.lr=0.5", "optimizer.lr is 0.01, this run's is 0.5"), ("numerics.tensor_chunks=2", "numerics.tensor_chunks is 1, this run's is 2"),
                                 ("train.global_batch=18", "train.global_batch is 12, this run's is 18")):
            done = self.shoal("train", "r.toml", "--out", "o", "--resume", "--set", change)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(f"shoal: checkpoint - run: its {sentence}", done.stderr)

    def test_closed_descriptors_are_no_ones(self):
        for closed in ("<&-", "2>&-", "<&- >&- 2>&-"):
            done = subprocess.run(["sh", "-c", f"exec {support.SHOAL} train r.toml --devices 2 --until 4 --out 'o{len(closed)}' {closed}"], cwd=self.folder,
                                  timeout=60)
            self.assertEqual(done.returncode, 0, closed)
            self.assertTrue((self.folder / f"o{len(closed)}/checkpoints/step-4").exists())

    def test_training_goes_on_when_nobody_reads(self):
        done = subprocess.run(["bash", "-c", f"set -o pipefail; {support.SHOAL} train r.toml --devices 2 --out o 2>&1 | head -1"], cwd=self.folder, timeout=60,
                              capture_output=True)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(len(metrics(self.folder / "o")), 12)

    def test_output_that_is_lost_is_an_error(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([support.SHOAL, "train", "--keys"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stderr), (1, "shoal: standard output - cannot be written: what was printed is not complete\n"))


if __name__ == "__main__":
    support.main()
