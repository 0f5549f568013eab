# Crashes many times: each could leave a core file, or a line in the host's log.
import ctypes
import os
import resource

from attempts import attempt, in_child, read

attempt("allow core files", resource.setrlimit, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("status:", *{in_child(lambda: ctypes.string_at(0)) for _ in range(100)})
print("core files:", len([name for name in os.listdir("/workspace") if "core" in name]))
attempt("host's log", read, "/dev/kmsg")
