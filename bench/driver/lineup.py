"""Who takes part in W1, and which ratios are wanted. To add a peer: a worker that speaks peers/protocol.py, and one entry here."""
import os

from driver.group import Configuration
from driver.turns import Ratio

CONTEXT, GLOBAL_BATCH = 256, 16
PEERS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "peers")


def lineup(precision, build, torch_python, folder):
    """The configurations and the ratios for precision fp32 or bf16. `build` has Shoal's programs, `folder` takes rendezvous files."""

    def ours(devices, batch, microbatches):
        worker = [os.path.join(build, "bench", "w1_worker"), "--precision", precision, "--batch", str(batch), "--microbatches", str(microbatches)]
        return [os.path.join(build, "shoal"), "run", "-n", str(devices), *worker]

    def torch(torch_precision, batch=GLOBAL_BATCH, threads=1):
        return [torch_python, os.path.join(PEERS, "w1_torch.py"), "--precision", torch_precision, "--batch", str(batch), "--threads", str(threads)]

    def ddp(name, torch_precision):
        rendezvous = os.path.join(folder, name + ".rendezvous")
        ranks = [torch(torch_precision) + ["--ranks", "2", "--rank", str(rank), "--rendezvous", rendezvous] for rank in range(2)]
        return Configuration(name, tuple(ranks), 1, whole)

    whole, half = GLOBAL_BATCH * CONTEXT, GLOBAL_BATCH // 2 * CONTEXT
    eager = "fp32" if precision == "fp32" else "autocast"
    suffix = "" if precision == "fp32" else "-autocast"
    configurations = [
        Configuration("ours-1", (ours(1, 16, 2),), 1, whole),
        # The bound: two devices' work on two cores, with nothing to say to each other.
        Configuration("ours-independent", (ours(1, 8, 1),) * 2, 1, whole, independent=True),
        Configuration("ours-2", (ours(2, 16, 2),), 1, whole),
        ddp("torch-ddp" + suffix, eager),
        Configuration("torch-2-threads" + suffix, (torch(eager, threads=2),), 2, whole),
        Configuration("torch-1-thread-half" + suffix, (torch(eager, batch=8),), 1, half),
    ]
    ratios = [
        Ratio("ours-2", "ours-independent", goal=0.95),
        Ratio("ours-2", "torch-ddp" + suffix, goal=1.0),
        Ratio("ours-2", "ours-1"),
        Ratio("ours-2", "torch-2-threads" + suffix),
        Ratio("ours-1", "torch-1-thread-half" + suffix),
        Ratio("torch-ddp" + suffix, "torch-1-thread-half" + suffix),
    ]
    if precision == "bf16":
        # For information: parameters, gradients and moments in bf16 is less work, and less precise, than ours (fp32 master weights).
        configurations.append(ddp("torch-ddp-pure-bf16", "bf16"))
        ratios.append(Ratio("ours-2", "torch-ddp-pure-bf16"))
    return configurations, ratios
