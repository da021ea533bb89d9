"""Random pipelines over random tables give what DuckDB gives, and the same bytes on two and three devices.

    duckdb_test.py FLOW_PROGRAM [HOW_MANY [FIRST_SEED]]

Tables have nulls, NaN, text of several alphabets, an empty file, and one key with nine rows of ten. Needs the Python of .deps/python (tools/setup release test)."""
import hashlib
import math
import pathlib
import random
import subprocess
import sys
import tempfile

try:
    import duckdb
except ImportError:
    sys.exit("duckdb_test - duckdb is not installed for this Python; run tools/setup release test")

WORDS = ["fox", "\u043b\u0438\u0441\u0430", "\u72d0 \u72f8", "", "na\u00efve", "A fox", "the fox the dog", 'quote "x"', "comma, tab"]
TABLE = "id BIGINT, key VARCHAR, n BIGINT, x DOUBLE, text VARCHAR, flag BOOLEAN, d DATE"


def random_row(pick, number):
    return (
        number,
        "big" if pick.random() < 0.9 else pick.choice([None, "k%d" % pick.randrange(30), "\u72d0"]),
        pick.choice([None, pick.randrange(-50, 50), pick.randrange(-50, 50), pick.randrange(10**12)]),
        pick.choice([None, float("nan"), -0.0, pick.uniform(-5, 5), pick.uniform(-5, 5), pick.uniform(-1e9, 1e9)]),
        pick.choice(WORDS + [None]),
        pick.choice([None, True, False]),
        pick.choice([None, "1999-12-31", "2020-02-29", "1960-01-01"]),
    )


def make_tables(db, pick, folder):
    """The left table in some files, as Parquet; the right one, with keys twice and keys of its own, as Parquet or CSV."""
    db.execute(f"create or replace table t ({TABLE})")
    db.execute("create or replace table r (key VARCHAR, w BIGINT)")
    number = 0
    for file in range(pick.randrange(1, 4)):
        rows = [random_row(pick, number + i) for i in range(pick.choice([0, 1, 200, 700]))]
        number += len(rows)
        db.execute(f"create or replace table piece ({TABLE})")
        if rows:
            db.executemany("insert into piece values (?, ?, ?, ?, ?, ?, ?)", rows)
        db.execute("insert into t from piece")
        db.execute(f"copy (select * from piece order by id) to '{folder}/t{file}.parquet' (format parquet, row_group_size 2048)")
    for _ in range(pick.randrange(1, 30)):
        db.execute("insert into r values (?, ?)", [pick.choice(["big", "\u72d0", "k%d" % pick.randrange(40), None]), pick.randrange(100)])
    suffix = pick.choice(["parquet", "csv"])
    db.execute(f"copy r to '{folder}/r.{suffix}'" + (" (header, quote '\"')" if suffix == "csv" else ""))
    return f"{folder}/r.{suffix}"


def condition(pick):
    """A condition as flow writes it, and as DuckDB does: there NaN is above all numbers, here no comparison holds for it."""
    return pick.choice([
        ("n > 3", "n > 3"),
        ("x < 0.5 or flag", "(x < 0.5 and not isnan(x)) or flag"),
        ("not (x >= 1)", "not (x >= 1 and not isnan(x))"),
        ("text is not null and length(text) > 3", "text is not null and length(text) > 3"),
        ("contains(text, 'fox') and n % 3 == 1", "contains(text, 'fox') and n % 3 = 1"),
        ("key in ('big', '\u72d0') or id < 20", "key in ('big', '\u72d0') or id < 20"),
        ("coalesce(flag, true)", "coalesce(flag, true)"),
        ("id < 0", "id < 0"),
        ("year(d) == 1999 or d is null", "year(d) = 1999 or d is null"),
    ])


