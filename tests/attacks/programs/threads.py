# Starts threads for as long as it is let.
import threading

ended = threading.Event()
threads = []
try:
    while True:
        thread = threading.Thread(target=ended.wait)
        thread.start()
        threads.append(thread)
except RuntimeError as error:
    print(f"refused: {error}")
ended.set()
for thread in threads:
    thread.join()
print(f"threads: {len(threads)}")
