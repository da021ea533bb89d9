"""The server's page in a browser without a screen, by WebDriver (https://www.w3.org/TR/webdriver2/): it chats, streams, stops, asks for a key,
and says what went wrong.  page_test.py FAKE_SERVER [TEST...]; SHOAL_PICTURES=FOLDER keeps a picture of each."""
import base64
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
import support

wait_for = functools.partial(support.wait_for, seconds=20)

FAKE_SERVER = ""
ENTER, ESCAPE, SHIFT = "\ue007", "\ue00c", "\ue008"


class Browser:
    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="shoal-page-")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                break
        self.base = f"http://127.0.0.1:{found[1]}/session"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=900,800", f"--user-data-dir={self.profile}"]
        self.base += "/" + self.post("", capabilities={"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": arguments},
                                                                       "goog:loggingPrefs": {"browser": "ALL"}}})["sessionId"]

    def send(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, None if body is None else json.dumps(body).encode(), method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def post(self, path, **body):
        return self.send("POST", path, body)

    def run(self, script, *arguments):
        return self.post("/execute/sync", script=script, args=list(arguments))

    def element(self, selector):
        return "/element/" + next(iter(self.post("/element", using="css selector", value=selector).values()))

    def type(self, selector, text):
        self.post(self.element(selector) + "/value", text=text)

    def click(self, selector):
        self.post(self.element(selector) + "/click")

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)", selector)

    def end(self):
        self.send("DELETE", "")
        self.driver.terminate()
        self.driver.wait()
        self.driver.stdout.close()
        shutil.rmtree(self.profile, ignore_errors=True)


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.end()

    def open(self, *arguments):
        """A server whose model repeats the chat, a token each so many microseconds."""
        self.server = subprocess.Popen([FAKE_SERVER, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.close)
        self.browser.post("/url", url=f"http://127.0.0.1:{self.server.stdout.readline().strip()}/")

    def close(self):
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()

    def tearDown(self):
        if folder := os.environ.get("SHOAL_PICTURES"):
            picture = base64.b64decode(self.browser.send("GET", "/screenshot"))
            pathlib.Path(folder, self.id().split(".")[-1] + ".png").write_bytes(picture)

    def messages(self):
        return self.browser.texts(".message > div")

    def notes(self):
        return self.browser.texts(".message small")

    def shows_key(self):
        return self.browser.run("return document.getElementById('keyed').offsetHeight") > 0

    def wait_for_notes(self, count):
        wait_for(lambda: len(self.notes()) == count)
        return self.notes()[-1]

    def test_a_chat(self):
        self.open(3000)
        wait_for(lambda: self.browser.texts("#model") == ["fake"])
        self.browser.type("#text", "one" + SHIFT + ENTER + SHIFT + "two <b>\u00e4</b>" + ENTER)
        note = self.wait_for_notes(1)
        self.assertRegex(note, r"^\d+ tokens, [0-9.]+ tokens/s, first after [0-9.]+ s$")
        own, told = self.messages()
        self.assertEqual(own, "one\ntwo <b>\u00e4</b>")  # text, never markup
        self.assertIn(own, told)
        self.browser.type("#text", "three")
        self.browser.click("#send")
        self.wait_for_notes(2)
        self.assertIn("two", self.messages()[3])  # the whole chat is sent
        self.assertEqual(self.browser.texts("#running"), ["0"])
        self.browser.click("#clear")
        self.assertEqual((self.messages(), len(self.browser.texts(".empty"))), ([], 1))
        self.assertFalse(self.shows_key())
        noise = [line["message"] for line in self.browser.post("/se/log", type="browser") if line["level"] == "SEVERE" and "favicon" not in line["message"]]
        self.assertEqual(noise, [])

    def test_it_streams_and_stops(self):
        self.open(50000)
        self.browser.run("document.getElementById('text').value = 'x'.repeat(400)")
        self.browser.click("#send")
        wait_for(lambda: len(self.messages()) == 2 and len(self.messages()[1]) > 5)
        self.assertLess(len(self.messages()[1]), 300)
        wait_for(lambda: self.browser.texts("#running") == ["1"])
        self.browser.type("body", ESCAPE)
        self.assertEqual(self.wait_for_notes(1), "stopped")
        wait_for(lambda: self.browser.texts("#running") == ["0"])  # the engine was told

    def test_a_new_chat_while_an_answer_runs_is_new(self):
        self.open(20000)
        self.browser.type("#text", "an old question" + ENTER)
        wait_for(lambda: len(self.messages()) == 2)
        self.browser.click("#clear")
        wait_for(lambda: self.browser.run("return document.getElementById('stop').disabled"))
        self.browser.type("#text", "fresh" + ENTER)
        self.wait_for_notes(1)
        self.assertEqual(len(self.messages()), 2)
        self.assertNotIn("old", self.messages()[1])

    def test_a_key_is_asked_for(self):
        self.open(0, "secret")
        wait_for(self.shows_key)
        self.browser.type("#text", "hello" + ENTER)
        wait_for(lambda: self.browser.texts(".failed > div"))
        self.assertIn("API key", self.messages()[-1])
        self.browser.type("#key", "secret" + ENTER)
        wait_for(lambda: self.browser.texts("#model") == ["fake"])
        self.browser.type("#text", "again" + ENTER)
        self.wait_for_notes(1)

    def test_a_server_that_is_gone_is_told(self):
        self.open(0)
        wait_for(lambda: self.browser.texts("#model") == ["fake"])
        self.server.kill()
        self.server.wait()
        self.browser.type("#text", "hello" + ENTER)
        wait_for(lambda: self.browser.texts(".failed > div"))
        wait_for(lambda: self.browser.texts("#running") == ["-"])

    def test_it_fits_a_phone_and_the_dark(self):
        self.open(0)
        self.browser.post("/goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params={"width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": True})
        self.browser.post("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        try:
            self.browser.type("#text", "w" * 300 + ENTER)
            self.wait_for_notes(1)
            self.assertTrue(self.browser.run("return [...document.querySelectorAll('body *')].every(one => one.getBoundingClientRect().right <= 360)"))
            self.assertEqual(self.browser.run("return getComputedStyle(document.body).backgroundColor"), "rgb(18, 22, 21)")
        finally:
            if folder := os.environ.get("SHOAL_PICTURES"):
                pathlib.Path(folder, "phone.png").write_bytes(base64.b64decode(self.browser.send("GET", "/screenshot")))
            self.browser.post("/goog/cdp/execute", cmd="Emulation.clearDeviceMetricsOverride", params={})
            self.browser.post("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": []})


if __name__ == "__main__":
    FAKE_SERVER = os.path.abspath(sys.argv.pop(1))
    if not shutil.which("chromedriver"):
        sys.exit("chromedriver is not there: tools/setup release test installs it")
    unittest.main(verbosity=2)
