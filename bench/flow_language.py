"""Text for language models: flows beside datatrove and Hugging Face's tokenizers, in turns, as many processes or threads on each side.

    bench/flow_language.py FLOW_PROGRAM --peers PYTHON [--megabytes 16] [--rounds 3] [--folder /tmp/bench-language] [--only NAME]

FLOW_PROGRAM is build/tests/flow_program; PYTHON is one that has datatrove[processing] and tokenizers. Documents are pieces of the Python library's own source, a third of them copies with a few words changed. Every side
reads the same files of JSON lines and writes what it found: documents as JSON lines, tokens as uint16, a tokenizer as tokenizer.json. Prints the median seconds, the range, and each peer's time over flow's.

First it checks what is compared: that both tokenizers give the same tokens for every document, and how many documents both deduplications keep."""
import argparse
import json
import os
import pathlib
import random
import shlex
import shutil
import subprocess
import sys
import time

from flow import compare

DATATROVE = """import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

workers = int(sys.argv[1])
config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
reader = lambda: JsonlReader("in", glob_pattern="*.jsonl")
stages = [
    ([reader(), MinhashDedupSignature("work/sig", config=config)], workers),
    ([MinhashDedupBuckets("work/sig", "work/buckets", config=config)], config.num_buckets),
    ([MinhashDedupCluster("work/buckets", "work/remove", config=config)], 1),
    ([reader(), MinhashDedupFilter("work/remove"), JsonlWriter("out", compression=None)], workers),
]
if __name__ == "__main__":
    for steps, tasks in stages:
        LocalPipelineExecutor(pipeline=steps, tasks=tasks, workers=workers, skip_completed=False).run()
"""
TOKENIZERS = """import json, os, pathlib, sys
import numpy
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer/tokenizer.json")
end = tokenizer.token_to_id("<|endoftext|>")
encode = tokenizer.encode_batch_fast if sys.argv[1] == "fast" else tokenizer.encode_batch
os.makedirs("out", exist_ok=True)
for path in sorted(pathlib.Path("in").glob("*.jsonl")):
    with open(path) as lines, open(f"out/{path.stem}.tokens", "wb") as out:
        texts = [json.loads(line)["text"] for line in lines]
        for begin in range(0, len(texts), 1000):
            for encoding in encode(texts[begin:begin + 1000], add_special_tokens=False):
                out.write(numpy.array(encoding.ids + [end], dtype=numpy.uint16).tobytes())
"""
LEARN = """import json, os, pathlib
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
texts = (json.loads(line)["text"] for path in sorted(pathlib.Path("in").glob("*.jsonl")) for line in open(path))
tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=8192, special_tokens=["<|endoftext|>"], show_progress=False,
                                                         initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
os.makedirs("out", exist_ok=True)
tokenizer.save("out/tokenizer.json")
"""
CHECK = """import array, json, pathlib, sys
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer/tokenizer.json")
end = tokenizer.token_to_id("<|endoftext|>")
ours = array.array("H")
for path in sorted(pathlib.Path("out").glob("train-*.tokens")):
    ours.frombytes(path.read_bytes())
at = documents = 0
for path in sorted(pathlib.Path("in").glob("*.jsonl")):
    for line in open(path):
        ids = tokenizer.encode(json.loads(line)["text"], add_special_tokens=False).ids + [end]
        if ours[at:at + len(ids)].tolist() != ids:
            sys.exit(f"document {documents} differs")
        at += len(ids)
        documents += 1
if at != len(ours):
    sys.exit("ours has more tokens")
print(f"{documents} documents, {at} tokens, all equal")
"""
READ = '[read]\npaths = ["in"]\ncolumns = { id = "text", text = "text" }\n'
FLOWS = {
    "near duplicates": READ + '[[step]]\nnear_duplicates = { column = "text" }\n[write]\nout = "out"\nformat = "jsonl"\n',
    "tokens": READ + '[write]\nout = "out"\nformat = "tokens"\ntokenizer = "tokenizer"\n',
    "learn a tokenizer": READ + '[write]\nout = "out"\nformat = "tokenizer"\nvocabulary = 8192\n',
}


