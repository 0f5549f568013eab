# Opens every kind of socket beside the ordinary ones: raw, packet, the hypervisor's, the kernel's own.
import socket

from attempts import attempt

FAMILIES = {"AF_ALG": 38, "AF_BLUETOOTH": 31, "AF_CAN": 29, "AF_KEY": 15, "AF_NFC": 39, "AF_PACKET": 17, "AF_RDS": 21,
            "AF_TIPC": 30, "AF_VSOCK": 40, "AF_X25": 9, "AF_XDP": 44}  # fmt: skip
for name, family in FAMILIES.items():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        attempt(f"{name} {kind}", socket.socket, family, kind)
for protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_RAW, socket.IPPROTO_TCP):
    attempt(f"raw {protocol}", socket.socket, socket.AF_INET, socket.SOCK_RAW, protocol)
    attempt(f"raw6 {protocol}", socket.socket, socket.AF_INET6, socket.SOCK_RAW, protocol)
