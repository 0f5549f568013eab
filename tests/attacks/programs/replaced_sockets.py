# Puts links and sockets of its own where the server once found the kernel's.
import os
import socket

from attempts import attempt, given

directory = given["directory"]


def replace(name):
    os.remove(f"{directory}/{name}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{directory}/{name}")
    listener.listen()


for number in range(1, 6):
    attempt(f"replace {number}", replace, f"{given['prefix']}-{number}")
attempt("link", os.symlink, given["canary"], f"{directory}/link")
attempt("link in place of the connection file", os.replace, f"{directory}/link", f"{directory}/connection.json")
