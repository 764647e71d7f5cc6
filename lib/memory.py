"""How much memory this program has held."""
import resource
from pathlib import Path


def peak_mb() -> float:
    """The most memory this program has held; getrusage would also count what its parent held when it was started."""
    status = Path("/proc/self/status")
    if not status.exists():   # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
