# Calls Linux through the tables that a filter may have forgotten: 32-bit x86 (int 0x80) and x32.
import ctypes
import mmap

from attempts import in_child, libc

GETPID_32 = bytes.fromhex("b814000000cd80c3")  # mov eax, 20; int 0x80; ret


def through_int_80():
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(GETPID_32)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    if ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0:
        print("int 0x80: REACHED", flush=True)


def through_x32():
    if libc.syscall(ctypes.c_long(0x40000000 + 39)) > 0:
        print("x32: REACHED", flush=True)


print(f"int 0x80 status: {in_child(through_int_80)}")
print(f"x32 status: {in_child(through_x32)}")
