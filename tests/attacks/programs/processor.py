# Keeps every processor busy from as many processes as it is let, in the background.
import os

for _ in range(30):
    if os.fork() == 0:
        os.nice(-20) if os.getuid() == 0 else None
        while True:
            pass
print("started: yes")
