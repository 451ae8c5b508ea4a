#!/usr/bin/env python3
"""Carries connections from free ports here to the domain controller in its network namespace.

relay.py DIR OWNER

Waits until the controller answers, writes DIR/env.json with the ports, and relays until it is ended. A socket belongs
to the namespace in which it was made: those that listen are made here, those that connect are made there. When the
process OWNER ends (0: none), it takes everything down.
"""
import asyncio
import ctypes
import json
import os
import socket
import sys

HOME = os.path.dirname(os.path.abspath(__file__))
PORTS = {"ldap": 389, "ldaps": 636, "kerberos": 88}


async def carry(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


def relay(port):
    async def serve(reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(carry(reader, back), carry(there, writer))
        back.close()
        writer.close()
    return serve


async def answers(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def enter(pid):
    """Goes into the namespace of a process, once it is in one of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    mine = os.readlink("/proc/self/ns/net")
    if os.readlink(f"/proc/{pid}/ns/net") == mine:
        return False
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if libc.setns(there, 0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")
    os.close(there)
    return True


async def main():
    folder, owner = sys.argv[1], int(sys.argv[2])
    with open(f"{folder}/pids/samba", encoding="ascii") as f:
        pid = int(f.read())
    listening = {}
    for name in PORTS:
        listening[name] = socket.create_server(("127.0.0.1", 0))
    pidfd = os.pidfd_open(owner) if owner else None
    while not enter(pid):
        await asyncio.sleep(0.02)
    for port in PORTS.values():
        while not await answers(port):
            await asyncio.sleep(0.02)
    at = {name: listener.getsockname()[1] for name, listener in listening.items()}
    for name, listener in listening.items():
        await asyncio.start_server(relay(PORTS[name]), sock=listener)
    env = {"ca_file": f"{folder}/tls/ca.pem", "base_dn": "DC=example,DC=test",
           "kerberos": f"127.0.0.1:{at['kerberos']}",
           "ldap": f"ldap://127.0.0.1:{at['ldap']}", "ldaps": f"ldaps://127.0.0.1:{at['ldaps']}"}
    with open(f"{folder}/env.json.new", "w", encoding="ascii") as f:
        json.dump(env, f)
    os.rename(f"{folder}/env.json.new", f"{folder}/env.json")
    ended = asyncio.Event()
    if pidfd is not None:
        asyncio.get_running_loop().add_reader(pidfd, ended.set)
    await ended.wait()
    os.unlink(f"{folder}/pids/relay")
    os.execv("/bin/bash", ["bash", os.path.join(HOME, "down"), folder])


asyncio.run(main())
