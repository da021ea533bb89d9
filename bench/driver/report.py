"""What was measured, as a table for people and as JSON for programs."""
from dataclasses import asdict
from statistics import median

from driver.turns import paired


def summary(records, ratios):
    """A dictionary for JSON: medians and spreads, and every turn they were made from."""
    return {
        "configurations": {name: configuration(record) for name, record in records.items()},
        "ratios": [ratio_row(records, ratio) for ratio in ratios],
    }


def configuration(record):
    counted = [turn for turn in record.turns[1:] if turn.clean] or record.turns[1:]
    middle = {key: median(value(turn) for turn in counted) for key, value in {
        "tokens_per_second": lambda turn: turn.tokens_per_second,
        "step_seconds": lambda turn: median(turn.step_seconds[1:]),
        "user_seconds": lambda turn: turn.user_seconds,
        "system_seconds": lambda turn: turn.system_seconds,
    }.items()} if counted else {}
    return middle | {"clean_turns": sum(turn.clean for turn in record.turns[1:]), "peak_bytes": record.peak_bytes, "about": record.about,
                     "where": record.where, "turns": [asdict(turn) for turn in record.turns]}


def ratio_row(records, ratio):
    values = paired(records, ratio)
    turns_of_both = min(len(records[name].turns) for name in (ratio.over, ratio.under))
    row = asdict(ratio) | {"clean_turns": len(values), "turns": turns_of_both - 1}
    return row | ({"median": median(values), "min": min(values), "max": max(values)} if values else {})


def table(result):
    """The summary as lines of text."""
    lines = [f"{'configuration':30}{'tokens/s':>9}{'s/step':>8}{'user':>7}{'system':>8}{'clean':>7}{'loss':>8}  peak MiB of each process"]
    for name, row in result["configurations"].items():
        if "tokens_per_second" not in row:
            lines.append(f"{name:30} nothing after the warm-up")
            continue
        peaks = ", ".join(f"{peak / 2**20:.0f}" for peak in row["peak_bytes"])
        lines.append(f"{name:30}{row['tokens_per_second']:9.0f}{row['step_seconds']:8.2f}{row['user_seconds']:7.2f}{row['system_seconds']:8.2f}"
                     f"{row['clean_turns']:7}{row['turns'][-1]['loss'][-1]:8.4f}  {peaks}")
    lines += ["", f"{'ratio of tokens/s, paired in turn':52}{'median':>7}  {'[min, max]':16}{'clean turns':12}goal"]
    for row in result["ratios"]:
        name, count = f"{row['over']} / {row['under']}", f"{row['clean_turns']} of {row['turns']}"
        spread = f"{row['median']:7.3f}  {'[%.3f, %.3f]' % (row['min'], row['max']):16}" if "median" in row else f"{'-':>7}  {'':16}"
        lines.append(f"{name:52}{spread}{count:12}{verdict(row)}")
    for name, row in result["configurations"].items():
        if row["where"]:
            shares = ", ".join(f"{what} {share:.0%}" for what, share in sorted(row["where"].items(), key=lambda item: -item[1]))
            lines += ["", f"where a step of {name} goes: {shares}"]
    return "\n".join(lines)


def verdict(row):
    if row["goal"] is None:
        return ""
    if "median" not in row:
        return f">= {row['goal']:.2f}: not measured"
    return f">= {row['goal']:.2f}: {'met' if row['median'] >= row['goal'] else 'missed'}"


def same_losses(records, first, second):
    """One line on whether two configurations that must agree to the bit did; None where one does not take part."""
    if first not in records or second not in records:
        return None
    pairs = list(zip(*([loss for turn in records[name].turns for loss in turn.loss] for name in (first, second))))
    differ = sum(a != b for a, b in pairs)
    steps = f"{len(pairs)} steps of {first} and {second}"
    return f"{steps}: the same loss in each, to the bit" if not differ else f"{steps}: the loss DIFFERS in {differ} of them"
