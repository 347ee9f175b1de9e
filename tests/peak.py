"How much memory this process has needed at most: what getrusage says also counts the program that started it."
import resource
import sys
from pathlib import Path

def peak_mb():
    "MiB since this program began."
    status = Path('/proc/self/status')
    if status.exists(): return next(int(o.split()[1]) for o in status.read_text().splitlines() if o.startswith('VmHWM'))/1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(2**20 if sys.platform == 'darwin' else 1024)