def make_data(folder, megabytes):
    if (folder / "in").exists():
        return
    (folder / "in").mkdir(parents=True)
    pick, kept, size, files = random.Random(1), [], 0, sorted(pathlib.Path(os.__file__).parent.rglob("*.py"))
    pick.shuffle(files)
    pieces = (text[at:at + 3000] for path in files for text in [path.read_text(errors="replace")] for at in range(0, len(text), 3000))
    out = [open(folder / f"in/{i:02}.jsonl", "w") for i in range(8)]
    while size < megabytes << 20:
        if len(kept) > 100 and pick.random() < 1 / 3:
            words = pick.choice(kept).split(" ")
            for _ in range(pick.randrange(4)):
                words[pick.randrange(len(words))] = f"changed{pick.randrange(1000)}"
            text = " ".join(words)
        else:
            text = next(pieces, None)
            if text is None:
                break
            kept.append(text)
        size += len(text)
        pick.choice(out).write(json.dumps({"id": str(size), "text": text}) + "\n")
    for file in out:
        file.close()


def flow_command(program, folder, task, devices):
    (folder / "p.toml").write_text(FLOWS[task])
    return [*shlex.split(program), "p.toml", "-n", str(devices)]


def clear(folder):
    for name in ("out", "work", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)


def run(command, folder, threads=1):
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false", "OMP_NUM_THREADS": "1"}
    end = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    if end.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{end.stdout[-2000:]}")
    return end.stdout


def measure(command, folder, threads):
    clear(folder)
    begin = time.monotonic()
    run(command, folder, threads)
    return time.monotonic() - begin


def lines_in(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


def check(options):
    folder = options.folder
    clear(folder)
    shutil.rmtree(folder / "tokenizer", ignore_errors=True)
    run(flow_command(options.program, folder, "learn a tokenizer", 2), folder)
    shutil.move(folder / "out", folder / "tokenizer")
    run(flow_command(options.program, folder, "tokens", 2), folder)
    print("tokens:", run([options.peers, "check.py"], folder).strip(), flush=True)
    kept = {}
    for side, command in (("flow", flow_command(options.program, folder, "near duplicates", 2)), ("datatrove", [options.peers, "datatrove_minhash.py", "2"])):
        clear(folder)
        run(command, folder)
        kept[side] = lines_in(folder / "out")
    print(f"near duplicates: of {lines_in(folder / 'in')} documents flow keeps {kept['flow']}, datatrove {kept['datatrove']}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--peers", required=True)
    parser.add_argument("--megabytes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/bench-language"))
    parser.add_argument("--only", default="")
    parser.add_argument("--no-check", action="store_true")
    options = parser.parse_args()
    options.program = str(pathlib.Path(options.program).resolve())
    options.peers = str(pathlib.Path(options.peers).absolute())
    make_data(options.folder, options.megabytes)
    for name, text in (("datatrove_minhash.py", DATATROVE), ("hf_encode.py", TOKENIZERS), ("hf_learn.py", LEARN), ("check.py", CHECK)):
        (options.folder / name).write_text(text)
    if not options.no_check:
        check(options)
    for task in FLOWS:
        if options.only not in task:
            continue
        for width in (1, 2):
            sides = {"flow": lambda: flow_command(options.program, options.folder, task, width)}
            if task == "near duplicates":
                sides["datatrove"] = lambda: [options.peers, "datatrove_minhash.py", str(width)]
            elif task == "tokens":
                sides["tokenizers"] = lambda: [options.peers, "hf_encode.py", "plain"]
                sides["tokenizers, fast"] = lambda: [options.peers, "hf_encode.py", "fast"]
            else:
                sides["tokenizers"] = lambda: [options.peers, "hf_learn.py"]
            compare(f"{task} on {width}", sides, options.rounds, lambda command: measure(command, options.folder, width))


if __name__ == "__main__":
    main()
