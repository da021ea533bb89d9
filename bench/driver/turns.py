"""Turns: every configuration steps once in each, so that whatever the machine does in a minute falls on all of them alike.

The first turn is warm-up. In every turn the first step is dropped: the kernel takes memory back from a process that waits. While a
configuration steps, the CPU time that others used, or the host stole, is measured; more than NOISE_LIMIT of it makes the turn noisy
for that configuration, and a ratio counts only turns in which both of its sides were clean.
"""
import time
from dataclasses import dataclass, field
from statistics import median

STEPS = 3           # in a turn of one configuration
NOISE_LIMIT = 0.10  # cores


@dataclass
class Turn:
    """One configuration's part of one turn."""
    tokens_per_second: float
    step_seconds: list     # the slowest process's, by step
    loss: list             # the mean over the processes, by step
    user_seconds: float    # a step, over all processes; the first step counts here
    system_seconds: float
    others: float          # cores in use by others meanwhile
    stolen: float          # cores taken by the host meanwhile

    @property
    def clean(self):
        return self.others + self.stolen <= NOISE_LIMIT


@dataclass(frozen=True)
class Ratio:
    """Tokens/s of `over` for each token/s of `under`, formed inside each turn."""
    over: str
    under: str
    goal: float | None = None


@dataclass
class Record:
    """All that was measured of one configuration."""
    about: dict
    turns: list = field(default_factory=list)  # the first is warm-up
    peak_bytes: list = field(default_factory=list)
    where: dict = field(default_factory=dict)


def take_turn(group, cpu_seconds):
    """One block of steps."""
    busy, stolen, start = *cpu_seconds(), time.monotonic()
    answers = group.ask(f"step {STEPS}")
    wall = time.monotonic() - start
    busy, stolen = (now - before for now, before in zip(cpu_seconds(), (busy, stolen)))
    user, system = (sum(sum(answer[kind]) for answer in answers) for kind in ("user", "system"))
    by_step = list(zip(*(answer["seconds"] for answer in answers)))
    return Turn(
        tokens_per_second=rate(group.configuration, [answer["seconds"] for answer in answers]),
        step_seconds=[max(seconds) for seconds in by_step],
        loss=[sum(losses) / len(losses) for losses in zip(*(answer["loss"] for answer in answers))],
        user_seconds=user / STEPS,
        system_seconds=system / STEPS,
        others=max(0.0, busy - user - system) / wall,
        stolen=stolen / wall,
    )


def rate(configuration, seconds):
    """Tokens a second from the seconds of every process by step, the first step dropped. Processes that talk are as fast as the slowest of
    them; independent ones each have a speed, and the speeds add up (which is never less: the bound must not be set too low)."""
    if configuration.independent:
        share = configuration.tokens / len(seconds)
        return sum(share / median(one[1:]) for one in seconds)
    return configuration.tokens / median([max(step) for step in zip(*seconds)][1:])


def run(groups, records, ratios, rounds, deadline, cpu_seconds, say):
    """Takes `rounds` turns, and up to as many again until every ratio has rounds - 1 clean ones; ends early where the next turn might pass
    the deadline (of time.monotonic). Fills `records` (by name) as it goes, so that what was measured outlives a failure."""
    records |= {group.configuration.name: Record(group.about[0]) for group in groups}
    longest = 0
    for number in range(2 * rounds):
        start = time.monotonic()
        if number >= 2 and start + longest > deadline:
            say(f"out of time after {number} turns")
            break
        if number >= rounds and all(len(paired(records, ratio)) >= rounds - 1 for ratio in ratios):
            break
        if number == 1:
            for group in groups:
                group.ask("reset")
        for group in groups if number % 2 == 0 else reversed(groups):
            records[group.configuration.name].turns.append(take_turn(group, cpu_seconds))
        longest = max(longest, time.monotonic() - start)
        say(progress(number, records))
    for group in groups:
        record = records[group.configuration.name]
        record.peak_bytes = [peak for answer in group.ask("rss") for peak in answer["peak_bytes"]]
        if record.about.get("profiles"):
            record.where = group.ask("profile")[0]["where"]


def paired(records, ratio):
    """The ratio's value in every turn that was clean for both sides."""
    pairs = zip(records[ratio.over].turns[1:], records[ratio.under].turns[1:])
    return [over.tokens_per_second / under.tokens_per_second for over, under in pairs if over.clean and under.clean]


def progress(number, records):
    last = {name: record.turns[-1] for name, record in records.items()}
    parts = (f"{name} {turn.tokens_per_second:.0f}" + ("" if turn.clean else f" (noise {turn.others + turn.stolen:.2f})")
             for name, turn in last.items())
    return f"turn {number}{' (warm-up)' if number == 0 else ''}, tokens/s: " + ", ".join(parts)
