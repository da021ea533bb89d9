"""shoal generate and shoal score: the same text on any devices, files of answers that go on where they ended, and scores with the bits of answers."""
import json
import math
import signal
import subprocess

import support


class Answers(support.CommandBase):
    def setUp(self):
        super().setUp()
        if not (self.base / "trained").exists():
            self.train("--out", str(self.base / "trained"), "--set", "model.context=64", "--set", "model.layers=2")
        self.model = str(self.base / "trained" / "checkpoints" / "latest")

    def lines(self, *arguments):
        done = self.shoal(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_a_score_is_the_same_on_any_layout(self):
        (self.folder / "long.txt").write_text("line 3 of file 9: the quick brown fox\n" * 5)
        whole = self.lines("score", self.model, "--prompt", "line 3 of", "--text", "long.txt")
        self.assertEqual([len(one["tokens"]) for one in whole], [9, 190])
        self.assertEqual(whole[0]["tokens"], list(b"line 3 of"))
        self.assertEqual([i for i, logprob in enumerate(whole[1]["logprobs"]) if logprob is None], [0, 64, 128])
        for one in whole:
            known = [logprob for logprob in one["logprobs"] if logprob is not None]
            self.assertAlmostEqual(one["sum"], sum(known), places=6)
            self.assertAlmostEqual(one["perplexity"], 2.718281828459045 ** (-sum(known) / len(known)), places=6)
        for layout in ["tp=2", "pp=2", "tp=2,pp=2", "dp=2"]:
            self.assertEqual(self.lines("score", self.model, "--prompt", "line 3 of", "--text", "long.txt", "--layout", layout), whole)

    def test_a_score_agrees_with_the_loss_of_training(self):
        text = "".join(f"line {j} of file 12: the quick brown fox\n" for j in range(20))
        losses = {}
        for name, model in [("gpt", []), ("llama", ["--set", "model.name=llama", "--set", "model.kv_heads=1"])]:
            self.train("--out", name, "--set", "model.context=64", "--set", "train.steps=60", "--set", "validation.every=60", *model)
            loss = support.metrics(self.folder / name)[-1]["validation_loss"]
            score = self.lines("score", f"{name}/checkpoints/latest", "--prompt", text)[0]
            losses[name] = (loss, math.log(score["perplexity"]))
            self.assertLess(loss, 3)  # it has learnt: a head or a bias in the wrong place would show
            self.assertAlmostEqual(*losses[name], delta=0.15 * loss)

    def test_converted_models_score_alike(self):
        def score(model):
            return self.lines("score", model, "--prompt", "line 3 of file 9: the quick brown fox")
        for out in [["m.gguf"], ["folder"], ["m", "--to", "gguf"]]:
            done = self.shoal("convert", self.model, *out)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
            self.assertEqual(score(out[0]), score(self.model))  # of a gpt to the bit
        self.assertEqual(self.shoal("convert", "m.gguf", "back").returncode, 0)
        self.assertEqual((self.folder / "back" / "model.safetensors").read_bytes(), (self.folder / "folder" / "model.safetensors").read_bytes())
        self.assertEqual(self.shoal("convert", "folder", "small.gguf", "--type", "q8_0").returncode, 0)
        self.assertAlmostEqual(score("small.gguf")[0]["sum"], score(self.model)[0]["sum"], delta=0.5)
        self.assert_refused(["convert", "m.gguf", "folder"], "folder - is there already, want the name of a new folder")
        self.assert_refused(["convert", "m.gguf", "x", "--to", "onnx"], "--to - got onnx, want gguf, huggingface or checkpoint")
        self.assert_refused(["convert", "m.gguf", "x", "--type", "q8_0"], "--type - got Q8_0, want f32, f16 or bf16 for --to huggingface")

    def test_answers_in_a_file_go_on_where_they_ended(self):
        prompts = [f"line {i} of file {i % 7}" for i in range(60)]
        (self.folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
        command = ["generate", self.model, "--prompts", "prompts.jsonl", "--tokens", "40", "--temperature", "0.9", "--seed", "3"]
        self.assertEqual(self.shoal(*command, "--out", "whole.jsonl").returncode, 0)
        whole = (self.folder / "whole.jsonl").read_text()
        answers = [json.loads(line) for line in whole.splitlines()]
        self.assertEqual([one["prompt"] for one in answers], prompts)
        self.assertEqual([one["index"] for one in answers], list(range(60)))
        # Cut in the middle of a line, and on another layout.
        for size in [0, 1, len(whole) // 2, len(whole) - 1]:
            (self.folder / "cut.jsonl").write_text(whole[:size])
            done = self.shoal(*command, "--out", "cut.jsonl", "--layout", "tp=2")
            self.assertEqual((done.returncode, (self.folder / "cut.jsonl").read_text()), (0, whole), done.stderr)
        # Killed.
        process = subprocess.Popen([support.SHOAL, *command, "--out", "killed.jsonl"], cwd=self.folder)
        killed = self.folder / "killed.jsonl"
        support.wait_for(lambda: process.poll() is not None or (killed.exists() and killed.stat().st_size > 0))
        devices = support.children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        support.wait_for(lambda: not any(support.is_alive(device) for device in devices))
        self.assertEqual(self.shoal(*command, "--out", "killed.jsonl").returncode, 0)
        self.assertEqual(killed.read_text(), whole)
        self.assert_refused([*command[:-1], "4", "--out", "whole.jsonl"],
                            "whole.jsonl:1 - got the answer to another request, want a file of this run, to go on with it, or a new one")
        self.assertEqual((self.folder / "whole.jsonl").read_text(), whole)

    def test_what_cannot_be_is_refused(self):
        self.assert_refused(["generate", self.model, "--prompt", "x", "--layout", "tp=0"],
                            '--layout - got "tp=0", want tp=N, pp=N or dp=N, as tp=2,dp=2; N from 1 to 256')
        self.assert_refused(["generate", self.model, "--prompt", "x", "--layout", "tp=2", "--devices", "3"],
                            "--devices - got 3, want the 2 of --layout tp=2")
        self.assert_refused(["generate", self.model, "--prompt", "x", "--top-p", "2"], "--top-p - got 2, want 0 to 1")
        (self.folder / "p.jsonl").write_text('{"prompt": "a"}\n{"text": "b"}\n')
        self.assert_refused(["generate", self.model, "--prompts", "p.jsonl"],
                            'p.jsonl:2 - got no prompt, want a JSON object on each line, with a text as "prompt"')
        self.assert_refused(["score", self.model], "shoal score - text: got none, want --text FILE or --prompt TEXT")
        self.assert_refused(["score", self.model, "--text", "none.txt"], "none.txt - cannot be read: want a file of text")


if __name__ == "__main__":
    support.main()
