"""What a worker of `make bench` says and hears: one command a line on stdin, one JSON object a line on stdout.

    (start)   {"ready": true, "about": {"torch": "2.13.0", ...}}
    step K    {"seconds": [K], "loss": [K], "user": [K], "system": [K]}
    reset     {"reset": true}            peak memory counts from here on
    rss       {"peak_bytes": [one per rank that this process speaks for]}
    profile   {"where": {"mm": 0.41, ...}}           shares of one untimed step; only asked of a worker whose about says "profiles": true
    quit      (ends; so does the end of stdin, so that no worker outlives its driver)

`seconds` runs from a barrier of the worker's ranks to the end of the optimizer's step with the loss read. The tokens are made before it.
`user` and `system` are CPU seconds from the end of the step before, so that their sum is all that the command used.
bench/w1_worker.cc speaks the same.
"""
import json
import os
import resource
import sys
import time


def cpu_seconds():
    """User and system CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime


def peak_bytes():
    """The most memory that was resident since the start, or since reset_peak(); shared pages included."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def reset_peak():
    """False where the kernel does not allow it."""
    try:
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
        return True
    except OSError:
        return False


def serve(prepare, barrier, step, about):
    """Answers commands until quit. prepare(i) makes the input of step i, step(input) trains on it and returns the loss."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to stderr

    def say(**answer):
        print(json.dumps(answer), file=answers, flush=True)

    done = 0
    say(ready=True, about=about)
    for line in sys.stdin:
        command, *words = line.split()
        if command == "step":
            rows = []
            user, system = cpu_seconds()
            for _ in range(int(words[0])):
                batch = prepare(done)
                barrier()
                start = time.perf_counter()
                loss = step(batch)
                seconds = time.perf_counter() - start
                user_now, system_now = cpu_seconds()
                rows.append((seconds, loss, user_now - user, system_now - system))
                user, system = user_now, system_now
                done += 1
            say(**dict(zip(("seconds", "loss", "user", "system"), map(list, zip(*rows)))))
        elif command == "reset":
            say(reset=reset_peak())
        elif command == "rss":
            say(peak_bytes=[peak_bytes()])
        elif command == "quit":
            return
        else:
            sys.exit(f"worker - command: got '{command}', want step, reset, rss or quit")
