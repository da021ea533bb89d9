"""A worker that claims to have taken `--seconds` a step, and misbehaves as told."""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "peers"))
import protocol

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, nargs="+", default=[1.0], help="of each step, over and over")
parser.add_argument("--loss", type=float, default=8.0, help="of the first step; it falls by 1 a step")
parser.add_argument("--torch", default="2.13.0")
parser.add_argument("--fails-at", type=int, help="the step in which it leaves with a message")
parser.add_argument("--hangs-at", type=int, help="the step in which it stops answering, deaf to quit")
args = parser.parse_args()

steps = iter(range(1_000_000))
protocol.time.perf_counter = lambda: clock[0]  # the claimed time
clock = [0.0]


def step(batch):
    number = next(steps)
    if number == args.fails_at:
        print("loading", file=sys.stderr)
        sys.exit("RuntimeError: out of luck")
    if number == args.hangs_at:
        time.sleep(600)
    clock[0] += args.seconds[number % len(args.seconds)]
    return args.loss - number


protocol.serve(lambda number: None, lambda: None, step, {"torch": args.torch})
