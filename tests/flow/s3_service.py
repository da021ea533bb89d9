"""A service that knows as much of S3's interface as flows need (GET of an object and of a part of it, HEAD, ListObjectsV2; PUT, uploads in pieces), over a folder, on
loopback. Arrow's client speaks to it as to any other (AWS_ENDPOINT_URL)."""
import hashlib
import http.server
import io
import os
import threading
import time
import urllib.parse
from email.utils import formatdate
from xml.sax.saxutils import escape


def unchunked(stream):
    """Pieces, each with its size on a line before it and an end of line behind it; the last one is empty."""
    whole = b""
    while size := int(stream.readline().split(b";")[0], 16):
        whole += stream.read(size)
        stream.readline()
    return whole


class Bucket(http.server.BaseHTTPRequestHandler):
    """/bucket/KEY, of the files of a folder."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer is two writes
    folder = None
    changes = {}  # key: how many HEADs until it changes
    stored = []  # keys, as they came
    refused = ()  # beginnings of keys that nobody may write
    pause = 0  # seconds, before something is stored
    uploads = {}  # of large objects that are on their way: number of the piece: its bytes

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

    def body(self):
        """What was sent, without HTTP's chunks and AWS's within them."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = unchunked(self.rfile)
            self.rfile.readline()  # the empty line behind the last one
        else:
            size = int(self.headers.get("Content-Length", 0))
            data = self.rfile.read(size)
            if len(data) < size:
                raise ConnectionError("who sent it is gone")
        return unchunked(io.BytesIO(data)) if "aws-chunked" in self.headers.get("Content-Encoding", "") else data

    def store(self, key, body):
        time.sleep(self.pause)
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self.folder.with_name(f"arriving-{threading.get_ident()}")
        part.write_bytes(body)
        part.rename(path)
        self.stored.append(key)
        return f'"{hashlib.md5(body).hexdigest()}"'

    def do_PUT(self):
        key, query = self.key_and_query()
        body = self.body()
        if key.startswith(tuple(self.refused)):
            return self.answer(403, b"<Error><Code>AccessDenied</Code><Message>not for you</Message></Error>", Content_Type="application/xml")
        if "uploadId" in query:
            self.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
            return self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
        self.answer(200, ETag=self.store(key, body))

    def do_POST(self):
        key, query = self.key_and_query()
        self.body()
        if "uploads" in query:
            upload = os.urandom(8).hex()
            self.uploads[upload] = {}
            answer = f"<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        else:
            pieces = self.uploads[query["uploadId"][0]]
            tag = self.store(key, b"".join(pieces[number] for number in sorted(pieces)))
            answer = f"<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>{escape(key)}</Key><ETag>{escape(tag)}</ETag></CompleteMultipartUploadResult>"
        self.answer(200, answer.encode(), Content_Type="application/xml")

    def do_DELETE(self):
        self.body()
        self.answer(204)

    def key_and_query(self):
        parts = urllib.parse.urlsplit(self.path)
        return urllib.parse.unquote(parts.path).lstrip("/").partition("/")[2], urllib.parse.parse_qs(parts.query, keep_blank_values=True)

    def log_message(self, *_):
        pass


def serve(folder):
    """Starts it over a new folder; the environment of who asks it."""
    Bucket.folder = folder
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that are killed
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
                                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}"}
    return {key: value for key, value in environment.items() if not key.lower().endswith("_proxy")}
