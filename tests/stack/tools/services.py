#!/usr/bin/env python3
"""Small helpers of the scripts.

services.py wait DIR SECONDS [SERVICE...]
                              until every service (or those named) answers
services.py tree PID             the PID and those of all its descendants
"""
import http.client
import json
import os
import socket
import subprocess
import sys
import time


def ldap_search(url, env, base, scope, *args):
    cmd = ["ldapsearch", "-LLL", "-x", "-o", "ldif_wrap=no", "-o", "nettimeout=2", "-l", "3", "-H", url,
           "-D", env["ldap"]["admin_dn"], "-w", env["ldap"]["admin_password"], "-b", base, "-s", scope, *args]
    r = subprocess.run(cmd, capture_output=True, text=True, env={**os.environ, "LDAPNOINIT": "1"})
    return r.stdout if r.returncode == 0 else None


def csn(url, env):
    out = ldap_search(url, env, env["ldap"]["base_dn"], "base", "contextCSN")
    return sorted(x for x in (out or "").splitlines() if x.startswith("contextCSN:")) or None


def check(name, env, state):
    if name == "ldap1":
        state["csn"] = csn(env["ldap"]["primary"]["ldap"], env)
        return state["csn"] is not None
    if name == "ldap2":
        mine = csn(env["ldap"]["replica"]["ldap"], env)
        if state.get("alone"):
            return mine is not None
        return mine is not None and mine == (state.get("csn") or csn(env["ldap"]["primary"]["ldap"], env))
    if name == "db":
        port = setting("RS_DB_PORT", env)
        ready = ["/usr/lib/postgresql/15/bin/pg_isready", "-q", "-h", "127.0.0.1", "-p", port, "-U", "sogo"]
        return subprocess.run(ready).returncode == 0
    if name == "cache":
        with socket.socket(socket.AF_UNIX) as k:
            k.connect(env["dir"] + "/sogo/cache.sock")
        return True
    if name == "sogo":
        return answers(env["sogo"], "/SOGo/")
    if name == "horde":
        return answers(env["horde"], "/login.php")
    if name == "cyrus":
        if os.path.exists(env["dir"] + "/cyrus/filled"):
            return True
        with open(env["dir"] + "/pids/cyrus-fill", encoding="ascii") as f:
            if not alive(f.read().split()[0]) and not os.path.exists(env["dir"] + "/cyrus/filled"):
                sys.exit("stack: Cyrus cannot be filled: see log/cyrus-fill.out")
        return False
    if name in ("sqauth", "sqmail"):
        path = "/sqwebmail/run/" + ("authdaemon/socket" if name == "sqauth" else "sqwebmail.sock")
        with socket.socket(socket.AF_UNIX) as k:
            k.connect(env["dir"] + path)
        return True
    if name == "sqweb":
        return answers(env["sqwebmail"], "/sqwebmail/logo.png")
    if name == "postfix":
        host, port = env["postfix"].split(":")
        with socket.create_connection((host, int(port)), 2) as k:
            k.settimeout(5)
            return k.recv(200).startswith(b"220 ")
    if name == "radicale":
        return answers(env["radicale"], "/.web/")
    kind, node = name.split("-")
    node = env["nodes"][node.upper()]
    if kind == "imap":
        host, port = node["imap"].split(":")
        with socket.create_connection((host, int(port)), 2) as k:
            k.settimeout(5)
            return k.recv(200).startswith(b"* OK")
    return answers(node["http"], "/skins/elastic/images/logo.svg" if kind == "web" else "/")


def answers(url, path):
    host, port = url.split("//")[1].strip("/").split(":")
    c = http.client.HTTPConnection(host, int(port), timeout=10)
    c.request("GET", path)
    r = c.getresponse()
    r.read()
    return r.status == 200


def setting(name, env):
    with open(env["dir"] + "/settings", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split("=", 1) for line in f)[name]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def wait(folder, seconds, only):
    with open(os.path.join(folder, "env.json"), encoding="utf-8") as f:
        env = json.load(f)
    todo = list(only) or ["ldap1", "ldap2", "imap-a", "imap-b", "web-a", "web-b", "php-a", "php-b"]
    state = {"alone": bool(only) and "ldap1" not in only}
    end = time.monotonic() + seconds
    while todo:
        for name in list(todo):
            pid = open(os.path.join(folder, "pids", name), encoding="ascii").read().split()[0]
            if not alive(pid):
                print(f"stack: {name} has died", file=sys.stderr)
                return 1
            try:
                done = check(name, env, state)
            except (OSError, http.client.HTTPException):
                done = False
            if done:
                todo.remove(name)
        if todo and time.monotonic() > end:
            print(f"stack: no answer after {seconds} s from: {' '.join(todo)}", file=sys.stderr)
            return 1
        if todo:
            time.sleep(0.05)
    return 0


def tree(root):
    kids = {}
    for p in os.listdir("/proc"):
        if p.isdigit():
            try:
                stat = open(f"/proc/{p}/stat", encoding="utf-8", errors="replace").read()
            except OSError:
                continue
            kids.setdefault(stat.rpartition(")")[2].split()[1], []).append(p)
    todo = [root]
    while todo:
        p = todo.pop()
        print(p)
        todo += kids.get(p, [])
    return 0


def main():
    a = sys.argv[1:]
    if a[:1] == ["wait"]:
        return wait(a[1], float(a[2]), a[3:])
    if a[:1] == ["tree"]:
        return tree(a[1])
    print(__doc__, file=sys.stderr)
    return 2


sys.exit(main())
