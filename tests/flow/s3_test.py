"""Flows that read s3:// write what they write of the same files on this machine.

    s3_test.py FLOW_PROGRAM

The service is a few lines that know as much of S3's interface as reading needs (GET of an object and of a part of it, HEAD, ListObjectsV2), over a folder, on
loopback; Arrow's client speaks to it as to any other (AWS_ENDPOINT_URL). Needs the Python of .deps/python."""
import gzip
import hashlib
import http.server
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from email.utils import formatdate
from xml.sax.saxutils import escape


class Bucket(http.server.BaseHTTPRequestHandler):
    """/bucket/KEY, of the files of a folder."""

    protocol_version = "HTTP/1.1"
    folder = None
    changes = {}  # key: how many HEADs until it changes

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def listing(self, query):
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        most = int(query.get("max-keys", ["1000"])[0])
        contents, prefixes = [], set()
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            key = path.relative_to(self.folder).as_posix()
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix):]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                contents.append(f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>{path.stat().st_size}</Size></Contents>")
        contents = contents[:most]
        body = f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix>{escape(prefix)}</Prefix>' \
               f'<KeyCount>{len(contents) + len(prefixes)}</KeyCount><IsTruncated>false</IsTruncated>{"".join(contents)}' \
               f'{"".join(f"<CommonPrefixes><Prefix>{escape(p)}</Prefix></CommonPrefixes>" for p in sorted(prefixes))}</ListBucketResult>'
        self.answer(200, body.encode(), Content_Type="application/xml")

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(parts.path).lstrip("/").partition("/")
        if bucket != "bucket":
            return self.answer(404, b"<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>", Content_Type="application/xml")
        if not key:
            return self.listing(urllib.parse.parse_qs(parts.query))
        path = self.folder / key
        if not path.is_file():
            return self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>", Content_Type="application/xml")
        body = path.read_bytes()
        tag = hashlib.md5(body).hexdigest()
        if self.command == "HEAD" and key in self.changes:
            self.changes[key] -= 1
            if self.changes[key] < 0:
                tag = "another"
        about = {"ETag": f'"{tag}"', "Last_Modified": formatdate(path.stat().st_mtime, usegmt=True), "Content_Type": "application/octet-stream"}
        asked = self.headers.get("Range")
        if not asked:
            return self.answer(200, body, Content_Length=str(len(body)), **about)
        first, last = asked.removeprefix("bytes=").split("-")
        last = min(int(last), len(body) - 1)
        self.answer(206, body[int(first):last + 1], Content_Range=f"bytes {first}-{last}/{len(body)}", **about)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


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
        Bucket.folder = work / "bucket"
        Bucket.folder.mkdir()
        make(Bucket.folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = os.environ | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
                                    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}"}
        environment = {key: value for key, value in environment.items() if not key.lower().endswith("_proxy")}
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
