"""Flows that read s3:// write what they write of the same files on this machine.

    s3_test.py FLOW_PROGRAM

Needs the Python of .deps/python, for DuckDB."""
import gzip
import pathlib
import subprocess
import sys
import tempfile

from s3_service import Bucket, serve


def make(folder):
    import duckdb

    db = duckdb.connect()
    db.execute("create table t as select i as id, hash(i) % 100 as n, 'text number ' || hash(i + 3) % 1000 as s from range(50000) r(i)")
    (folder / "deep" / ".hidden").mkdir(parents=True)
    db.execute(f"copy t to '{folder}/t.parquet' (format parquet, row_group_size 10000)")
    db.execute(f"copy t to '{folder}/deep/one.csv' (header)")
    db.execute(f"copy t to '{folder}/deep/two.csv' (header)")
    (folder / "deep" / ".hidden" / "three.csv").write_text("not read\n")
    (folder / "deep" / "manifest.json").write_text("{}")
    (folder / "t.jsonl.gz").write_bytes(gzip.compress(b"".join(b'{"n": %d, "s": "%d"}\n' % (i, i % 7) for i in range(20000))))


def run(program, folder, paths, out, devices, environment):
    (folder / "p.toml").write_text(f'part_bytes = "256KB"\n[read]\npaths = ["{paths}"]\n[[step]]\ngroup_by = ["s"]\naggregates = {{ c = "count()", n = "sum(n)" }}\n'
                                   f'[write]\nformat = "csv"\n')
    return subprocess.run([program, folder / "p.toml", "--out", folder / out, "-n", str(devices)], capture_output=True, text=True, env=environment, timeout=100)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


def expect_error(result, *words):
    assert result.returncode in (1, 2), result
    for word in words:
        assert word in result.stderr, (word, result.stderr)


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="shoal-s3-") as name:
        work = pathlib.Path(name)
        environment = serve(work / "bucket")
        make(Bucket.folder)
        for number, path in enumerate(["t.parquet", "deep", "deep/t*.csv", "t.jsonl.gz"]):
            local = run(program, work, f"{work}/bucket/{path}", f"local{number}", 1, environment)
            assert local.returncode == 0, local.stderr
            wanted = files(work / f"local{number}")
            assert wanted
            for devices in (1, 3):
                remote = run(program, work, f"s3://bucket/{path}", f"remote{number}-{devices}", devices, environment)
                assert remote.returncode == 0, remote.stderr
                assert files(work / f"remote{number}-{devices}") == wanted, path
                assert remote.stderr.count("\n") <= 1 and "Finalize" not in remote.stderr, remote.stderr
            print(f"s3://bucket/{path}: the same bytes")
        expect_error(run(program, work, "s3://bucket/nothing", "none", 1, environment), "s3://bucket/nothing is no object or folder")
        expect_error(run(program, work, "s3://bucket/deep/*.tsv", "none", 1, environment), "got no file from s3://bucket/deep/*.tsv")
        expect_error(run(program, work, "s3://other/t.csv", "none", 1, environment), "s3://other/t.csv")
        refused = run(program, work, "s3://mine:secret@bucket/t.parquet", "none", 1, environment)
        expect_error(refused, "AWS_ACCESS_KEY_ID")
        assert "secret" not in refused.stderr + refused.stdout
        Bucket.changes["t.parquet"] = 5
        expect_error(run(program, work, "s3://bucket/t.parquet", "changed", 1, environment), "s3://bucket/t.parquet - changed while it was read")
        print("errors: one sentence each")


if __name__ == "__main__":
    main()
