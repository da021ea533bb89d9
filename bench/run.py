#!/usr/bin/env python3
"""Compares W1, a GPT-2 of 29.5 M parameters, on one and two devices of Shoal with PyTorch eager, DDP, FSDP2, tensor parallelism and pipelines: docs/benchmarks.md."""
import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time

from driver import machine, report, turns
from driver.group import BenchError, Group
from driver.lineup import BEFORE, COMPARISONS, SAME_RUN, against, lineup

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=("fp32", "bf16", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=9, help="turns, the first is warm-up; 3 for a quick look (default 9)")
    parser.add_argument("--minutes", type=float, default=120, help="no turn begins that might end later (default 120)")
    parser.add_argument("--comparison", choices=(*COMPARISONS, "all"), default="all", help="which one (default all, one after the other)")
    parser.add_argument("--only", help="a comma list of configurations, compared with each other; instead of --comparison")
    parser.add_argument("--against", help="another build folder of Shoal, compared with this one; instead of --comparison")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="the build folder")
    parser.add_argument("--torch-python", default=os.path.join(ROOT, ".deps", "python", "bin", "python"), help="a Python with the same version of torch")
    parser.add_argument("--out", default=os.path.join(ROOT, "runs", "bench"), help="the folder for results and the workers' messages")
    args = parser.parse_args(argv)
    if args.rounds < 2:
        parser.error(f"--rounds: got {args.rounds}, want 2 or more; the first is warm-up")
    return args


def chosen(configurations, ratios, names):
    """Those of these names, and the ratios between them."""
    by_name = {configuration.name: configuration for configuration in configurations}
    for name in names:
        if name not in by_name:
            raise BenchError(f"bench - --only: got {name}, want some of {', '.join(by_name)}", 2)
    return [by_name[name] for name in names], [ratio for ratio in ratios if ratio.over in names and ratio.under in names]


def same_torch(groups):
    """Ratios between two versions of LibTorch would say nothing of what is ours."""
    versions = {group.configuration.name: group.about[0]["torch"] for group in groups}
    first, *others = versions
    for other in others:
        if versions[other] != versions[first]:
            raise BenchError(f"bench - torch: got {versions[other]} in {other}, want {versions[first]} as in {first}; "
                             "point --torch-python at a Python with that version", 2)


def compare(name, precision, configurations, ratios, args, deadline, say):
    """One comparison, start to end. Prints its table and returns its summary, also when it was cut short."""
    workload = f"W1 {precision}, {name}"
    say(f"{workload}: starting {len(configurations)} configurations")
    records = {}
    with contextlib.ExitStack() as running:
        groups = [running.enter_context(Group(configuration, args.out)) for configuration in configurations]
        same_torch(groups)
        try:
            turns.run(groups, records, ratios, args.rounds, deadline, machine.cpu_seconds, say)
        finally:
            result = report.summary(records, ratios)
            path = os.path.join(args.out, f"w1-{name}-{precision}.json")
            with open(path, "w") as file:
                json.dump({"workload": workload, "machine": machine.description()} | result, file, indent=1)
            losses = "".join(f"\n{line}\n" for pair in (*SAME_RUN, *((one, one + "-before") for one in BEFORE)) if (line := report.same_losses(records, *pair)))
            print(f"\n{workload}\n{report.table(result)}\n{losses}\nevery turn: {path}\n", flush=True)
            for group in groups:
                group.ask_to_end()


def main(argv):
    args = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that every process is ended
    os.makedirs(args.out, exist_ok=True)
    precisions = ["fp32", "bf16"] if args.precision == "both" else [args.precision]
    names = ["before"] if args.against else ["chosen"] if args.only else list(COMPARISONS) if args.comparison == "all" else [args.comparison]
    tasks = [(name, precision) for name in names for precision in precisions]
    start = time.monotonic()
    try:
        for number, (name, precision) in enumerate(tasks):
            now = time.monotonic()
            deadline = now + (start + 60 * args.minutes - now) / (len(tasks) - number)
            with tempfile.TemporaryDirectory() as folder:
                if args.against:
                    configurations, ratios = against(precision, args.build, args.against, args.torch_python, folder)
                    wanted = args.only.split(",") if args.only else [one.name for one in configurations]
                else:
                    configurations, ratios, comparisons = lineup(precision, args.build, args.torch_python, folder)
                    wanted = args.only.split(",") if args.only else comparisons[name]
                compare(name, precision, *chosen(configurations, ratios, wanted), args, deadline, lambda line: print(line, flush=True))
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bench - stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
