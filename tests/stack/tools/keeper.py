#!/usr/bin/env python3
"""Keeps the ports of one stack, and takes the stack down when its owner ends.

keeper.py DIR ADDRESS_A ADDRESS_B OWNER_PID|0 NAME=PORT...

Binds every named port (0: the kernel picks a free one; RS_NODE_PORT is bound
at both node addresses), prints the names with the numbers as NAME=PORT lines,
closes its standard output and stays. A socket that is bound but does not
listen keeps the number from being given to anybody else, while a server that
asks for it by number still gets it (both have SO_REUSEADDR): so a service that
is stopped for a while finds its port again, and a client meanwhile gets
"connection refused".

With an owner it waits for the end of that process and then runs `down --purge`.
"""
import os
import select
import signal
import socket
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def bind(addr, port):
    k = socket.socket()
    k.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        k.bind((addr, port))
    except OSError:
        k.close()
        raise
    return k


def pair(a, b, port):
    """One port at two addresses."""
    for _ in range(50):
        first = bind(a, port)
        number = first.getsockname()[1]
        try:
            return number, [first, bind(b, number)]
        except OSError:
            first.close()
            if port:
                raise
    raise OSError("no port is free at both node addresses")


def main():
    folder, a, b, owner, *names = sys.argv[1:]
    kept, numbers = [], {}
    for word in names:
        name, _, port = word.partition("=")
        port = int(port or 0)
        try:
            if name == "RS_NODE_PORT":
                numbers[name], both = pair(a, b, port)
                kept += both
            else:
                kept.append(bind("127.0.0.1", port))
                numbers[name] = kept[-1].getsockname()[1]
        except OSError as e:
            print(f"stack: {name}: cannot use port {port}: {e}", file=sys.stderr)
            return 1
    pidfd = None
    if int(owner):
        try:
            pidfd = os.pidfd_open(int(owner))
        except OSError as e:
            print(f"stack: no owner {owner}: {e}", file=sys.stderr)
            return 1
    for name, number in numbers.items():
        print(f"{name}={number}")
    sys.stdout.flush()
    # The reader of the lines waits for the end of this pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if pidfd is None:
        while True:
            signal.pause()
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    # From here on this process is `down`: it must not find itself among the recorded PIDs.
    try:
        os.unlink(os.path.join(folder, "pids", "keeper"))
    except FileNotFoundError:
        return 0  # somebody else takes it down already
    os.execve("/bin/bash", ["bash", os.path.join(HOME, "down"), "--purge"], {**os.environ, "RS_DIR": folder})


if __name__ == "__main__":
    sys.exit(main())
