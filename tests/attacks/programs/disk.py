# Fills every place that can be written to, in bytes and then in files.
import errno
import os

from attempts import given

MEGABYTE = b"x" * 1_000_000
places = set()
for directory, directories, _ in os.walk("/"):
    directories[:] = [name for name in directories if os.path.join(directory, name) not in ("/proc", "/sys", "/usr")]
    if os.access(directory, os.W_OK) and not any(directory.startswith(place + "/") for place in places):
        places.add(directory)
for place in sorted(places):
    path = f"{place}/large"
    written = 0
    try:
        with open(path, "wb", 0) as file:
            while written < given["enough"]:
                written += file.write(MEGABYTE)
            outcome = "REACHED"
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    print(f"{place}: {outcome} {written}")
    if os.path.exists(path):
        os.remove(path)
