"""Flows on two devices beside flows on one, DuckDB, polars, GNU sort, PySpark and fastp, in turns, two threads each.

    bench/flow.py FLOW_PROGRAM [--rows 5000000] [--rounds 3] [--folder /tmp/bench-flow]

FLOW_PROGRAM is build/tests/flow_program (cmake --build build --target flow_program), or `build/shoal data`. Run it with the Python of .deps/python, which has DuckDB; polars,
PySpark and fastp are taken where they are installed. Every side reads the same files and writes Parquet (GNU sort: text; of reads: tab-separated text and FASTQ). Prints the
median seconds, the spread, and each peer's time over flow's."""
import argparse
import os
import pathlib
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import time

DUCKDB = """import duckdb, sys
db = duckdb.connect()
db.execute("set threads = 2")
db.execute(sys.argv[1])
"""
POLARS = """import polars as pl, sys
exec(sys.argv[1])
"""
PYSPARK = """import os, pyspark, sys
from pyspark.sql import SparkSession
from pyspark.sql.functions import explode, split

spark = SparkSession.builder.master("local[2]").config("spark.driver.memory", "8g").config("spark.ui.enabled", "false").getOrCreate()
lines = spark.read.text("t.txt")
out = lines.select(explode(split("value", " ")).alias("text")).groupBy("text").count() if sys.argv[1] == "words" else lines.distinct()
out.write.parquet("out")
"""
PYSPARK_RDD = """import sys
from operator import add
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[2]").config("spark.driver.memory", "8g").config("spark.ui.enabled", "false").getOrCreate()
lines = spark.sparkContext.textFile("t.txt")
if sys.argv[1] == "words":
    lines.flatMap(lambda line: line.split(" ")).map(lambda word: (word, 1)).reduceByKey(add).saveAsTextFile("out")
else:
    lines.distinct().saveAsTextFile("out")
"""
QUERIES = {  # steps of flow, DuckDB's query, polars' expression
    "filter parquet": ("t.parquet", '[[step]]\nfilter = "n > 500 and x < 50.0"', "select * from 't.parquet' where n > 500 and x < 50",
                       "pl.scan_parquet('t.parquet').filter((pl.col('n') > 500) & (pl.col('x') < 50)).sink_parquet('out')"),
    "group parquet": ("t.parquet", '[[step]]\ngroup_by = ["u"]\naggregates = { c = "count()", s = "sum(n)", m = "mean(x)", h = "max(x)" }',
                      "select u, count(*), sum(n), avg(x), max(x) from 't.parquet' group by u order by u",
                      "pl.scan_parquet('t.parquet').group_by('u').agg(pl.len(), pl.sum('n'), pl.mean('x'), pl.max('x').alias('h')).sort('u').sink_parquet('out')"),
    "sort parquet": ("t.parquet", '[[step]]\nsort = ["-x"]', "select * from 't.parquet' order by x desc", "pl.scan_parquet('t.parquet').sort('x', descending=True).sink_parquet('out')"),
    "join parquet": ("t.parquet", '[[step]]\njoin = { paths = ["r.parquet"], on = ["u"] }', "select t.*, r.w from 't.parquet' t join 'r.parquet' r on t.u = r.u",
                     "pl.scan_parquet('t.parquet').join(pl.scan_parquet('r.parquet'), on='u').sink_parquet('out')"),
    "group csv": ("t.csv", '[[step]]\ngroup_by = ["u"]\naggregates = { c = "count()", s = "sum(n)", m = "mean(x)" }', "select u, count(*), sum(n), avg(x) from 't.csv' group by u order by u",
                  "pl.scan_csv('t.csv').group_by('u').agg(pl.len(), pl.sum('n'), pl.mean('x')).sort('u').sink_parquet('out')"),
}
WORDS = '[[step]]\nflat_map = { column = "text", by = "words" }\n[[step]]\ngroup_by = ["text"]\naggregates = { c = "count()" }'
DISTINCT = '[[step]]\ndistinct = ["text"]'
GNU_DISTINCT = "LC_ALL=C sort -u --parallel=2 t.txt > out"
READS = '[[step]]\nfilter = "length(sequence) >= 50 and mean_quality(quality) >= 30.0"'
FASTP = "fastp -i reads.fastq -o out -w 2 -A -G -u 100 -n 50 -l 50 --average_qual 30 -j /dev/null -h /dev/null"
GNU_WORDS = "tr -s ' ' '\\n' < t.txt | LC_ALL=C sort --parallel=2 | uniq -c > out"


