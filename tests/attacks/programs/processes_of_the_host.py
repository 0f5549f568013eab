# Looks for processes of the host, reads their environment and signals them.
import os
import signal

from attempts import attempt, given, read

for pid in given["pids"]:
    attempt(f"signal {pid}", os.kill, pid, signal.SIGTERM)
    attempt(f"open {pid}", os.pidfd_open, pid)
pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
for pid in {*pids, os.getppid(), 1}:
    for what in ("environ", "cmdline", "mem", "auxv", f"task/{pid}/environ"):
        try:
            content = read(f"/proc/{pid}/{what}", 1_000_000)
        except OSError:
            continue
        if given["secret"].encode() in content:
            print(f"{pid} {what}: REACHED the secret")
if given["secret"] in str(dict(os.environ)):
    print("environment: REACHED the secret")
print(f"processes: {len(pids)}")
