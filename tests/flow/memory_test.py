"""What the devices of a flow hold: rows that sort, group and join meet are many times as many.

    memory_test.py FLOW_PROGRAM [--rows 2000000] [--all]

Looked at every few milliseconds: the memory of each process that no file stands behind (RssAnon in /proc/PID/status), summed over the processes. It may be `memory`, and PROCESS
for each, which libraries and small allocations take. What is mapped of files is the system's cache. Needs
the Python of .deps/python."""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

PROCESS = 16  # MiB beside the limit, for each process; docs/limits.md says the same
STEPS = {
    "sort": 'sort = ["-x"]',
    "group": 'group_by = ["s"]\naggregates = { c = "count()", s2 = "sum(n)", m = "mean(x)" }',
    "distinct": 'distinct = ["s"]',
    "join": 'join = { paths = ["RIGHT"], on = ["u"], kind = "outer" }',
}


def make(folder, rows):
    import duckdb

    db = duckdb.connect()
    db.execute("set threads = 1")
    db.execute(f"""create table t as select i as id, 'user_' || hash(i) % 100000 as u, hash(i + 1) % 1000 as n, hash(i + 2) % 1000000 / 7.0 as x,
        'text number ' || hash(i + 3) % 1000000 as s from range({rows}) r(i)""")
    db.execute(f"copy t to '{folder}/t.parquet' (format parquet)")
    db.execute(f"copy (select distinct u, hash(u) % 100 as w from t) to '{folder}/r.parquet' (format parquet)")


def children(pid):
    try:
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def anonymous(pid):
    """MiB."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def peak(command):
    most = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            devices = children(process.pid) or [process.pid]
            most = max(most, sum(map(anonymous, devices)))
            time.sleep(0.003)
        said = process.stderr.read()
    if process.returncode:
        sys.exit(said)
    return most


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=700_000)
    parser.add_argument("--all", action="store_true", help="every step, limit and number of devices")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="shoal-memory-") as name:
        folder = pathlib.Path(name)
        make(folder, options.rows)
        for step, text in STEPS.items():
            for memory, devices in [(64, 2), (128, 1), (128, 4), (256, 2), (1024, 2)] if options.all else [(64, 2)]:
                (folder / "p.toml").write_text(f'memory = "{memory}MB"\n[read]\npaths = ["{folder}/t.parquet"]\n[[step]]\n{text.replace("RIGHT", f"{folder}/r.parquet")}\n'
                                               f'[write]\nformat = "parquet"\n')
                out = folder / f"{step}{memory}-{devices}"
                most = peak([options.program, str(folder / "p.toml"), "--out", str(out), "-n", str(devices)])
                limit = memory + devices * PROCESS
                print(f"{step:9} memory {memory:5} MiB, {devices} devices: held {most:6.1f} MiB at most, want at most {limit}", flush=True)
                failed += most > limit
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
