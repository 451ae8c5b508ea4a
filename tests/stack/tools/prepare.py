#!/usr/bin/env python3
"""Fills the folder RS_DIR: configuration, directory data, mailboxes, env files.

Run by up, which gives the settings on standard input (KEY=VALUE, quoted
for a shell).
"""
import base64
import datetime
import email.message
import email.utils
import hashlib
import json
import os
import pathlib
import pwd
import re
import shlex
import shutil
import sys

import cyrus

S = {}
for word in shlex.split(sys.stdin.read()):
    k, _, v = word.partition("=")
    S[k] = v
HOME = pathlib.Path(S["RS_HOME"])
DIR = pathlib.Path(S["RS_DIR"])
USERS = json.loads((HOME / "data/users.json").read_text(encoding="utf-8"))
BASE = "dc=example,dc=test"


def render(src, dst, **more):
    values = {**S, **more}

    def one(m):
        if m[1] not in values:
            sys.exit(f"{src}: no value for {m[0]}")
        return values[m[1]]
    text = (HOME / src).read_text(encoding="utf-8")
    dst.parent.mkdir(parents=True, exist_ok=True)
    dst.write_text(re.sub(r"@(RS_[A-Z0-9_]+)@", one, text), encoding="utf-8")


def lower(s):  # as Dovecot's %L: ASCII only
    return "".join(c.lower() if c.isascii() else c for c in s)


