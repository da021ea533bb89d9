"""shoal serve, the whole command with real weights: each answer is that of itself alone, on any layout, among any others, and after a device died;
reload, drain, errors at the start.  serve_test.py SHOAL [TEST...]"""
import concurrent.futures
import json
import os
import pathlib
import signal
import socket
import sys
import tempfile
import time
import unittest

import serving

sys.path.insert(0, str(serving.ROOT / "tests" / "cli"))
import support

ASKS = [{"prompt": f"{opening} {number}", "max_tokens": 12 + number, "seed": number, "logprobs": 2,
         "temperature": [0, 0.8, 1.3][number % 3], "top_p": 0.95, "n": 1 + number % 2, "echo": number % 4 == 0}
        for number, opening in enumerate(["The sea is", "Once upon a time", "2 + 2 =", "def main():"] * 4)]


def answer(server, ask):
    """What the client was told, without what is of the request alone (its id and time)."""
    got = server.post("/v1/completions", **ask)
    return {key: got[key] for key in ["choices", "usage", "system_fingerprint"] if key in got}


class Serve(unittest.TestCase):
    def test_each_answer_is_that_of_itself_alone_on_any_layout(self):
        with serving.Serving(support.SHOAL, serving.MODEL, "--context", 512) as server:
            alone = [answer(server, ask) for ask in ASKS]
        for layout in ["tp=2", "pp=2", "dp=2"]:
            with serving.Serving(support.SHOAL, serving.MODEL, "--context", 512, "--layout", layout) as server:
                with concurrent.futures.ThreadPoolExecutor(len(ASKS)) as clients:
                    together = list(clients.map(lambda ask: answer(server, ask), ASKS))
                self.assertEqual(together, alone, layout)

    def test_a_prompts_logprobs_are_those_of_the_answer(self):
        with serving.Serving(support.SHOAL, serving.MODEL, "--context", 512) as server:
            prompt = server.post("/tokenize", text="The capital of France is")["tokens"]
            told = server.post("/v1/completions", prompt=prompt, max_tokens=20, temperature=0, logprobs=0)["choices"][0]
            self.assertIn("Paris", told["text"])
            tokens = server.post("/tokenize", text=told["text"])["tokens"]
            echoed = server.post("/v1/completions", prompt=prompt + tokens, max_tokens=0, echo=True, logprobs=0)["choices"][0]
            count = len(told["logprobs"]["token_logprobs"])
            self.assertEqual(echoed["logprobs"]["token_logprobs"][-count:], told["logprobs"]["token_logprobs"])

    def test_clients_notice_nothing_of_a_device_that_dies(self):
        asks = [{"prompt": f"A story about {what}:", "max_tokens": 120, "temperature": 0.9, "seed": 7, "logprobs": 0} for what in ["cats", "rain", "bread"]]
        with serving.Serving(support.SHOAL, serving.MODEL, "--context", 512, "--layout", "tp=2") as server:
            alone = [answer(server, ask) for ask in asks]
            with concurrent.futures.ThreadPoolExecutor(len(asks)) as clients:
                pending = [clients.submit(answer, server, ask) for ask in asks]
                support.wait_for(lambda: server.metric("shoal_running") == len(asks))
                for victim in server.devices()[:1]:
                    os.kill(victim, signal.SIGKILL)
                self.assertEqual([one.result() for one in pending], alone)
            self.assertEqual(server.metric("shoal_restarts_total"), 1)
            os.kill(server.devices()[-1], signal.SIGKILL)  # while nobody asks
            time.sleep(0.2)
            self.assertEqual(answer(server, asks[1]), alone[1])

    def test_sigterm_waits_for_what_is_under_way_and_no_longer_than_told(self):
        ask = {"prompt": "Long:", "max_tokens": 200, "temperature": 0.8, "seed": 1}
        for most, finished in [("60", True), ("0", False)]:
            with serving.Serving(support.SHOAL, serving.MODEL, "--context", 512, "--drain-seconds", most) as server:
                with concurrent.futures.ThreadPoolExecutor(1) as client:
                    pending = client.submit(server.ask, "POST", "/v1/completions", ask)
                    support.wait_for(lambda: server.metric("shoal_running") == 1)
                    self.assertEqual(server.end(signal.SIGTERM), 0)
                    status, got = pending.result()
                self.assertEqual(status, 200 if finished else 503, got)
                self.assertEqual(server.told[-1], "shoal: ended: " + ("all is answered" if finished else "what was under way was given up, and its clients told"))
                self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", server.port))
                self.assertEqual([json.loads(line)["status"] for line in server.log if "completions" in line], [status])

    def test_a_reload_drops_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            link = pathlib.Path(folder) / "model.gguf"
            link.symlink_to(serving.MODEL)
            with serving.Serving(support.SHOAL, link, "--context", 512) as server:
                ask = {"prompt": "The sea is", "max_tokens": 150, "temperature": 0.5, "seed": 4}
                alone = answer(server, ask)
                with concurrent.futures.ThreadPoolExecutor(1) as client:
                    pending = client.submit(answer, server, ask)
                    support.wait_for(lambda: server.metric("shoal_running") == 1)
                    server.process.send_signal(signal.SIGHUP)
                    server.wait_for_line("reloaded")
                    self.assertEqual(answer(server, ask), alone)
                    self.assertEqual(pending.result(), alone)
                link.unlink()
                link.write_text("no model")
                server.process.send_signal(signal.SIGHUP)
                server.wait_for_line("model.gguf - ")
                self.assertEqual(answer(server, ask), alone)  # the old one goes on
                self.assertEqual(server.end(), 0)

    def test_what_cannot_begin_is_told_in_one_sentence(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for arguments, sentence in [
                    (["nowhere.gguf"], "nowhere.gguf - "),
                    ([serving.MODEL, "--port", str(port)], f"--port {port} - cannot be listened at: Address already in use"),
                    ([serving.MODEL, "--port", "70000"], "--port - got 70000, want 0 to 65535"),
                    ([serving.MODEL, "--address", "not.an.address"], "not.an.address"),
                    ([serving.MODEL, "--layout", "zero=1"], "zero"),
                    ([serving.MODEL, "--api-key-file", "nowhere.txt"], "nowhere.txt")]:
                done = support.run("serve", *arguments, cwd="/tmp")
                self.assertEqual((done.returncode, done.stderr.count("\n"), done.stdout), (2, 1, ""), done.stderr)
                self.assertTrue(done.stderr.startswith("shoal: ") and sentence in done.stderr, done.stderr)

    def test_keys_are_asked_for_everywhere_but_at_the_door(self):
        with tempfile.NamedTemporaryFile("w") as keys:
            keys.write("# of the team\nfirst\nsecond\n")
            keys.flush()
            with serving.Serving(support.SHOAL, serving.MODEL, "--context", 512, "--api-key-file", keys.name, environment={"SHOAL_API_KEY": "third"}) as server:
                self.assertEqual([server.ask("GET", path)[0] for path in ["/", "/health", "/metrics", "/v1/models"]], [200, 200, 401, 401])
                for key in ["first", "second", "third", "fourth", ""]:
                    status, _ = server.ask("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
                    self.assertEqual(status, 200 if key in ["first", "second", "third"] else 401)


class Trained(support.CommandBase):
    def test_a_model_trained_here_answers_with_the_bits_of_its_score(self):
        self.train("--out", "run", "--set", "model.context=64", "--set", "model.layers=2")
        model = str(self.folder / "run" / "checkpoints" / "latest")
        text = "line 3 of file 9: the quick brown fox"
        score = json.loads(self.shoal("score", model, "--prompt", text).stdout)
        for layout in ["dp=1", "tp=2,pp=2"]:
            with serving.Serving(support.SHOAL, model, "--layout", layout) as server:
                echoed = server.post("/v1/completions", prompt=text, max_tokens=0, echo=True, logprobs=0)["choices"][0]["logprobs"]
                self.assertEqual(echoed["token_logprobs"], score["logprobs"])


if __name__ == "__main__":
    serving.need_model()
    support.main()
