# Forks for as long as it is let.
import os
import time

print("started: yes", flush=True)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
