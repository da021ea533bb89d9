"""shoal serve under more load than it can carry, on loopback: no answer wrong, no crash, memory flat.

    bench/serve_load.py build/shoal MODEL.gguf [--seconds 60] [--load 2] [--layout tp=1]

First a set of requests is answered one by one; then their rate with 16 clients at once is the capacity. Then requests arrive at --load times that rate, at
random instants (exponential gaps, fixed seed), from at most --clients threads. Each answer must be that of the request alone, to the last digit of its
log-probabilities, or 429. Meanwhile others do harm: leave in the middle of a stream, read slowly, close half, send garbage, bodies of 100 MB, JSON and UTF-8
that are none; each must get one JSON error or a closed connection. Prints latencies (first token, between tokens), what became of the requests, and the memory
of server and devices over time. Exit code 1 where anything was wrong."""
import argparse
import collections
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "serve"))
from serving import Serving

OPENINGS = ["The sea is", "Once upon a time", "2 + 2 =", "def main():", "Dear Sir or Madam,", "In 1969", "La mer est", "List three fruits:"]


def requests(count):
    pick = random.Random(1)
    for number in range(count):
        yield {"prompt": f"{pick.choice(OPENINGS)} {'and more ' * pick.choice([0, 0, 0, 20, 60])}{number}", "max_tokens": pick.randint(1, 60), "seed": number,
               "temperature": pick.choice([0, 0.7, 1.2]), "top_p": 0.95, "logprobs": 1, "stream": number % 2 == 0}


