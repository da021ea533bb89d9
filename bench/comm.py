"""Collectives over shared memory, Shoal's and MPI's in turn: comm.py BUILD_FOLDER [--ranks N] [--rounds N]

Runs BUILD_FOLDER/bench/comm_bench and comm_mpi one after the other, several rounds (A B A B ...), so that a change of the
machine's load meets both; prints microseconds as median [min, max] over the rounds, and MPI's median over Shoal's.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

# Open MPI refuses to start as root, and more ranks than cores, unless told otherwise; a rank that polls must yield then.
MPI_ENVIRONMENT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                   "OMPI_MCA_rmaps_base_oversubscribe": "1"}


def measure(command):
    """The program's "name,bytes,microseconds" lines as {(name, bytes): microseconds}."""
    result = subprocess.run(command, env=os.environ | MPI_ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    rows = (line.split(",") for line in result.stdout.splitlines())
    return {(name, int(size)): float(microseconds) for name, size, microseconds in rows}


def spread(samples):
    return f"{statistics.median(samples):.1f} [{min(samples):.1f}, {max(samples):.1f}]" if samples else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ours, theirs = arguments.build / "bench" / "comm_bench", arguments.build / "bench" / "comm_mpi"
    if not ours.exists():
        sys.exit(f"comm.py - {ours}: got no such program, want it built; configure with -DSHOAL_BENCH=ON and build comm_bench")
    commands = {"shoal": [str(ours), str(arguments.ranks)]}
    if theirs.exists() and shutil.which("mpirun"):
        commands["mpi"] = ["mpirun", "-n", str(arguments.ranks), str(theirs)]

    rounds = {who: [] for who in commands}
    for _ in range(arguments.rounds):
        for who, command in commands.items():
            rounds[who].append(measure(command))

    print(f"{arguments.ranks} ranks, {os.cpu_count()} cores, {arguments.rounds} rounds in turn, microseconds: median [min, max]\n")
    print("| what | bytes | shoal | mpi | mpi / shoal |\n|---|---|---|---|---|")
    for name, size in rounds["shoal"][0]:
        samples = {who: [one[name, size] for one in rounds.get(who, []) if (name, size) in one] for who in ("shoal", "mpi")}
        ratio = f"{statistics.median(samples['mpi']) / statistics.median(samples['shoal']):.2f}" if samples["mpi"] else ""
        print(f"| {name} | {size} | {spread(samples['shoal'])} | {spread(samples['mpi'])} | {ratio} |")


if __name__ == "__main__":
    main()
