# Reads and writes what is the host's, and looks for it everywhere.
import os

from attempts import attempt, everything_below, given, read, write

for path in (given["canary"], "/etc/shadow", "/root/.ssh/id_rsa", "/proc/1/root" + given["canary"]):
    attempt(f"read {path}", read, path)
for path in (given["canary"], "/etc/passwd", "/etc/ld.so.cache", "/usr/bin/env", "/proc/1/root/etc/passwd"):
    attempt(f"write {path}", write, path)
for directory in ("/", "/bin", "/boot", "/etc", "/home", "/lib", "/opt", "/root", "/usr", "/usr/local/bin", "/var"):
    attempt(f"create in {directory}", os.mkdir, f"{directory}/new")
attempt("escape by ..", read, "/workspace" + "/.." * 30 + given["canary"])
attempt("escape by a descriptor", lambda: os.open(given["canary"], os.O_RDONLY, dir_fd=os.open("/", os.O_PATH)))
name = os.path.basename(given["canary"])
for path in everything_below("/"):
    if os.path.basename(path) == name:
        print(f"find {path}: REACHED")
