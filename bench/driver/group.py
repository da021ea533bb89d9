"""A configuration as processes: started once, asked in turn, ended whatever happens."""
import contextlib
import json
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass

START_SECONDS = 300   # a first start reads libraries from a cold disk
ANSWER_SECONDS = 300  # a turn takes 5 to 20 s on two cores of today
END_SECONDS = 5       # to end by itself after 'quit'


class BenchError(Exception):
    """One sentence for the person at the terminal: place - what: got X, want Y; what to do."""

    def __init__(self, sentence, exit_code=1):
        super().__init__(sentence)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Configuration:
    """What takes part. Its processes step together (and talk), or are `independent` and never wait for each other."""
    name: str
    commands: tuple  # one argument list per process that answers
    threads: int     # per process
    tokens: int      # that one step of all its processes trains on
    independent: bool = False


class Group:
    """The running processes of one configuration. Use with `with`: leaving it ends them, all that they started included."""

    def __init__(self, configuration, folder):
        self.configuration = configuration
        self._processes, self._logs = [], []
        environment = dict(os.environ, OMP_NUM_THREADS=str(configuration.threads), MKL_NUM_THREADS=str(configuration.threads),
                           GLOO_SOCKET_IFNAME="lo")
        try:
            for number, command in enumerate(configuration.commands):
                self._logs.append(os.path.join(folder, f"{configuration.name}.{number}.err"))
                self._processes.append(self._start(command, environment, self._logs[-1]))
            self.about = [answer["about"] for answer in self._answers("a sign of life", START_SECONDS)]
        except BaseException:
            self.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def ask(self, command):
        """The answer of every process, in order. They all hear the command before the first is waited for."""
        for process in self._processes:
            with contextlib.suppress(OSError):  # it has died; _answers says how
                process.stdin.write(command.encode() + b"\n")
        return self._answers(f"an answer to '{command}'", ANSWER_SECONDS)

    def ask_to_end(self):
        """Sends quit without waiting, so that many groups can end at the same time before end() is called."""
        for process in self._processes:
            if not process.stdin.closed:
                with contextlib.suppress(OSError):
                    process.stdin.write(b"quit\n")
                process.stdin.close()

    def end(self):
        """Ends all processes: asked first, killed when they do not listen. May be called twice."""
        self.ask_to_end()
        deadline = time.monotonic() + END_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own: this reaches what it started and nothing else
                process.wait()
            process.stdout.close()

    def _start(self, command, environment, log):
        try:
            with open(log, "wb") as errors:
                return subprocess.Popen(command, env=environment, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=errors, start_new_session=True)
        except OSError as error:
            raise BenchError(f"bench - {self.configuration.name}: cannot start {command[0]} ({error.strerror.lower()}); "
                             "build it, or point --build or --torch-python at it", 2) from None

    def _answers(self, wanted, seconds):
        deadline = time.monotonic() + seconds
        return [self._answer(number, wanted, deadline, seconds) for number in range(len(self._processes))]

    def _answer(self, number, wanted, deadline, seconds):
        process, line = self._processes[number], b""
        while not line.endswith(b"\n"):  # read by hand: a buffered readline could block past the deadline
            if not select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise BenchError(self._sentence(number, f"got nothing in {seconds:g} s, want {wanted}"))
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                raise BenchError(self._sentence(number, f"{self._how_it_ended(process)}, want {wanted}"))
            line += piece
        try:
            return json.loads(line)
        except ValueError:
            raise BenchError(self._sentence(number, f"got {line[:80]!r}, want {wanted}")) from None

    def _how_it_ended(self, process):
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its output"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _sentence(self, number, what):
        with open(self._logs[number], errors="replace") as log:
            said = [line.strip() for line in log if line.strip()]
        last = f"; it said: {said[-1]}" if said else ""
        return f"bench - {self.configuration.name}, process {number}: {what}{last} (see {self._logs[number]})"