def make_data(folder, rows):
    if (folder / "t.txt").exists():
        return
    import duckdb

    db = duckdb.connect()
    db.execute("select setseed(0.5)")
    db.execute(f"""create table t as select i as id, 'user_' || (random() * 100000)::bigint as u, (random() * 1000)::bigint as n, random() * 100 as x,
        case when random() < 0.1 then null else 'text number ' || (random() * 1e6)::bigint end as s from range({rows}) r(i)""")
    db.execute(f"copy t to '{folder}/t.parquet' (format parquet)")
    db.execute(f"copy t to '{folder}/t.csv' (header)")
    db.execute(f"copy (select u, n * 3 as w from (select u, any_value(n) as n from t group by u)) to '{folder}/r.parquet' (format parquet)")
    db.execute(f"copy (select coalesce(s, 'none') || ' ' || u from t) to '{folder}/t.txt' (header false, quote '', delimiter '|')")


def make_reads(folder, rows):
    """Reads of 150 bases, half of them of a quality that is too low."""
    if (folder / "reads.fastq").exists():
        return
    pick = random.Random(1)
    bases = ["".join(pick.choices("ACGT", k=150)) for _ in range(1000)]
    qualities = ["".join(chr(33 + max(2, min(40, round(pick.gauss(mean, 5))))) for _ in range(150)) for mean in range(20, 40) for _ in range(50)]
    with open(folder / "reads.fastq", "w") as out:
        for i in range(rows):
            out.write(f"@read{i}\n{bases[i * 7 % 1000]}\n+\n{qualities[i * 13 % 1000]}\n")


def flow_command(program, folder, source, steps, devices=2, sink="parquet"):
    (folder / "p.toml").write_text(f'[read]\npaths = ["{source}"]\n{steps}\n[write]\nout = "out"\nformat = "{sink}"\n')
    return [*shlex.split(program), "p.toml", "-n", str(devices)]


def sides(program, folder):
    """name: {side: (prepare, command)}"""
    python, tasks = sys.executable, {}
    has = {module: subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0 for module in ("polars", "pyspark")}

    def flow(source, steps, **how):
        return {"flow": lambda: flow_command(program, folder, source, steps, **how),
                "flow on one": lambda: flow_command(program, folder, source, steps, devices=1, **how)}

    for name, (source, steps, sql, expression) in QUERIES.items():
        tasks[name] = {**flow(source, steps),
                       "duckdb": lambda sql=sql: [python, "-c", DUCKDB, f"copy ({sql}) to 'out' (format parquet)"]}
        if has["polars"]:
            tasks[name]["polars"] = lambda expression=expression: [python, "-c", POLARS, expression]
    tasks["words of text"] = {**flow("t.txt", WORDS), "sort | uniq": lambda: ["bash", "-c", GNU_WORDS]}
    tasks["distinct text"] = {**flow("t.txt", DISTINCT), "sort -u": lambda: ["bash", "-c", GNU_DISTINCT]}
    if has["pyspark"]:
        for task, what in (("words of text", "words"), ("distinct text", "distinct")):
            tasks[task]["pyspark, SQL"] = lambda what=what: [python, "-c", PYSPARK, what]
            tasks[task]["pyspark, RDD"] = lambda what=what: [python, "-c", PYSPARK_RDD, what]
    tasks["reads"] = flow("reads.fastq", READS, sink="tsv")
    if shutil.which("fastp"):
        tasks["reads"]["fastp"] = lambda: FASTP.split()
    return tasks


def measure(command, folder):
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.unlink(missing_ok=True)
    begin = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"POLARS_MAX_THREADS": "2"})
    return time.monotonic() - begin


def compare(name, commands, rounds, measure):
    """Prints the seconds of each side, in turns, and what they are to flow's."""
    seconds = {side: [] for side in commands}
    for _ in range(rounds):
        for side, command in commands.items():
            seconds[side].append(measure(command()))
    ours = statistics.median(seconds["flow"])
    for side, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:22} {side:16} {median:7.2f} s  ({min(times):.2f} to {max(times):.2f})  {median / ours:.2f} x", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="comparisons whose name has this in it")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("/tmp/bench-flow"))
    options = parser.parse_args()
    words = shlex.split(options.program)
    options.program = shlex.join([str(pathlib.Path(words[0]).resolve()), *words[1:]])
    options.folder.mkdir(exist_ok=True)
    make_data(options.folder, options.rows)
    make_reads(options.folder, options.rows // 20)
    for name, commands in sides(options.program, options.folder).items():
        if options.only not in name:
            continue
        compare(name, commands, options.rounds, lambda command: measure(command, options.folder))


if __name__ == "__main__":
    main()
