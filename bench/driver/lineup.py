"""Who takes part in W1, and which ratios are wanted. To add a peer: a worker that speaks peers/protocol.py, and one entry here."""
import dataclasses
import os

from driver.group import Configuration
from driver.turns import Ratio

CONTEXT, GLOBAL_BATCH = 256, 16
PIPELINE_MICROBATCHES = (4, 8)
# What is started together and steps in turn. Each fits a machine of 16 GiB; ratios are formed within one.
COMPARISONS = {
    "data": ("ours-1", "ours-independent", "ours-2", "torch-ddp", "torch-2-threads", "torch-1-thread-half", "torch-ddp-pure-bf16"),
    "zero": ("ours-independent", "ours-zero1", "ours-zero3", "torch-fsdp2"),
    "tensor": ("ours-independent", "ours-1", "ours-c2", "ours-c4", "ours-tp2", "torch-tp"),
    "recompute": ("ours-1", "ours-selective", "ours-all"),
} | {
    f"pipeline{m}": (f"ours-independent-{m}", f"ours-1f1b-{m}", f"ours-zero_bubble-{m}", f"ours-zero_bubble_v-{m}", f"ours-interleaved-{m}",
                     f"torch-1f1b-{m}", f"torch-zbv-{m}", f"torch-dualpipev-{m}", f"torch-1f1b-{m}-pure-bf16", f"torch-zbv-{m}-pure-bf16")
    for m in PIPELINE_MICROBATCHES
}
# One run on different devices: their losses must agree to the bit.
SAME_RUN = (("ours-1", "ours-2"), ("ours-zero1", "ours-zero3"), ("ours-c2", "ours-tp2"),
            ("ours-1", "ours-selective"), ("ours-1", "ours-all"),
            *((f"ours-1f1b-{m}", f"ours-{other}-{m}") for m in PIPELINE_MICROBATCHES for other in ("zero_bubble", "zero_bubble_v", "interleaved")))
PEERS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "peers")


# What another build is compared in: one device, and each way to divide.
BEFORE = ("ours-1", "ours-2", "ours-zero3", "ours-tp2")


def against(precision, build, other, torch_python, folder):
    """This build and another one, configuration by configuration; both must speak the same protocol."""
    both = []
    for place, suffix in ((build, ""), (other, "-before")):
        configurations, _, _ = lineup(precision, place, torch_python, folder)
        both += [dataclasses.replace(one, name=one.name + suffix) for one in configurations if one.name in BEFORE]
    return both, [Ratio(name, name + "-before", goal=0.99) for name in BEFORE]


