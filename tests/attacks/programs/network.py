# Looks for a way out: interfaces, routes, the server's port on every loopback address, a route of its own making.
import os
import socket
import struct

from attempts import attempt, given

print("interfaces:", *(name for _, name in socket.if_nameindex()))
print("routes:", len(open("/proc/net/route").read().splitlines()) - 1)
devices = {line.split()[-1] for line in open("/proc/net/ipv6_route")} if os.path.exists("/proc/net/ipv6_route") else ()
print("routes of version 6:", *devices)
print("neighbours:", len(open("/proc/net/arp").read().splitlines()) - 1)


def connect(host):
    with socket.create_connection((host, given["port"]), timeout=5):
        pass


for host in ("127.0.0.1", "127.0.0.2", "::1", "0.0.0.0"):
    attempt(f"connect {host.replace(':', '.')}", connect, host)


def ask_netlink(kind, payload):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as netlink:
        # NLM_F_REQUEST, ACK, CREATE
        netlink.send(struct.pack("=IHHII", 16 + len(payload), kind, 0x405, 1, 0) + payload)
        _, code, _, _, _, error = struct.unpack("=IHHIIi", netlink.recv(65_536)[:20])
        if code == 2 and error:
            raise OSError(-error, os.strerror(-error))


attempt("new interface", ask_netlink, 16, struct.pack("=BBHiII", 0, 0, 0, 0, 1, 1))
attempt("new route", ask_netlink, 24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0))
