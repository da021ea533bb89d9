"""Whether two builds of `shoal` train to the same bits: gpt, llama, resnet and mlp, fp32 and bf16, tensor_chunks 1 and 4,
ten layouts. Usage: same_hashes.py OLD_SHOAL NEW_SHOAL. Prints a row for each run, and exits with 1 when a hash differs."""
import pathlib
import re
import subprocess
import sys
import tempfile

MODELS = {
    "gpt": dict(name="gpt", vocabulary=96, layers=2, width=64, heads=4, context=16, dropout=0.1),
    "llama": dict(name="llama", vocabulary=96, layers=2, width=64, heads=4, context=16),
    "resnet": dict(name="resnet", stages=2, layers=1, width=8, outputs=10, image=16),
    "mlp": dict(name="mlp", inputs=32, width=128, layers=2, outputs=10, dropout=0.1),
}
WHOLE = ["dp=1", "dp=2", "dp=4", "dp=2,zero=0", "dp=3,zero=2", "dp=2,zero=3", "dp=4,zero=3", "dp=2,owners=servers:1", "dp=3", "dp=2,zero=2"]
DIVIDED = ["dp=1", "tp=2", "tp=4", "dp=2,tp=2", "dp=2,tp=2,zero=0", "dp=2,tp=2,zero=2", "dp=2,tp=2,zero=3", "tp=2,owners=servers:1", "dp=3", "dp=2,zero=3"]


def recipe(model, precision, chunks):
    keys = [f"{key} = {repr(value).replace(chr(39), chr(34))}" for key, value in MODELS[model].items()]
    return "\n".join(["[model]", *keys, "[data]", 'source = "random"', "[train]", "steps = 4", "global_batch = 12", "microbatches = 6",
                      f'precision = "{precision}"', "[optimizer]", 'name = "adamw"', "lr = 1e-3", "clip_norm = 1.0",
                      "[numerics]", f"tensor_chunks = {chunks}", "[checkpoint]", "every = 4", ""])


def devices(layout):
    count = 1
    for factor in re.findall(r"(?:dp|tp)=(\d+)", layout):
        count *= int(factor)
    return count + sum(int(n) for n in re.findall(r"servers:(\d+)", layout))


def content_hash(shoal, folder, text, layout):
    out = folder / "run"
    (folder / "recipe.toml").write_text(text)
    subprocess.run([shoal, "train", folder / "recipe.toml", "--out", out, "--layout", layout, "--devices", str(devices(layout))],
                   check=True, stderr=subprocess.PIPE, text=True)
    done = subprocess.run([shoal, "checkpoint", "hash", out / "checkpoints" / "latest"], check=True, capture_output=True, text=True)
    subprocess.run(["rm", "-r", out], check=True)
    return done.stdout.strip()


def main(old, new):
    runs = differ = 0
    for model in MODELS:
        for precision in ("fp32", "bf16"):
            for chunks, layouts in ((1, WHOLE), (4, DIVIDED)):
                wanted = None
                for layout in layouts:
                    with tempfile.TemporaryDirectory() as folder:
                        text = recipe(model, precision, chunks)
                        got = content_hash(new, pathlib.Path(folder), text, layout)
                        want = content_hash(old, pathlib.Path(folder), text, layout)
                    wanted = wanted or want
                    runs += 1
                    differ += got != want or want != wanted
                    print(f"{model:7} {precision} C={chunks} {layout:22} {got[:16]} {'equal' if got == want == wanted else 'DIFFERS'}", flush=True)
    print(f"{runs} runs, {runs - differ} equal")
    return differ > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
