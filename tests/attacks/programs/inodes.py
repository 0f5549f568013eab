# Makes empty files for as long as it is let.
import errno
import itertools
import os

os.mkdir("/workspace/many")
try:
    for number in itertools.count():
        os.close(os.open(f"/workspace/many/{number}", os.O_CREAT | os.O_WRONLY))
except OSError as error:
    print(f"refused: {errno.errorcode[error.errno]} {number}")
