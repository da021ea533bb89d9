"""W1 under PyTorch eager: one process, or one rank over gloo of DistributedDataParallel (ddp), FSDP2 (fsdp2), DTensor tensor parallelism (tp) or a
pipeline (pp). Speaks the protocol of protocol.py."""
import argparse
import contextlib
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

import protocol
from pipeline_torch import STAGES_PER_RANK, Pipeline

VOCABULARY, LAYERS, WIDTH, HEADS, CONTEXT, GLOBAL_BATCH = 4096, 8, 512, 8, 256, 16


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        # Query, key and value of a head lie together, so that a shard of the rows has whole heads.
        q, k, v = self.qkv(x).view(batch, length, -1, 3, WIDTH // HEADS).permute(3, 0, 2, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, -1))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.norm2, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def global_batch(step):
    """The tokens of a step and what follows each: a noisy affine walk over the vocabulary, which a model can learn.
    The same numbers as in bench/w1_worker.cc."""
    generator = torch.Generator().manual_seed(1234 + step)
    tokens = torch.empty(GLOBAL_BATCH, CONTEXT + 1, dtype=torch.int64)
    tokens[:, 0] = torch.randint(0, VOCABULARY, (GLOBAL_BATCH,), generator=generator)
    noise = torch.randint(0, 8, (GLOBAL_BATCH, CONTEXT), generator=generator)
    for i in range(CONTEXT):
        tokens[:, i + 1] = (tokens[:, i] * 5 + 17 + noise[:, i]) % VOCABULARY
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def shard_fully(model, precision, mesh):
    """FSDP2 over a mesh of one dimension: parameters, gradients and moments are divided over it; each block is gathered for itself, the rest
    with the root. mixed: gathered and computed in bf16, gradients summed in fp32, as in Shoal's bf16."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if precision == "mixed" else MixedPrecisionPolicy()
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def divide_tensors(model, mesh):
    """Attention by heads, the MLP by columns then rows, and the head by vocabulary, so that the logits are never whole."""
    from torch.distributed.tensor import Shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
    for block in model.blocks:
        parallelize_module(block, mesh, {"attention.qkv": ColwiseParallel(), "attention.out": RowwiseParallel(),
                                         "up": ColwiseParallel(), "down": RowwiseParallel()})
    parallelize_module(model, mesh, {"head": ColwiseParallel(output_layouts=Shard(-1), use_local_output=False)})


def parallel(model, args):
    """The model as the ranks share it, and the context that computes its loss."""
    if args.parallel == "ddp":
        return nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True), contextlib.nullcontext
    from torch.distributed.device_mesh import init_device_mesh
    if args.parallel == "fsdp2":
        shard_fully(model, args.precision, init_device_mesh("cpu", (args.ranks,)))
        return model, contextlib.nullcontext
    from torch.distributed.tensor.parallel import loss_parallel
    mesh = init_device_mesh("cpu", (1, args.ranks), mesh_dim_names=("data", "tensor"))
    divide_tensors(model, mesh["tensor"])
    if args.precision == "mixed":  # FSDP2 over one rank, for its policy alone: a few percent faster than autocast
        shard_fully(model, args.precision, mesh["data"])
    return model, loss_parallel


def mean_loss(logits, targets):
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def whole(loss):
    """The loss as a plain tensor, which tensor parallelism hands out as a DTensor."""
    return loss.full_tensor() if hasattr(loss, "full_tensor") else loss


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=("fp32", "autocast", "mixed", "bf16"), required=True,
                        help="mixed: fp32 parameters and moments, computed in bf16 by FSDP2's policy; bf16: parameters, gradients and moments too")
    parser.add_argument("--batch", type=int, default=GLOBAL_BATCH, help="the first so many sequences of the global batch, over all ranks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parallel", choices=("ddp", "fsdp2", "tp", "pp"), help="how the ranks share the work")
    parser.add_argument("--schedule", choices=STAGES_PER_RANK, help="of a pipeline")
    parser.add_argument("--microbatches", type=int, help="of a pipeline")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--rendezvous", help="a file that does not exist yet, the same for all ranks")
    args = parser.parse_args()
    if (args.ranks > 1) != bool(args.parallel):
        parser.error("--parallel: want it with two ranks or more, and not with one")
    if args.precision == "mixed" and args.parallel not in ("fsdp2", "tp"):
        parser.error("--precision mixed: want --parallel fsdp2 or tp, which have a policy for it")
    if not ((args.parallel == "pp") == bool(args.schedule) == bool(args.microbatches)):
        parser.error("--schedule and --microbatches: want both with --parallel pp, and neither without")

    torch.set_num_threads(args.threads)
    torch.manual_seed(7)
    model = Gpt().to(torch.bfloat16 if args.precision == "bf16" else torch.float32)
    precision = torch.autocast("cpu", torch.bfloat16) if args.precision == "autocast" else contextlib.nullcontext()
    barrier, loss_context, pipeline = lambda: None, contextlib.nullcontext, None
    if args.ranks > 1:
        rendezvous = "file://" + os.path.abspath(args.rendezvous)
        dist.init_process_group("gloo", init_method=rendezvous, rank=args.rank, world_size=args.ranks)
        barrier = dist.barrier
        if args.parallel == "pp":
            with precision:
                pipeline = Pipeline(model, args.schedule, args.microbatches, mean_loss, global_batch(0)[0][: args.batch])
            model = None  # other ranks' stages are not kept
        else:
            model, loss_context = parallel(model, args)
    parameters = pipeline.parameters if pipeline else list(model.parameters())
    divided = [parameter for parameter in parameters if hasattr(parameter, "full_tensor")]
    plain = [parameter for parameter in parameters if not hasattr(parameter, "full_tensor")]
    groups = [{"params": group} for group in (divided, plain) if group]  # the fused kernel does not take both in one group
    optimizer = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def prepare(step):
        if args.parallel in ("tp", "pp"):
            return [part[: args.batch] for part in global_batch(step)]
        share = args.batch // args.ranks
        return [part[args.rank * share : (args.rank + 1) * share] for part in global_batch(step)]

    def forward_backward(tokens, targets):
        if pipeline:
            with precision:  # around all microbatches, so that a weight is cast once a step
                return pipeline.forward_backward(tokens, targets)
        with loss_context():
            with precision:
                loss = mean_loss(model(tokens), targets)
            loss.backward()
        return loss.detach()

    def step(batch):
        optimizer.zero_grad(set_to_none=True)
        loss = forward_backward(*batch)
        optimizer.step()
        return whole(loss).item()

    protocol.serve(prepare, barrier, step, {"torch": torch.__version__.split("+")[0], "threads": torch.get_num_threads()})
    if args.ranks > 1:
        dist.destroy_process_group()


main()
