"""Inference beside llama.cpp, in turns, on the same cores.

    bench/infer.py build/shoal MODEL.gguf [--llama PYTHON] [--rounds 5] [--tokens 128]

PYTHON is one that has llama-cpp-python, built for this CPU. Without it only Shoal is measured. Of Shoal a whole command is timed, once with all tokens and
once with one, and the difference taken: what remains is the tokens' own time. Prints medians, the spread, the ratio, and what of the memory's speed a single
answer reaches: bytes of the file, read once for each token, over the speed at which one core reads 256 MB."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

PEER = pathlib.Path(__file__).parent / "peers" / "infer_llama.py"
CASES = {  # name: what llama.cpp does, threads or devices, requests
    "decode, 1 core": ("decode", 1, 1),
    "decode, 2 cores": ("decode", 2, 1),
    "prompt, 1 core": ("prompt", 1, 1),
    "prompt, 2 cores": ("prompt", 2, 1),
    "16 answers, 1 core": ("batch", 1, 16),
    "16 answers, 2 cores": ("batch", 2, 16),
}


class Llama:
    def __init__(self, python, model):
        self.model = model
        self.process = subprocess.Popen([python, PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def seconds(self, do, threads, tokens, requests):
        self.process.stdin.write(json.dumps({"do": do, "threads": threads, "tokens": tokens, "requests": requests, "model": str(self.model)}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("bench/infer.py - llama.cpp: its worker ended; run bench/peers/infer_llama.py by hand to see why")
        return json.loads(answer)["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def generate(shoal, model, folder, prompts, tokens, devices):
    """Seconds of the command, and the tokens that it wrote."""
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
    out = folder / "answers.jsonl"
    out.unlink(missing_ok=True)
    command = [shoal, "generate", model, "--prompts", folder / "prompts.jsonl", "--out", out, "--temperature", "0", "--tokens", str(tokens)]
    begin = time.perf_counter()
    subprocess.run(command + (["--layout", f"tp={devices}"] if devices > 1 else []), check=True, stderr=subprocess.DEVNULL, timeout=600)
    seconds = time.perf_counter() - begin
    return seconds, sum(json.loads(line)["tokens"] for line in out.read_text().splitlines())


def shoal_rate(shoal, model, folder, do, devices, tokens, requests):
    if do == "prompt":
        words = " ".join(f"{i} is followed by {i + 1}," for i in range(tokens // 8))  # some tokens a number, counted by the command below
        score = subprocess.run([shoal, "score", model, "--prompt", words], check=True, capture_output=True, text=True, timeout=600).stdout
        count = len(json.loads(score)["tokens"])
        long, _ = generate(shoal, model, folder, [words], 1, devices)
        short, _ = generate(shoal, model, folder, ["One"], 1, devices)
        return (count - 1) / (long - short)
    prompts = [f"A list of the numbers from {n} on: {n}, {n + 1}, {n + 2}," for n in range(10, 10 + requests)]
    long, written = generate(shoal, model, folder, prompts, tokens, devices)
    short, first = generate(shoal, model, folder, prompts, 1, devices)
    return (written - first) / (long - short)


def line(name, rates):
    return f"{name:22} {statistics.median(rates):8.1f} tokens/s  ({min(rates):.1f} to {max(rates):.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shoal", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--llama", help="a Python that has llama-cpp-python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    flags = parser.parse_args()
    flags.shoal = flags.shoal.resolve()  # a bare name would be looked up in PATH
    llama = Llama(flags.llama, flags.model) if flags.llama else None
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before the first round; {flags.rounds} rounds, {flags.tokens} tokens an answer")
    ours, theirs, bandwidth = {}, {}, []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(flags.rounds):
            if llama:
                bandwidth.append((256 << 20) / llama.seconds("bandwidth", 1, 0, 1))
            for name, (do, cores, requests) in CASES.items():
                tokens = 4 * flags.tokens if do == "prompt" else flags.tokens
                ours.setdefault(name, []).append(shoal_rate(flags.shoal, flags.model, pathlib.Path(folder), do, cores, tokens, requests))
                if llama:
                    theirs.setdefault(name, []).append(tokens * requests / llama.seconds(do, cores, tokens, requests))
    for name in CASES:
        print(line(name, ours[name]))
        if llama:
            ratios = [a / b for a, b in zip(ours[name], theirs[name])]
            print(f"  llama.cpp {line('', theirs[name])[12:]}; ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    one = statistics.median(ours["decode, 1 core"])
    for cores in ("1 core", "2 cores"):
        many = statistics.median(a / b for a, b in zip(ours[f"16 answers, {cores}"], ours[f"decode, {cores}"]))
        print(f"16 answers at once, {cores}: {many:.2f} x one")
    if llama:
        speed = statistics.median(bandwidth)
        print(f"memory: {speed / 1e9:.1f} GB/s read by one core; one answer reads {one * flags.model.stat().st_size / 1e9:.1f} GB/s, "
              f"{one * flags.model.stat().st_size / speed:.2f} of it")
        llama.close()


main()
