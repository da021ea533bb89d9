"""W1's Gpt as a pipeline of torch.distributed.pipelining: what one rank has of it."""
import torch
import torch.distributed as dist
import torch.distributed.pipelining as pipelining
from torch import nn

# Its schedules, by the stages that each rank has: rank r of R has stage r, or in a V the stages r and 2 R - 1 - r.
STAGES_PER_RANK = {"1F1B": 1, "ZBVZeroBubble": 2, "DualPipeV": 2}


class Stage(nn.Module):
    """An even share of the blocks. The first stage has the embeddings too, the last the norm and the head."""

    def __init__(self, gpt, number, count):
        super().__init__()
        share = len(gpt.blocks) // count
        self.blocks = gpt.blocks[number * share : (number + 1) * share]
        self.tokens, self.positions = (gpt.tokens, gpt.positions) if number == 0 else (None, None)
        self.norm, self.head = (gpt.norm, gpt.head) if number == count - 1 else (None, None)

    def forward(self, x):
        if self.tokens is not None:
            x = self.tokens(x) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return x if self.head is None else self.head(self.norm(x))


class Pipeline:
    """The stages of this rank. `loss` gives that of a microbatch from its logits and targets; `tokens` are those of a step, for their shape alone."""

    def __init__(self, gpt, schedule, microbatches, loss, tokens):
        rank, ranks = dist.get_rank(), dist.get_world_size()
        in_v = STAGES_PER_RANK[schedule] == 2
        numbers, count = ([rank, 2 * ranks - 1 - rank], 2 * ranks) if in_v else ([rank], ranks)
        stages, value = {}, tokens[: len(tokens) // microbatches]
        for number in range(count):  # all of them, since without examples of what travels torch exchanges descriptions, for which it needs numpy
            module, arrives = Stage(gpt, number, count), value
            value = module(arrives).detach().requires_grad_()
            if number in numbers:
                stages[number] = pipelining.PipelineStage(module, number, count, torch.device("cpu"), input_args=arrives, output_args=value)
        self._schedule = getattr(pipelining, "Schedule" + schedule)([stages[n] for n in numbers] if in_v else stages[rank], microbatches, loss_fn=loss)
        self._has_first, self._has_last, self._rank_of_last = 0 in numbers, count - 1 in numbers, 0 if in_v else ranks - 1
        self.parameters = [parameter for stage in stages.values() for parameter in stage.submod.parameters()]

    def forward_backward(self, tokens, targets):
        """Leaves the gradients of the mean loss over the microbatches with the parameters. Returns that loss, on every rank."""
        losses = []
        inputs = [tokens] if self._has_first else []
        self._schedule.step(*inputs, target=targets if self._has_last else None, losses=losses, return_outputs=False)
        loss = torch.stack(losses).detach().mean() if self._has_last else torch.zeros(())
        dist.broadcast(loss, self._rank_of_last)
        return loss
