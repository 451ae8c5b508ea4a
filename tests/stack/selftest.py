#!/usr/bin/env python3
"""Checks a running real stack: directory, replica, TLS, IMAP, webmail of both nodes.

  up && selftest.py [--quick] [--env FILE]

--quick logs in five users instead of all. The last line is 'N passed, N failed'.
"""
import argparse
import concurrent.futures
import imaplib
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
count = {True: 0, False: 0}


def expect(ok, what, detail=""):
    count[bool(ok)] += 1
    print(("ok   " if ok else "FAIL ") + what + (f": {detail}" if detail and not ok else ""))


def ldap(tool, url, *args, dn="", pw="", ca=None, tls=False, stdin=None):
    cmd = [tool, "-x", "-o", "nettimeout=5", "-H", url]
    if tool == "ldapsearch":
        cmd += ["-LLL", "-o", "ldif_wrap=no"]
    if tls:
        cmd.append("-ZZ")
    if dn:
        cmd += ["-D", dn, "-w", pw]
    env = {k: v for k, v in os.environ.items() if k != "LDAPNOINIT"}
    env.update({"LDAPTLS_CACERT": ca or "/dev/null", "LDAPTLS_REQCERT": "demand"})
    r = subprocess.run(cmd + list(args), capture_output=True, text=True, env=env, input=stdin)
    return r.returncode, r.stdout, r.stderr


def entries(out):
    return out.count("dn: ") + out.count("dn:: ")


def directory(env, users):
    d = env["ldap"]
    proxy = {"dn": d["bind_dn"], "pw": d["bind_password"]}
    people = ("-b", d["people_dn"], "(objectClass=inetOrgPerson)")
    for name, at in (("provider", d["primary"]), ("replica", d["replica"])):
        url = at["ldap"]
        rc, out, err = ldap("ldapsearch", url, *people, **proxy)
        expect(rc == 0 and entries(out) == len(users), f"{name}: the proxy account finds {len(users)} people",
               f"rc {rc}, {entries(out)}; {err}")
        expect("userPassword" not in out, f"{name}: the proxy account does not see userPassword")
        rc, out, err = ldap("ldapsearch", url, *people, "userPassword", dn=d["pwreader_dn"], pw=d["pwreader_password"])
        kinds = out.count("userPassword:")
        expect(rc == 0 and kinds == len([u for u in users if u["scheme"] != "none"]),
               f"{name}: pwreader sees userPassword", f"rc {rc}, {kinds}")
        rc, out, err = ldap("ldapsearch", url, *people)
        expect(entries(out) == 0 and rc in (0, 32, 50), f"{name}: anonymous finds nobody", f"rc {rc}, {entries(out)}")
        alice = next(u for u in users if u["uid"] == "alice")
        rc, out, err = ldap("ldapsearch", url, *people, dn=alice["dn"], pw=alice["password"])
        expect(rc == 0 and entries(out) == 1, f"{name}: a person finds himself only", f"rc {rc}, {entries(out)}")
        bad = []
        for u in users:
            want = 0 if u["status"] != "locked" and u["scheme"] != "none" else 49
            rc = ldap("ldapwhoami", url, dn=u["dn"], pw=u["password"] or "anything")[0]
            if rc != want:
                bad.append(f"{u['uid']}: {rc}, not {want}")
        expect(not bad, f"{name}: {len(users)} binds with the right password (locked, nopass: 49)", "; ".join(bad))
        rc = ldap("ldapwhoami", url, dn=alice["dn"], pw="wrong")[0]
        expect(rc == 49, f"{name}: a wrong password is answered with 49", f"{rc}")
        rc, out, _ = ldap("ldapwhoami", url, dn=alice["dn"], pw="")
        want = (0, "anonymous") if d["empty_bind"] == "allow" else (53, "")
        expect((rc, out.strip()) == want, f"{name}: DN with empty password: {want}", f"rc {rc}, {out.strip()!r}")
        for flt, n in (("(mail=twin@example.test)", 2), ("(uid=star*user)", 2), (r"(uid=star\2auser)", 1), ("(uid=ALICE)", 1),
                       ("(mail=alice.smith@example.test)", 0), ("(mailLocalAddress=alice.smith@example.test)", 1),
                       ("(mailHost=node-z.example.test)", 1), ("(&(uid=nohost)(mailHost=*))", 0)):
            rc, out, _ = ldap("ldapsearch", url, "-b", d["people_dn"], flt, "uid", **proxy)
            expect(rc == 0 and entries(out) == n, f"{name}: {flt} finds {n}", f"rc {rc}, {entries(out)}")
        for kind, url2, tls in (("StartTLS", at["ldap"], True), ("LDAPS", at["ldaps"], False)):
            rc, _, err = ldap("ldapwhoami", url2, ca=env["ca_file"], tls=tls, **proxy)
            expect(rc == 0, f"{name}: {kind} with the test CA", err)
            rc, _, err = ldap("ldapwhoami", url2, ca=env["rogue_ca_file"], tls=tls, **proxy)
            expect(rc != 0, f"{name}: {kind} fails with another CA", f"rc {rc}")
    admin = {"dn": d["admin_dn"], "pw": d["admin_password"]}
    dn = "uid=karl," + d["people_dn"]

    def host(value, url):
        ldif = f"dn: {dn}\nchangetype: modify\nreplace: mailHost\nmailHost: {value}\n"
        return ldap("ldapmodify", url, stdin=ldif, **admin)

    def seen(value):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if value in ldap("ldapsearch", d["replica"]["ldap"], "-b", dn, "-s", "base", "mailHost", **proxy)[1]:
                return True
            time.sleep(0.02)
        return False
    rc, _, err = host("node-b.example.test", d["replica"]["ldap"])
    expect(rc == 10, "replica: a change is answered with a referral", f"rc {rc} {err}")
    rc, _, err = host("node-b.example.test", d["primary"]["ldap"])
    expect(rc == 0 and seen("node-b"), "a change on the provider reaches the replica", err)
    rc, _, err = host("node-a.example.test", d["primary"]["ldap"])
    expect(rc == 0 and seen("node-a"), "and back", err)


