"""W1 under PyTorch eager: one process, or one rank of DistributedDataParallel over gloo. Speaks the protocol of protocol.py."""
import argparse
import contextlib
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

import protocol

VOCABULARY, LAYERS, WIDTH, HEADS, CONTEXT, GLOBAL_BATCH = 4096, 8, 512, 8, 256, 16


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, WIDTH))


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=("fp32", "autocast", "bf16"), required=True, help="bf16: parameters, gradients and moments too")
    parser.add_argument("--batch", type=int, default=GLOBAL_BATCH, help="the first so many sequences of the global batch, over all ranks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--rendezvous", help="a file that does not exist yet, the same for all ranks")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(7)
    model = Gpt().to(torch.bfloat16 if args.precision == "bf16" else torch.float32)
    barrier = lambda: None
    if args.ranks > 1:
        rendezvous = "file://" + os.path.abspath(args.rendezvous)
        dist.init_process_group("gloo", init_method=rendezvous, rank=args.rank, world_size=args.ranks)
        model = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
        barrier = dist.barrier
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    precision = torch.autocast("cpu", torch.bfloat16) if args.precision == "autocast" else contextlib.nullcontext()

    def prepare(step):
        share = args.batch // args.ranks
        return [part[args.rank * share : (args.rank + 1) * share] for part in global_batch(step)]

    def step(batch):
        tokens, targets = batch
        optimizer.zero_grad(set_to_none=True)
        with precision:
            loss = F.cross_entropy(model(tokens).float().flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    protocol.serve(prepare, barrier, step, {"torch": torch.__version__.split("+")[0], "threads": torch.get_num_threads()})
    if args.ranks > 1:
        dist.destroy_process_group()


main()