def lineup(precision, build, torch_python, folder):
    """The configurations, the ratios and the comparisons (name to names) for precision fp32 or bf16. `build` has Shoal's programs, `folder` takes rendezvous files."""

    def ours(devices, batch, microbatches, *more):
        worker = [os.path.join(build, "bench", "w1_worker"), "--precision", precision, "--batch", str(batch), "--microbatches", str(microbatches), *more]
        return [os.path.join(build, "shoal"), "run", "-n", str(devices), *worker]

    def torch(torch_precision, batch=GLOBAL_BATCH, threads=1):
        return [torch_python, os.path.join(PEERS, "w1_torch.py"), "--precision", torch_precision, "--batch", str(batch), "--threads", str(threads)]

    def torch_ranks(parallel, name, torch_precision, *more):
        rendezvous = os.path.join(folder, name + ".rendezvous")
        ranks = [torch(torch_precision) + ["--parallel", parallel, "--ranks", "2", "--rank", str(rank), "--rendezvous", rendezvous, *more] for rank in range(2)]
        return Configuration(name, tuple(ranks), 1, whole)

    def torch_pipeline(name, torch_precision, schedule, microbatches):
        return torch_ranks("pp", name, torch_precision, "--schedule", schedule, "--microbatches", str(microbatches))

    def pipelines(m):
        """Two stages and m microbatches. The bound's devices have microbatches of the same size, which is what its kernels see."""
        return [
            Configuration(f"ours-independent-{m}", (ours(1, 8, m // 2),) * 2, 1, whole, independent=True),
            *(Configuration(f"ours-{name}-{m}", (ours(2, 16, m, "--layout", f"pp=2,schedule={schedule}"),), 1, whole)
              for name, schedule in (("1f1b", "1f1b"), ("zero_bubble", "zero_bubble"), ("zero_bubble_v", "zero_bubble_v"), ("interleaved", "interleaved_1f1b:2"))),
            *(torch_pipeline(f"torch-{schedule.removesuffix('ZeroBubble').lower()}-{m}{suffix}", eager, schedule, m)
              for schedule in ("1F1B", "ZBVZeroBubble", "DualPipeV")),
        ]

    whole, half = GLOBAL_BATCH * CONTEXT, GLOBAL_BATCH // 2 * CONTEXT
    # The peers' fastest way to compute in bf16 with fp32 parameters and moments, which is what ours does.
    eager, divided = ("fp32", "fp32") if precision == "fp32" else ("autocast", "mixed")
    suffix, divided_suffix = ("", "") if precision == "fp32" else ("-autocast", "-mixed")
    configurations = [
        Configuration("ours-1", (ours(1, 16, 2),), 1, whole),
        # The bound: two devices' work on two cores, with nothing to say to each other.
        Configuration("ours-independent", (ours(1, 8, 1),) * 2, 1, whole, independent=True),
        Configuration("ours-2", (ours(2, 16, 2),), 1, whole),
        torch_ranks("ddp", "torch-ddp" + suffix, eager),
        Configuration("torch-2-threads" + suffix, (torch(eager, threads=2),), 2, whole),
        Configuration("torch-1-thread-half" + suffix, (torch(eager, batch=8),), 1, half),
        Configuration("ours-zero1", (ours(2, 16, 2, "--layout", "dp=2,zero=1"),), 1, whole),
        Configuration("ours-zero3", (ours(2, 16, 2, "--layout", "dp=2,zero=3"),), 1, whole),
        torch_ranks("fsdp2", "torch-fsdp2" + divided_suffix, divided),
        Configuration("ours-tp2", (ours(2, 16, 2, "--layout", "tp=2", "--chunks", "2"),), 1, whole),
        torch_ranks("tp", "torch-tp" + divided_suffix, divided),
        # What it costs one device that layers can be divided.
        Configuration("ours-c2", (ours(1, 16, 2, "--chunks", "2"),), 1, whole),
        Configuration("ours-c4", (ours(1, 16, 2, "--chunks", "4"),), 1, whole),
        Configuration("ours-selective", (ours(1, 16, 2, "--layout", "recompute=selective"),), 1, whole),
        Configuration("ours-all", (ours(1, 16, 2, "--layout", "recompute=all"),), 1, whole),
        *(configuration for m in PIPELINE_MICROBATCHES for configuration in pipelines(m)),
    ]
    fp32 = precision == "fp32"
    ratios = [
        Ratio("ours-2", "ours-independent", goal=0.95),
        Ratio("ours-2", "torch-ddp" + suffix, goal=1.0),
        Ratio("ours-2", "ours-1"),
        Ratio("ours-2", "torch-2-threads" + suffix),
        Ratio("ours-1", "torch-1-thread-half" + suffix),
        Ratio("torch-ddp" + suffix, "torch-1-thread-half" + suffix),
        Ratio("ours-zero3", "torch-fsdp2" + divided_suffix, goal=1.05 if fp32 else 1.0),
        Ratio("ours-zero1", "ours-independent", goal=0.97 if fp32 else None),
        Ratio("ours-zero3", "ours-independent", goal=0.94 if fp32 else None),
        Ratio("ours-zero3", "ours-zero1"),
        Ratio("ours-tp2", "torch-tp" + divided_suffix, goal=1.08 if fp32 else 1.0),
        Ratio("ours-tp2", "ours-independent", goal=0.90 if fp32 else None),
        Ratio("ours-tp2", "ours-1"),
        Ratio("ours-c2", "ours-1", goal=None if fp32 else 1 / 1.06),  # a step at most 6 % longer
        Ratio("ours-c4", "ours-1", goal=None if fp32 else 1 / 1.12),
    ]
    ratios += [Ratio("ours-selective", "ours-1", goal=1 / 1.08), Ratio("ours-all", "ours-1", goal=1 / 1.35)]
    for m in PIPELINE_MICROBATCHES:
        ratios += [
            Ratio(f"ours-1f1b-{m}", f"torch-1f1b-{m}{suffix}", goal=1.15 if fp32 else 1.25),
            *(ratio for ours_name in (f"ours-zero_bubble-{m}", f"ours-zero_bubble_v-{m}")
              for ratio in (Ratio(ours_name, f"torch-zbv-{m}{suffix}", goal=1.1),  # 1.1 of the best of the peers'
                            Ratio(ours_name, f"torch-dualpipev-{m}{suffix}", goal=1.1),
                            Ratio(ours_name, f"ours-independent-{m}", goal=0.95), Ratio(ours_name, f"ours-1f1b-{m}"))),
            Ratio(f"ours-interleaved-{m}", f"ours-1f1b-{m}"),
        ]
    if not fp32:
        # For information: parameters, gradients and moments in bf16 is less work, and less precise, than ours (fp32 master weights).
        configurations.append(torch_ranks("ddp", "torch-ddp-pure-bf16", "bf16"))
        ratios.append(Ratio("ours-2", "torch-ddp-pure-bf16"))
        for m in PIPELINE_MICROBATCHES:
            for ours_name, name, schedule in (("1f1b", "1f1b", "1F1B"), ("zero_bubble", "zbv", "ZBVZeroBubble")):
                configurations.append(torch_pipeline(f"torch-{name}-{m}-pure-bf16", "bf16", schedule, m))
                ratios.append(Ratio(f"ours-{ours_name}-{m}", f"torch-{name}-{m}-pure-bf16"))
    names = [one.name for one in configurations]
    comparisons = {comparison: [name for name in names if name.removesuffix("-autocast").removesuffix("-mixed") in members]
                   for comparison, members in COMPARISONS.items()}
    return configurations, ratios, comparisons