class Load:
    def __init__(self, server, pick):
        self.server, self.pick, self.lock = server, pick, threading.Lock()
        self.first, self.between, self.ends, self.wrong = [], [], collections.Counter(), []

    def connect(self, seconds=120):
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=seconds)

    def answer(self, ask, leave_after=None):
        """(status, what was told); a stream is put together again. Notes latencies."""
        connection, begin = self.connect(), time.perf_counter()
        try:
            connection.request("POST", "/v1/completions", json.dumps(ask))
            got = connection.getresponse()
            if not ask["stream"] or got.status != 200:
                told = json.loads(got.read())
                return got.status, told if got.status != 200 else [told["choices"][0][key] for key in ["text", "finish_reason", "logprobs"]]
            text, finish, logprobs, last = "", None, None, None
            while line := got.readline():
                if not line.startswith(b"data: ") or line == b"data: [DONE]\n":
                    continue
                now = time.perf_counter()
                with self.lock:
                    (self.first if last is None else self.between).append(now - (begin if last is None else last))
                last = now
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    return 500, chunk
                choice = chunk["choices"][0]
                text, finish = text + choice["text"], choice["finish_reason"]
                if choice["logprobs"]:
                    logprobs = logprobs or {key: [] for key in choice["logprobs"]}
                    for key, more in choice["logprobs"].items():
                        logprobs[key] += more
                if leave_after and len(text) > leave_after:
                    return None, None
            return 200, [text, finish, logprobs]
        finally:
            connection.close()

    def check(self, ask, alone):
        try:
            status, told = self.answer(ask)
        except OSError as error:
            status, told = type(error).__name__, str(error)
        with self.lock:
            self.ends[status] += 1
            if not (status == 200 and told == alone) and not (status == 429 and "error" in told):
                self.wrong.append((ask, status, told))

    def harm(self, ask):
        """Something that a server meets in the open."""
        kind = self.pick.choice(["leaves", "slow", "half", "garbage", "no JSON", "no UTF-8", "huge", "silent"])
        try:
            told = getattr(self, "harm_" + kind.replace(" ", "_").replace("-", "_").lower())({**ask, "stream": True, "max_tokens": 200})
        except (ConnectionError, http.client.HTTPException, TimeoutError):
            told = "closed"
        with self.lock:
            self.ends[kind] += 1
            if told not in (None, "closed") and "error" not in told:
                self.wrong.append((kind, told))

    def harm_leaves(self, ask):
        self.answer(ask, leave_after=20)

    def raw(self, parts, pause=0.0, half=False):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as one:
            for part in parts:
                one.sendall(part)
                time.sleep(pause)
            if half:
                one.shutdown(socket.SHUT_WR)
            answer = b""
            while more := one.recv(65536):
                answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        return json.loads(body) if body else "closed"

    def post(self, body, length=None):
        return b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body

    def harm_slow(self, ask):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as one:
            one.sendall(self.post(json.dumps(ask).encode()))
            for _ in range(20):
                one.recv(16)
                time.sleep(0.1)

    def harm_half(self, ask):
        return self.raw([self.post(json.dumps({**ask, "stream": False}).encode())], half=True)

    def harm_garbage(self, _):
        return self.raw([bytes(self.pick.randrange(256) for _ in range(self.pick.randrange(1, 300))) + b"\r\n\r\n"])

    def harm_no_json(self, ask):
        return self.raw([self.post(json.dumps(ask).encode()[:-3])])

    def harm_no_utf_8(self, _):
        return self.raw([self.post(b'{"prompt": "\xff\xfe"}')])

    def harm_huge(self, _):
        connection = self.connect()
        try:
            connection.request("POST", "/v1/completions", b" " * (100 << 20))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def harm_silent(self, _):
        return self.raw([b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Le"], pause=0.5, half=True)


def resident(pid):
    """MiB that the process alone has, by the kernel's count; 0 when it is gone."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024


def quantiles(values):
    if len(values) < 2:
        return "none"
    cuts = statistics.quantiles(values, n=100)
    return f"p50 {1e3 * cuts[49]:.1f} ms, p99 {1e3 * cuts[98]:.1f} ms, most {1e3 * max(values):.1f} ms, of {len(values)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shoal")
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--load", type=float, default=2)
    parser.add_argument("--layout", default="dp=1")
    parser.add_argument("--clients", type=int, default=96)
    parser.add_argument("--harm", type=float, default=0.1, help="share of requests that do harm")
    flags = parser.parse_args()
    asks, pick = list(requests(64)), random.Random(2)
    with Serving(os.path.abspath(flags.shoal), flags.model, "--layout", flags.layout, "--context", 1024, "--queue", 32) as server:
        load = Load(server, pick)
        alone = [load.answer(ask) for ask in asks]
        assert all(status == 200 for status, _ in alone)
        begin = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(16) as clients:
            together = list(clients.map(load.answer, asks))
        capacity = len(asks) / (time.perf_counter() - begin)
        print(f"16 clients: {capacity:.1f} requests/s; {sum(a != b for a, b in zip(alone, together))} of {len(asks)} answers differ from those of requests alone")
        load.first, load.between = [], []
        begin = time.perf_counter()
        due, told, memory = begin, begin, []
        with concurrent.futures.ThreadPoolExecutor(flags.clients) as clients:
            gate = threading.BoundedSemaphore(flags.clients)
            while time.perf_counter() - begin < flags.seconds and server.process.poll() is None:
                due += pick.expovariate(flags.load * capacity)
                time.sleep(max(0, due - time.perf_counter()))
                if not gate.acquire(timeout=60):
                    load.wrong.append("no client has come back in 60 s")
                    break
                number = pick.randrange(len(asks))
                work = clients.submit(load.harm, asks[number]) if pick.random() < flags.harm else clients.submit(load.check, asks[number], alone[number][1])
                work.add_done_callback(lambda done: (gate.release(), done.exception() and load.wrong.append(repr(done.exception()))))
                if time.perf_counter() >= told:
                    memory.append([resident(pid) for pid in [server.process.pid, *server.devices()]])
                    told += max(5, flags.seconds / 20)
        print(f"{flags.load:g} x that for {time.perf_counter() - begin:.0f} s: {dict(sorted(load.ends.items(), key=str))}; wrong: {len(load.wrong)}")
        print(f"first token: {quantiles(load.first)}\nbetween tokens: {quantiles(load.between)}")
        print("MiB of server and devices over time:", "; ".join(" + ".join(f"{one:.0f}" for one in sample) for sample in memory))
        left = time.monotonic()
        while server.metric("shoal_running") + server.metric("shoal_queued") > 0 and time.monotonic() - left < 60:
            time.sleep(0.1)
        print(f"at rest: {server.metric('shoal_running'):g} running, cache in use {server.metric('shoal_cache_used'):g} of {server.metric('shoal_cache_places'):g} tokens, "
              f"{server.metric('shoal_connections') - 1:g} other connections, {server.metric('shoal_restarts_total'):g} restarts")
        for one in load.wrong[:5]:
            print("wrong:", one)
        code = server.end()
        print(f"SIGTERM: exit code {code}, {server.told[-1]}")
        return 1 if load.wrong or code != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