def message(u, node, subject, body, day, attach=0):
    m = email.message.EmailMessage()
    n = f"node-{node.lower()}.example.test"
    m["Date"] = email.utils.format_datetime(day)
    m["From"] = f"Node {node} <postmaster@{n}>"
    m["To"] = u["mail"]
    m["Subject"] = subject
    m["Message-ID"] = f"<{hashlib.sha256((u['uid'] + subject).encode()).hexdigest()[:16]}@{n}>"
    m.set_content(body)
    if attach:
        block = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(1024))
        m.add_attachment((block * (attach // len(block) + 1))[:attach], maintype="application",
                         subtype="octet-stream", filename="large.bin")
    return m.as_bytes()


def mailboxes(node, uid, gid):
    root = DIR / f"imap-{node.lower()}" / "mail"
    day = datetime.datetime(2026, 1, 15, 12, 0, tzinfo=datetime.timezone.utc)
    for u in USERS:
        box = root / lower(u["uid"])
        for d in ("cur", "new", "tmp"):
            (box / d).mkdir(parents=True)
        mails = []
        if u["uid"] == "heavy":
            for i in range(1, 60):
                mails.append((f"Filler {i} of 59", "Filler.\n", 0))
            mails.append(("Large attachment", "3 MiB attached.\n", 3 << 20))
        mails.append((f"You are on node {node}",
                      f"Hello {u['cn']},\n\nyou are on node {node}.\nUser: {u['uid']}\n", 0))
        for i, (subject, body, attach) in enumerate(mails):
            when = day + datetime.timedelta(minutes=i)
            f = box / "new" / f"{int(when.timestamp())}.M{i}P1.node-{node.lower()}"
            f.write_bytes(message(u, node, subject, body, when, attach))
            os.utime(f, (when.timestamp(), when.timestamp()))
    for path, _, files in os.walk(root):
        os.chown(path, uid, gid)
        for f in files:
            os.chown(os.path.join(path, f), uid, gid)


def accepts(node, u):
    if u["status"] != "active" or u["scheme"] == "none":
        return False
    return S["RS_STRICT_NODES"] == "0" or u["node"] in (node, None)


def passwd_file(node):
    lines, seen = [], set()
    for u in USERS:
        if not accepts(node, u):
            continue
        for name in (u["uid"], u["mail"]):
            key = lower(name)
            if key not in seen:
                seen.add(key)
                # Dovecot escapes the name that it looks up, and only that
                escaped = re.sub(r"""([\\"'])""", r"\\\1", key)
                lines.append(f"{escaped}:{{PLAIN}}{u['password']}::::::user={u['uid']}\n")
    return "".join(lines)


def nodes():
    mail = pwd.getpwnam("mail")
    www = pwd.getpwnam("www-data")
    for node in "AB":
        lc = node.lower()
        imap, web = DIR / f"imap-{lc}", DIR / f"web-{lc}"
        v = {"RS_NODE": node, "RS_NODE_LC": lc}
        for k in ("IMAP", "IMAPS", "POP3", "SIEVE", "SUBMISSION", "HTTP", "HTTPS", "HTTPS_EXPIRED", "HTTPS_WRONGNAME", "HTTPS_ROGUE"):
            v[f"RS_{k}_PORT"] = S[f"RS_{k}_{node}_PORT"]
        v["RS_NODE_ADDR"] = S[f"RS_NODE_{node}_ADDR"]
        v["RS_DES_KEY"] = base64.b64encode(hashlib.sha256(lc.encode()).digest()).decode()[:24]
        v["RS_NODE_FILTER"] = "" if S["RS_STRICT_NODES"] == "0" else \
            f"(|(mailHost=node-{lc}.example.test)(!(mailHost=*)))"
        if S["RS_IMAP_AUTH"] == "ldap":
            v["RS_PASSDB_DRIVER"], v["RS_PASSDB_ARGS"] = "ldap", str(imap / "dovecot-ldap.conf.ext")
        elif S["RS_IMAP_AUTH"] == "static":
            v["RS_PASSDB_DRIVER"], v["RS_PASSDB_ARGS"] = "passwd-file", str(imap / "passwd")
        else:
            sys.exit("RS_IMAP_AUTH: ldap or static")
        (imap / "run").mkdir(parents=True)
        render("conf/dovecot.conf.in", imap / "dovecot.conf", **v)
        render("conf/dovecot-ldap.conf.ext.in", imap / "dovecot-ldap.conf.ext", **v)
        (imap / "passwd").write_text(passwd_file(node), encoding="utf-8")
        mailboxes(node, mail.pw_uid, mail.pw_gid)
        render("conf/roundcube.config.inc.php.in", web / "config" / "config.inc.php", **v)
        for f in ("defaults.inc.php", "mimetypes.php"):
            (web / "config" / f).symlink_to("/etc/roundcube/" + f)
        render("conf/php-fpm.conf.in", web / "php-fpm.conf", **v)
        render("conf/nginx.conf.in", web / "nginx.conf", **v)
        render("conf/site.conf.in", web / "site.conf", **v)
        (web / "sites").mkdir()
        (web / "temp").mkdir()
        (web / "nginx").mkdir()
        logs = DIR / "log" / f"roundcube-{lc}"
        logs.mkdir()
        for d in (web, web / "temp", web / "nginx", logs):
            os.chown(d, www.pw_uid, www.pw_gid)


def directory():
    allow = "allow bind_anon_dn" if S["RS_LDAP_EMPTY_BIND"] == "allow" else "# binds with a DN and no password fail"
    for n, kind in (("ldap1", "provider"), ("ldap2", "replica")):
        d = DIR / n
        render(f"conf/slapd-{kind}.conf.in", d / "slapd.conf", RS_LDAP_ALLOW_LINE=allow)
        for f in ("access.conf", "access-db.conf", "realstack.schema"):
            shutil.copy(HOME / "conf" / f, d / f)
    render("data/people.ldif.in", DIR / "people.ldif")
    base = (HOME / "data/base.ldif").read_text(encoding="utf-8")
    (DIR / "ldap1/data.ldif").write_text(base + "\n" + (DIR / "people.ldif").read_text(encoding="utf-8"),
                                         encoding="utf-8")


def sogo():
    """Where SOGo finds its users. Its packages may be missing: then there is nothing to prepare."""
    try:
        owner = pwd.getpwnam("sogo")
    except KeyError:
        return
    folder = DIR / "sogo"
    render("conf/sogo-sources.plist.in", folder / "sources.plist")
    os.chown(folder, owner.pw_uid, owner.pw_gid)


def horde():
    """Settings of Horde, which is copied when it is started for the first time."""
    render("conf/horde/nginx.conf.in", DIR / "web-a/sites/horde.conf")
    for f in ("site.conf", "php-fpm.conf", "conf.local.php", "registry.local.php", "backends.local.php"):
        render(f"conf/horde/{f}.in", DIR / "horde" / f)


def postfix():
    """A submission server in front of node A's accounts. All messages of the domain end in one folder."""
    mail = pwd.getpwnam("mail")
    for f in ("main.cf", "master.cf"):
        render(f"conf/postfix/{f}.in", DIR / "postfix" / f, RS_MAIL_UID=str(mail.pw_uid), RS_MAIL_GID=str(mail.pw_gid))
    folder = DIR / "postfix/mail"
    folder.mkdir()
    os.chown(folder, mail.pw_uid, mail.pw_gid)


def owner_of(path, user, group):
    for folder, _, files in os.walk(path):
        shutil.chown(folder, user, group)
        for f in files:
            shutil.chown(os.path.join(folder, f), user, group)


def cyrus_and_radicale():
    """Servers of JMAP and DAV. Radicale's event is the one that Cyrus gets."""
    for f in ("imapd.conf", "cyrus.conf"):
        render(f"conf/cyrus/{f}.in", DIR / "cyrus" / f)
    folder = DIR / "radicale"
    render("conf/radicale/config.in", folder / "config")
    people = list(cyrus.users({"users_file": HOME / "data/users.json"}))
    (folder / "users").write_text("".join(f"{name}:{password}\n" for name, password in people), encoding="utf-8")
    for name, _ in people:
        calendar = folder / "collections/collection-root" / name / "calendar"
        calendar.mkdir(parents=True)
        (calendar / ".Radicale.props").write_text('{"tag": "VCALENDAR"}', encoding="utf-8")
        (calendar / "hello.ics").write_bytes(cyrus.event(name).encode())


def sqwebmail():
    """Courier's folders, and the mail of node A. The packages may be missing: then there is nothing to prepare."""
    try:
        owner = pwd.getpwnam("courier")
    except KeyError:
        return
    folder = DIR / "sqwebmail"
    render("conf/sqwebmail/lighttpd.conf.in", folder / "lighttpd.conf")
    (folder / "run/authdaemon").mkdir(parents=True)
    (folder / "cache").mkdir()
    shutil.copytree("/etc/courier", folder / "etc")
    for name, line in (("authdaemonrc", 'authmodulelist="authuserdb"\ndaemons=2\n'),
                       # As much as the tests send, where the default is 2 MB.
                       ("sqwebmaild", "SQWEBMAIL_MAXMSGSIZE=20000000\nSQWEBMAIL_MAXATTSIZE=20000000\n"
                                      "SQWEBMAIL_MAXARGSIZE=20000000\n")):
        with open(folder / "etc" / name, "a", encoding="utf-8") as f:
            f.write(line)
    lines = []
    for name, password in cyrus.users({"users_file": HOME / "data/users.json"}):
        home = folder / "mail" / name
        shutil.copytree(DIR / "imap-a/mail" / lower(name), home / "Maildir")
        digest = "{SHA}" + base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
        lines.append(f"{name}\tuid={owner.pw_uid}|gid={owner.pw_gid}|home={home}|mail={home}/Maildir|systempw={digest}\n")
    (folder / "etc/userdb").write_text("".join(lines), encoding="utf-8")
    (folder / "etc/userdb").chmod(0o600)
    for path in ("mail", "run", "cache"):
        owner_of(folder / path, "courier", "courier")


def environment():
    at = "127.0.0.1:"
    env = {
        "dir": S["RS_DIR"],
        "ca_file": S["RS_DIR"] + "/tls/ca.pem",
        "rogue_ca_file": S["RS_DIR"] + "/tls/rogue-ca.pem",
        "server_cert_file": S["RS_DIR"] + "/tls/server.pem",
        "server_key_file": S["RS_DIR"] + "/tls/server.key",
        "ldap": {
            "base_dn": BASE,
            "people_dn": "ou=people," + BASE,
            "primary": {"ldap": "ldap://" + at + S["RS_LDAP1_PORT"], "ldaps": "ldaps://" + at + S["RS_LDAPS1_PORT"]},
            "replica": {"ldap": "ldap://" + at + S["RS_LDAP2_PORT"], "ldaps": "ldaps://" + at + S["RS_LDAPS2_PORT"]},
            "bind_dn": "cn=proxy,ou=services," + BASE,
            "bind_password": "proxy-secret",
            "pwreader_dn": "cn=pwreader,ou=services," + BASE,
            "pwreader_password": "pwreader-secret",
            "admin_dn": "cn=admin," + BASE,
            "admin_password": "admin-secret",
            "empty_bind": S["RS_LDAP_EMPTY_BIND"],
        },
        "strict_nodes": S["RS_STRICT_NODES"] != "0",
        "nodes": {},
        "sogo": "http://" + at + S["RS_SOGO_PORT"] + "/",
        "horde": "http://" + at + S["RS_HORDE_PORT"] + "/",
        "horde_subpath": "http://" + at + S["RS_HORDE_SUB_PORT"] + "/horde/",
        "cyrus": "http://" + at + S["RS_CYRUS_PORT"] + "/",
        "sqwebmail": "http://" + at + S["RS_SQWEBMAIL_PORT"] + "/",
        "postfix": at + S["RS_POSTFIX_PORT"],
        "postfix_tls": at + S["RS_POSTFIX_TLS_PORT"],
        "radicale": "http://" + at + S["RS_RADICALE_PORT"] + "/",
        "users_file": str(HOME / "data/users.json"),
    }
    for n in "AB":
        env["nodes"][n] = {
            "mail_host": f"node-{n.lower()}.example.test",
            "address": S[f"RS_NODE_{n}_ADDR"],
            "http": "http://" + at + S[f"RS_HTTP_{n}_PORT"] + "/",
            "http_subpath": "http://" + at + S[f"RS_HTTP_{n}_PORT"] + "/roundcube/",
            "http_subpath_hidden": "http://" + at + S[f"RS_HTTP_{n}_PORT"] + "/hidden/roundcube/",
            "http_by_address": f"http://{S[f'RS_NODE_{n}_ADDR']}:{S['RS_NODE_PORT']}/",
            "https": "https://" + at + S[f"RS_HTTPS_{n}_PORT"] + "/",
            "https_expired": "https://" + at + S[f"RS_HTTPS_EXPIRED_{n}_PORT"] + "/",
            "https_wrongname": "https://" + at + S[f"RS_HTTPS_WRONGNAME_{n}_PORT"] + "/",
            "https_rogue": "https://" + at + S[f"RS_HTTPS_ROGUE_{n}_PORT"] + "/",
            "imap": at + S[f"RS_IMAP_{n}_PORT"],
            "imaps": at + S[f"RS_IMAPS_{n}_PORT"],
            "pop3": at + S[f"RS_POP3_{n}_PORT"],
            "sieve": at + S[f"RS_SIEVE_{n}_PORT"],
            "submission": at + S[f"RS_SUBMISSION_{n}_PORT"],
            "access_log": f"{S['RS_DIR']}/log/nginx-{n.lower()}.access.log",
        }
    (DIR / "env.json").write_text(json.dumps(env, indent=1) + "\n", encoding="utf-8")
    flat = []

    def walk(prefix, v):
        if isinstance(v, dict):
            for k, w in v.items():
                walk(prefix + "_" + k.upper(), w)
        else:
            flat.append(f"export {prefix}={shlex.quote(v if isinstance(v, str) else str(int(v)))}\n")
    walk("STACK", env)
    (DIR / "env.sh").write_text("".join(flat), encoding="utf-8")


directory()
nodes()
sogo()
horde()
cyrus_and_radicale()
sqwebmail()
postfix()
environment()