def login(env, user, node, *more, base=None, ok=True, quick=True):
    n = env["nodes"][node]
    cmd = [sys.executable, str(HERE / "check.py"), "--quiet", "--base", base or n["http"], "--user", user["uid"],
           "--password", user["password"] or "anything", *more]
    cmd += ["--expect-node", node] if ok else ["--expect", "fail", "--kept"]
    if quick and ok:
        cmd.append("--quick")
    r = subprocess.run(cmd, capture_output=True, text=True)
    return r.returncode == 0, (r.stdout + r.stderr).strip().replace("\n", " | ")


def webmail(env, users, quick):
    by = {u["uid"]: u for u in users}
    for n in "AB":
        host, port = env["nodes"][n]["imap"].split(":")
        m = imaplib.IMAP4(host, int(port))
        u = by["alice" if n == "A" else "bob"]
        m.login(u["uid"], u["password"])
        m.select("INBOX", readonly=True)
        subject = m.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1]
        expect(f"You are on node {n}".encode() in subject, f"IMAP of node {n}", repr(subject))
        m.logout()
    names = ["alice", "bob", "pwchars", "zo\u00eb", "m(i*x),\\\u00f6\"+"] if quick else list(by)
    jobs = []
    for name in names:
        u = by[name]
        fine = u["status"] == "active" and u["scheme"] != "none" and (
            u["node"] in ("A", "B", None) or not env["strict_nodes"])
        jobs.append((f"Roundcube: {name} " + ("logs in" if fine else "is refused"), u, u["node"] if u["node"] in ("A", "B") else "A",
                     {"ok": fine}, ()))
    jobs.append((f"Roundcube: bob on node A, strict nodes: {env['strict_nodes']}", by["bob"], "A",
                 {"ok": not env["strict_nodes"]}, ()))
    jobs.append(("Roundcube: wrong password", {**by["alice"], "password": "wrong-one"}, "A", {"ok": False}, ()))
    jobs.append(("Roundcube: everything as alice", by["alice"], "A", {"quick": False}, ()))
    jobs.append(("Roundcube: everything as heavy", by["heavy"], "B", {"quick": False}, ("--upload-kb", "4096")))
    jobs.append(("Roundcube: by the node's own address", by["bob"], "B", {"base": env["nodes"]["B"]["http_by_address"]}, ()))
    jobs.append(("Roundcube: at /roundcube/", by["bob"], "B", {"base": env["nodes"]["B"]["http_subpath"], "quick": False}, ()))
    for n, u in (("A", by["alice"]), ("B", by["bob"])):
        jobs.append((f"Roundcube: https of node {n}", u, n, {"base": env["nodes"][n]["https"], "quick": False},
                     ("--cafile", env["ca_file"])))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = [(what, pool.submit(login, env, u, n, *more, **kw)) for what, u, n, kw, more in jobs]
        for what, f in done:
            expect(f.result()[0], what, f.result()[1])
    for kind in ("expired", "wrongname", "rogue"):
        ok, out = login(env, by["alice"], "A", "--cafile", env["ca_file"], base=env["nodes"]["A"]["https_" + kind])
        expect(not ok and "CERTIFICATE_VERIFY_FAILED" in out, f"https_{kind} is refused by a client that verifies", out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--env", default=os.path.join(os.environ.get("RS_DIR") or
                                                 os.path.join(os.environ.get("TMPDIR", "/tmp"), "doorward-stack"), "env.json"))
    p.add_argument("--quick", action="store_true")
    a = p.parse_args()
    with open(a.env, encoding="utf-8") as f:
        env = json.load(f)
    with open(env["users_file"], encoding="utf-8") as f:
        users = json.load(f)
    directory(env, users)
    webmail(env, users, a.quick)
    print(f"{count[True]} passed, {count[False]} failed")
    return 1 if count[False] else 0


sys.exit(main())
