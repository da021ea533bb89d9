"""How busy the machine was, and what it is."""
import os


def cpu_seconds():
    """CPU seconds since boot over all cores: (in use by anyone, stolen by the host)."""
    ticks_per_second = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _wait, interrupts, soft_interrupts, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + interrupts + soft_interrupts) / ticks_per_second, steal / ticks_per_second


def description():
    """The processor and its size, for the head of a result."""
    with open("/proc/cpuinfo") as cpus:
        names = [line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": names[0] if names else os.uname().machine, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory / 2**30)}
