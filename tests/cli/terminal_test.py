"""Runs in a terminal: Ctrl-C, Ctrl-Z, fg and bg, `stty tostop`, a terminal that closes; and runs without one."""

import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import time

import support
from support import CommandBase, children, is_alive, metrics, wait_for


class Shell:
    """bash in a terminal of its own, as a user has it."""

    def __init__(self, cwd, **environment):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {**os.environ, "PS1": "$ ", "TERM": "xterm", **environment})
        self.said = ""

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait_for(self, pattern, seconds=60):
        """Returns the match, and forgets what was said up to its end."""
        end = time.monotonic() + seconds
        while not (match := re.search(pattern, self.said)):
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain for {pattern!r}; the terminal shows {self.said!r}")
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.said += os.read(self.terminal, 65536).decode(errors="replace")
        self.said = self.said[match.end():]
        return match

    def listen(self, seconds):
        """What is said meanwhile; a terminal that nobody reads fills up, and holds up whoever writes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.05)[0]:
                self.said += os.read(self.terminal, 65536).decode(errors="replace")

    def close(self):
        if self.terminal is not None:
            os.close(self.terminal)
            self.terminal = None

    def end(self):
        if self.pid is not None:
            for process in [*children(self.pid), self.pid]:
                os.kill(process, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None
        self.close()


def state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


class TerminalTest(CommandBase):
    LONG = "train r.toml --set train.steps=1000000 --out run"

    def shell(self, **environment):
        shell = Shell(self.folder, **environment)
        self.addCleanup(shell.end)
        shell.wait_for(r"\$ ")
        return shell

    def steps(self):
        return len(metrics(self.folder / "run"))

    def wait_while(self, shell, condition):
        def look():
            shell.listen(0.05)
            return condition()
        return wait_for(look, 60)

    def start_in(self, shell, devices):
        """A long run in the foreground; its processes."""
        shell.type(f"{support.SHOAL} {self.LONG} --devices {devices}\n")
        self.wait_while(shell, lambda: self.steps() >= 3)
        launcher = children(shell.pid)[0]
        ranks = children(launcher) if devices > 1 else []
        self.assertEqual(len(ranks), devices if devices > 1 else 0)
        return [launcher, *ranks]

    def assert_grows(self, shell):
        before = self.steps()
        self.wait_while(shell, lambda: self.steps() > before + 2)

    def test_output_of_devices_reaches_a_terminal_that_stops_background_jobs(self):
        for devices in (1, 2):
            shell = self.shell()
            shell.type("stty tostop\n")
            shell.type(f"{support.SHOAL} train r.toml --until 4 --out o{devices} --devices {devices}; echo it ended with $?\n")
            shell.wait_for(r"it ended with 0\r")

    def test_ctrl_z_fg_bg_and_ctrl_c(self):
        for devices, mode in ((2, "tostop"), (2, "-tostop"), (1, "-tostop")):
            with self.subTest(devices=devices, mode=mode):
                shell = self.shell()
                shell.type(f"rm -rf run; stty {mode}\n")
                processes = self.start_in(shell, devices)
                for how in ("fg", "bg", "fg"):
                    shell.type("\x1a")
                    shell.wait_for(r"Stopped")
                    wait_for(lambda: all(state(process) == "T" for process in processes))
                    before = self.steps()
                    shell.listen(0.5)
                    self.assertEqual(self.steps(), before)
                    shell.type(f"{how}\n")
                    self.assert_grows(shell)
                    if how == "bg":
                        shell.type("fg\n")
                        self.assert_grows(shell)
                shell.type("\x03")
                stopped = shell.wait_for(r"shoal: stopped at step (\d+); the last checkpoint is run/checkpoints/step-(\d+), go on with: ")
                self.assertEqual(int(stopped[1]), self.steps())
                self.assertEqual(stopped[1], stopped[2])
                wait_for(lambda: not any(is_alive(process) for process in processes))
                shell.end()

    def test_a_terminal_that_closes_leaves_a_checkpoint(self):
        for devices in (1, 2):
            shell = self.shell()
            shell.type("rm -rf run\n")
            processes = self.start_in(shell, devices)
            shell.close()
            wait_for(lambda: not any(is_alive(process) for process in processes))
            last = metrics(self.folder / "run")[-1]["step"]
            self.assertEqual(os.readlink(self.folder / "run/checkpoints/latest"), f"step-{last}")

    def test_a_terminal_that_cannot_write_a_line_over(self):
        for terminal, escapes in (("dumb", False), ("xterm", True)):
            shell = self.shell(TERM=terminal)
            shell.type(f"{support.SHOAL} train r.toml --until 4 --out {terminal}; echo it ended with $?\n")
            self.wait_while(shell, lambda: "it ended with 0\r" in shell.said)
            self.assertIn("step 1/12", shell.said)
            self.assertEqual("\r\033[Kstep 1/12" in shell.said, escapes, shell.said)

    def test_without_a_terminal(self):
        process = subprocess.Popen([support.SHOAL, *self.LONG.split(), "--devices", "2"], cwd=self.folder, stdin=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_for_step("run", 3)
        process.send_signal(signal.SIGTSTP)  # no shell could continue it, so that the system does not let it stop
        before = self.steps()
        wait_for(lambda: self.steps() > before + 2)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
        self.assertRegex(stderr, r"(?m)^shoal: stopped at step \d+; the last checkpoint is run/checkpoints/step-\d+, go on with: .* --resume$")
        self.assertEqual(process.returncode, 1)


if __name__ == "__main__":
    support.main()