def pipeline(pick, right):
    """Steps as TOML, the same as SQL, and the columns (with directions) that the result is sorted by."""
    steps, sql, sorted_by = [], "select * from t", []
    for _ in range(pick.randrange(3)):
        ours, theirs = condition(pick)
        steps.append(f'filter = "{ours}"')
        sql = f"select * from ({sql}) where {theirs}"
    if pick.random() < 0.5:
        steps.append('with_column = { half = "n / 2", up = "concat(upper(text), \'!\')", z = "if(flag, n, id)", n2 = "n * 2 - id" }')
        sql = f"select *, n / 2 as half, upper(text) || '!' as up, case when flag is null then null when flag then n else id end as z, n * 2 - id as n2 from ({sql})"
    if pick.random() < 0.4:
        kind = pick.choice(["inner", "left", "right", "outer"])
        steps.append(f'join = {{ paths = ["{right}"], on = ["key"], kind = "{kind}" }}')
        sql = f"select a.* replace (coalesce(a.key, r.key) as key), r.w from ({sql}) a {kind.replace('outer', 'full')} join r on a.key = r.key"
        sql = f"select * replace (id * 1000 + coalesce(w, 0) as id) from ({sql})"
        steps.append('with_column = { id = "id * 1000 + coalesce(w, 0)" }')
        unique = False
    else:
        unique = True
    end = pick.choice(["group", "group", "group", "distinct", "window", "sort", "words", "none"])
    if end == "group":
        by = pick.choice([["key"], ["key", "flag"], ["x"], ["text", "key"], ["d"], []])
        calls = {"c": "count()", "cx": "count(x)", "s": "sum(n)", "sx": "sum(x)", "m": "mean(x)", "mn": "mean(n)", "lo": "min(text)", "hi": "max(x)", "lx": "min(x)", "md": "max(d)",
                 "u": "count_distinct(text)", "ux": "count_distinct(x)", "qx": "approx_quantile(x, 0.5)", "qn": "approx_quantile(n, 0.25)"}
        names = pick.sample(sorted(calls), pick.randrange(1, 6))
        aggregates = ", ".join(f'{name} = "{calls[name]}"' for name in names)
        steps.append("group_by = [" + ", ".join(f'"{b}"' for b in by) + "]\naggregates = { " + aggregates + " }")
        theirs = {"count()": "count(*)"}
        selected = by + [theirs.get(calls[n], calls[n].replace("approx_quantile", "quantile_disc").replace("mean", "avg").replace("count_distinct(", "count(distinct ")) + f" as {n}" for n in names]
        sql = f"select {', '.join(selected)} from ({sql})" + (f" group by {', '.join(by)}" if by else "")
        sorted_by = [(b, False) for b in by]
        if "c" in names and pick.random() < 0.5:
            steps.append('sort = ["-c"]')
            sorted_by = [("c", True)]
    elif end == "distinct":
        by = pick.choice([["key"], ["text", "flag"], ["x"]])
        steps.append("select = [" + ", ".join(f'"{b}"' for b in by) + "]\n[[step]]\ndistinct = []")
        sql = f"select distinct {', '.join(by)} from ({sql})"
        sorted_by = [(b, False) for b in by]
    elif end == "window" and unique:
        order = pick.choice(["n", "-x", "-text"])
        steps.append('window = { by = ["key"], order = ["%s", "id"], columns = { i = "row_number()", p = "lag(id)", rs = "running_sum(n)", rx = "running_sum(x)" } }' % order)
        over = f"partition by key order by {order.strip('-')} {'desc' if order[0] == '-' else 'asc'} nulls last, id"
        sql = (f"select *, row_number() over (w) as i, lag(id) over (w) as p, sum(n) over (w rows unbounded preceding) as rs, "
               f"sum(x) over (w rows unbounded preceding) as rx from ({sql}) window w as ({over})")
        sorted_by = [("key", False), (order.strip("-"), order[0] == "-")]
    elif end == "sort":
        sorted_by = pick.choice([[("x", True), ("id", False)], [("key", False), ("n", True)], [("text", True)], [("flag", False), ("d", True)]])
        steps.append("sort = [" + ", ".join(f'"{"-" if down else ""}{name}"' for name, down in sorted_by) + "]")
    elif end == "words":
        steps.append('flat_map = { column = "text", by = "words", as = "word" }\n[[step]]\ngroup_by = ["word"]\naggregates = { c = "count()" }')
        sql = f"select word, count(*) as c from (select unnest(string_split(text, ' ')) as word from ({sql})) where word != '' group by word"
        sorted_by = [("word", False)]
    return steps, sql, sorted_by


