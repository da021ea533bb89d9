"""Flows that write to s3:// write there what they write into a folder, whatever happens to them on the way.

    s3_write_test.py FLOW_PROGRAM

Needs the Python of .deps/python, for DuckDB."""
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from s3_service import Bucket, serve

GROUPS = '[[step]]\ngroup_by = ["s"]\naggregates = { c = "count()", n = "sum(n)" }\n'
SPLIT = '[[step]]\nsplit = { by = ["id"], parts = { train = 0.9, test = 0.1 } }\n'
FLOWS = {  # name: input, settings, steps, format
    "groups": ("t.parquet", 'part_bytes = "64KB"', GROUPS, "parquet"),
    "split": ("t.csv", 'part_bytes = "256KB"', SPLIT, "csv"),
    "bad": ("bad.jsonl", 'part_bytes = "32KB"', "", "jsonl"),
    "large": ("t.parquet", 'part_bytes = "64MB"', '[[step]]\nwith_column = { t = "concat(s, s, s, s, s, s, s, s)" }\n', "tsv"),  # more than a piece of an upload
}


class Runs:
    def __init__(self, program, work):
        self.program, self.work = program, work
        self.environment = serve(work / "bucket")
        Bucket.folder.joinpath("other").mkdir()

    def command(self, name, out, devices, *more):
        source, settings, steps, form = FLOWS[name]
        pipeline = self.work / f"{name}.toml"
        pipeline.write_text(f'{settings}\n[read]\npaths = ["{source}"]\nbad_records = "collect"\n{steps}[write]\nformat = "{form}"\n')
        return [self.program, pipeline, "--out", out, "-n", str(devices), *more]

    def run(self, *words):
        return subprocess.run(self.command(*words) if words[0] in FLOWS else [self.program, *words], cwd=self.work, capture_output=True, text=True,
                              env=self.environment, timeout=100)

    def well(self, *words):
        result = self.run(*words)
        assert result.returncode == 0, (words, result)
        return result.stdout

    def refuse(self, sentence, *words):
        result = self.run(*words)
        assert result.returncode in (1, 2) and sentence in result.stderr and result.stderr.count("\n") == 1, (sentence, result)


def make(folder):
    import duckdb

    db = duckdb.connect()
    db.execute("create table t as select i as id, hash(i) % 100 as n, 'text number ' || hash(i + 3) % 10000 as s from range(100000) r(i)")
    db.execute(f"copy t to '{folder}/t.parquet' (format parquet, row_group_size 10000)")
    db.execute(f"copy t to '{folder}/t.csv' (header)")
    (folder / "bad.jsonl").write_text("".join('{"n": none}\n' if i % 100 == 7 else f'{{"n": {i}}}\n' for i in range(10000)))


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expect_same(folder, bucket, what):
    got, want = files(bucket), files(folder)
    assert got.keys() == want.keys(), (what, got.keys(), want.keys())
    assert all(got[name] == want[name] for name in want), what


def writes(runs):
    for name in FLOWS:
        local = runs.work / name
        runs.well(name, name, 1)
        for devices in (1, 3):
            Bucket.stored.clear()
            runs.well(name, f"s3://bucket/deep/{name}-{devices}", devices)
            expect_same(local, Bucket.folder / f"deep/{name}-{devices}", name)
            assert Bucket.stored[-1] == f"deep/{name}-{devices}/manifest.json" and len(set(Bucket.stored)) == len(Bucket.stored), Bucket.stored
            assert not list(runs.work.glob("*.work")), "what was kept is gone"
        there = f"s3://bucket/deep/{name}-3"
        assert runs.well("show", there).replace(there, name) == runs.well("show", name)
        assert runs.well("verify", there) == runs.well("verify", name)
        Bucket.stored.clear()
        num_files = len(files(local)) - 2  # of rows; the others are the manifest and the report
        assert runs.well(name, there + "/", 2).endswith(f" in {num_files} files, {num_files} parts kept\n") and not Bucket.stored  # finished: compared
        print(f"{name}: {len(files(local))} files, the same bytes")
    assert max(len(body) for body in files(runs.work / "large").values()) > 11 << 20
    # What was written can be read.
    FLOWS["again"] = ("s3://bucket/deep/groups-3", "", "", "csv")
    FLOWS["here"] = ("groups", "", "", "csv")
    runs.well("again", "again", 1)
    runs.well("here", "here", 1)
    assert files(runs.work / "again")["part-00000.csv"] == files(runs.work / "here")["part-00000.csv"]


def damage(runs):
    folder = Bucket.folder / "deep/groups-1"
    part = folder / "part-00000.parquet"
    body = part.read_bytes()
    for wrong, sentence in [(body[:-1] + bytes([body[-1] ^ 1]), "damaged: its checksum does not hold"), (body[:-1], f"damaged: got {len(body) - 1} bytes, want {len(body)}"), (None, "not there: want")]:
        part.write_bytes(wrong) if wrong else part.unlink()
        for words in (("verify", "s3://bucket/deep/groups-1"), ("groups", "s3://bucket/deep/groups-1", 2)):
            runs.refuse(f"s3://bucket/deep/groups-1/part-00000.parquet - {sentence}", *words)
    print("damage: found")


