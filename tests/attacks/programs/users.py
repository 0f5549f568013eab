# Becomes another user: by asking, by a setuid program, by a program with capabilities of its own making.
import ctypes
import os
import shutil
import stat
import subprocess

from attempts import attempt, everything_below, libc


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


attempt("setuid", os.setuid, 0)
attempt("setgid", os.setgid, 0)
attempt("setresuid", os.setresuid, 0, 0, 0)
attempt("setgroups", os.setgroups, [0])
capabilities = (ctypes.c_uint32 * 6)(0xFFFFFFFF, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
attempt("capset", lambda: checked(libc.capset(ctypes.byref(header), ctypes.byref(capabilities))))
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    print(f"{name}: {int(status[name], 16)}")
print(f"NoNewPrivs: {status['NoNewPrivs'].strip()}")
print(f"Seccomp: {status['Seccomp'].strip()}")

shutil.copy("/usr/bin/id", "/workspace/id")
os.chmod("/workspace/id", 0o6755)
attempt(
    "file capabilities", os.setxattr, "/workspace/id", "security.capability", b"\1\0\0\2\xff\xff\xff\xff" + b"\0" * 12
)
attempt("give a file to root", os.chown, "/workspace/id", 0, 0)
me = subprocess.run(["/workspace/id"], capture_output=True, text=True).stdout
print(f"own setuid program: {'EPERM' if f'uid={os.getuid()}' in me and 'euid' not in me else 'REACHED ' + me}")
for path in everything_below("/usr"):
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        continue
    if (
        stat.S_ISREG(mode)
        and mode & (stat.S_ISUID | stat.S_ISGID)
        and os.path.basename(path) in ("su", "mount", "newgrp")
    ):
        child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        effective = open(f"/proc/{child.pid}/status").read().split("Uid:")[1].split()[1]
        child.communicate(b"id\n")
        if effective == "0":
            print(f"{path}: REACHED root")