def comparable(value):
    if isinstance(value, float):
        return ("nan",) if math.isnan(value) else ("real", value + 0.0)
    if value is not None and type(value).__name__ == "Decimal":
        return ("whole", int(value))
    return ("null",) if value is None else (type(value).__name__.replace("int", "whole"), value)


def near(name, a, b):
    if name in ("qx", "qn"):  # what approx_quantile promises
        return a == b or (a[0] == "real" and b[0] in ("real", "whole") and abs(a[1] - b[1]) <= abs(b[1]) / 256)
    if a[0] == b[0] == "real":
        return math.isclose(a[1], b[1], rel_tol=1e-9, abs_tol=1e-6) or a[1] == b[1]
    return a == b


def rank(value):
    """Rows without regard to their order: floats to few digits first, so that a last bit does not move a row."""
    if value[0] == "real":
        return ("real", "%.6e" % (value[1] or 0.0))
    return (value[0], str(value[1:]))


def in_order(value, descending):
    """What flow says of order: by value, NaN above all, null last whatever the direction."""
    if value[0] == "null":
        return (1, 0)
    if value[0] == "nan":
        key = math.inf, 1
    elif value[0] == "str":
        key = value[1].encode(), 0
    elif value[0] == "date":
        key = value[1].toordinal(), 0
    else:
        key = float(value[1]) if value[0] == "real" else value[1], 0
    return (0, Reversed(key) if descending else key)


class Reversed:
    def __init__(self, key):
        self.key = key

    def __lt__(self, other):
        return other.key < self.key

    def __eq__(self, other):
        return other.key == self.key


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def one(db, program, seed, folder):
    pick = random.Random(seed)
    right = make_tables(db, pick, folder)
    steps, sql, sorted_by = pipeline(pick, right)
    text = f'memory = "64MB"\npart_bytes = {pick.choice([2000, 10000, 1000000])}\n[read]\npaths = ["{folder}/t*.parquet"]\n'
    text += "".join(f"[[step]]\n{step}\n" for step in steps) + '[write]\nformat = "parquet"\n'
    file = folder / "p.toml"
    file.write_text(text)
    first = None
    for devices in (1, 2 + seed % 2):
        out = folder / f"out{devices}"
        done = subprocess.run([program, str(file), "--out", str(out), "-n", str(devices)], capture_output=True, text=True, timeout=120)
        if done.returncode:
            return f"{done.stderr.strip()}\n{text}"
        if first is None:
            first = hashes(out)
        elif hashes(out) != first:
            return f"other bytes on {devices} devices\n{text}"
    result = db.execute(f"select * from read_parquet('{folder}/out1/part-*.parquet', file_row_number = false) ")
    names = [column[0] for column in result.description]
    ours = [tuple(map(comparable, row)) for row in result.fetchall()]
    if sorted_by:
        keys = [[in_order(row[names.index(name)], down) for name, down in sorted_by] for row in ours]
        for before, after in zip(keys, keys[1:]):
            if after < before:
                return f"not in order of {sorted_by}: {before} before {after}\n{text}"
    theirs = [tuple(map(comparable, row)) for row in db.execute(f"select {', '.join(names)} from ({sql})").fetchall()]
    if len(ours) != len(theirs):
        return f"got {len(ours)} rows, want {len(theirs)}\n{text}\n{sql}"
    for a, b in zip(sorted(ours, key=lambda r: list(map(rank, r))), sorted(theirs, key=lambda r: list(map(rank, r)))):
        if not all(map(near, names, a, b)):
            return f"got {a}, want {b}\n{text}\n{sql}"
    return None


def main():
    program, many, first = sys.argv[1], int((sys.argv + [0, 30])[2] or 30) if len(sys.argv) > 2 else 30, int(sys.argv[3]) if len(sys.argv) > 3 else 1
    db = duckdb.connect()
    db.execute("set threads = 1")
    failed = 0
    for seed in range(first, first + many):
        with tempfile.TemporaryDirectory(prefix="shoal-duckdb-") as folder:
            problem = one(db, program, seed, pathlib.Path(folder))
        if problem:
            failed += 1
            print(f"seed {seed}: {problem}\n")
    print(f"{many - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