def kills(runs, times, seed):
    """Killed at random instants and run again, and a file that came whole is damaged now and then: the same bytes."""
    draw = random.Random(seed)
    Bucket.pause = 0.005
    out, killed = "s3://bucket/killed", 0
    for attempt in range(times):
        process = subprocess.Popen(runs.command("groups", out, 1 + attempt % 2), cwd=runs.work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=runs.environment, start_new_session=True)
        time.sleep(draw.uniform(0.02, 0.5))
        if process.poll() is None:
            killed += 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        while subprocess.run(["pgrep", "-s", str(process.pid)], stdout=subprocess.DEVNULL).returncode == 0:
            time.sleep(0.01)  # the devices die with it, in a moment
        if (Bucket.folder / "killed/manifest.json").exists():  # it was done before
            expect_same(runs.work / "groups", Bucket.folder / "killed", f"killed, seed {seed}")
            shutil.rmtree(Bucket.folder / "killed")
        parts = sorted(Bucket.folder.glob("killed/part-*"))
        if parts and (runs.work / "bucket-killed.work").exists() and attempt % 3 == 0:
            draw.choice(parts).write_bytes(b"not what was written")
    assert killed, "none was alive"
    Bucket.pause = 0
    runs.well("groups", out, 2)
    expect_same(runs.work / "groups", Bucket.folder / "killed", f"killed, seed {seed}")
    print(f"killed {killed} times: the same bytes")


def refusals(runs):
    out = "s3://bucket/refused"
    Bucket.refused = ("refused/part-00001",)
    runs.refuse(f"{out}/part-00001.parquet - cannot be written: ", "groups", out, 1)
    assert (runs.work / "bucket-refused.work/.work/identity").exists()
    runs.refuse("bucket-refused.work - holds unfinished work of another flow, or of input that has changed since; remove it, or name another --work", "split", out, 1)
    runs.refuse(f"{out} - holds files without a manifest, and elsewhere/.work is not there to go on with", "groups", out, 1, "--work", "elsewhere")
    Bucket.refused = ()
    stray = Bucket.folder / "refused/part-x"  # what comes there while the flow runs is not the flow's to remove
    stray.write_text("mine\n")
    runs.refuse(f"{out} - holds something else than this flow's output: got part-x; remove it, and run the same command again", "groups", out, 1)
    assert stray.read_text() == "mine\n" and not (Bucket.folder / "refused/manifest.json").exists()
    stray.unlink()
    runs.well("groups", out, 1)
    expect_same(runs.work / "groups", Bucket.folder / "refused", "refused, then not")

    # All is there but the manifest, and then an object is no longer as it was: it is made again.
    Bucket.refused = ("late/manifest.json",)
    runs.refuse("s3://bucket/late/manifest.json - cannot be written: ", "groups", "s3://bucket/late", 1)
    Bucket.refused = ()
    (Bucket.folder / "late/part-00003.parquet").write_bytes(b"not what was written")
    runs.well("groups", "s3://bucket/late", 2)
    expect_same(runs.work / "groups", Bucket.folder / "late", "damaged late")

    (Bucket.folder / "other/notes.txt").write_text("mine\n")
    runs.refuse("s3://bucket/other - holds something else than a flow's output: got notes.txt, want a new or empty folder; name another --out", "groups", "s3://bucket/other", 1)
    assert files(Bucket.folder / "other") == {"notes.txt": b"mine\n"} and not (runs.work / "bucket-other.work").exists()
    runs.refuse("s3://bucket/deep/bad-1 - holds the output of another flow", "groups", "s3://bucket/deep/bad-1", 1)
    runs.refuse("s3://none/x - there is no bucket none; name one that is there", "groups", "s3://none/x", 1)
    runs.refuse("s3://...@bucket - got a key in the path", "groups", "s3://mine:secret@bucket/x", 1)
    assert not list(runs.work.glob("*secret*"))
    runs.refuse("work: got w with a folder as out", "groups", "new", 1, "--work", "w")
    FLOWS["tokens"] = ("t.csv", "", '[[step]]\nselect = { text = "s" }\n', "tokens")
    runs.refuse("out: got s3://bucket/tokens, want a folder of this machine: what reads token stores reads files alone", "tokens", "s3://bucket/tokens", 1)

    (runs.work / "kept").mkdir()
    (runs.work / "kept/mine.txt").write_text("mine\n")
    runs.well("bad", "s3://bucket/with-work", 2, "--work", "kept")
    assert files(runs.work / "kept") == {"mine.txt": b"mine\n"}, "the folder is the user's"
    expect_same(runs.work / "bad", Bucket.folder / "with-work", "with --work")
    print("errors: one sentence each, and nothing lost")


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    with tempfile.TemporaryDirectory(prefix="shoal-s3-") as name:
        work = pathlib.Path(name)
        runs = Runs(program, work)
        make(work)
        writes(runs)
        damage(runs)
        refusals(runs)
        kills(runs, times, seed=int(time.time()))


if __name__ == "__main__":
    main()
