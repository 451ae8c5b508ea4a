#!/usr/bin/env python3
"""Writes data/users.json and data/people.ldif.in from the table below.

Only for changing the test accounts: both files are kept with the scripts.
Needs the openssl command (for {CRYPT} sha512). Salts are derived from the
uid, so that running it again changes nothing.
"""
import base64
import hashlib
import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent.parent
BASE = "dc=example,dc=test"
PEOPLE = "ou=people," + BASE
BRANCH = "ou=branch," + PEOPLE


def user(uid, cn, node, scheme, password=None, **kw):
    u = {"uid": uid, "cn": cn, "mail": kw.pop("mail", uid + "@example.test"),
         "password": password if password is not None else uid + "-secret",
         "scheme": scheme, "node": node, "status": "active", "ou": PEOPLE,
         "rdn": "uid", "aliases": [], "note": ""}
    unknown = set(kw) - set(u)
    assert not unknown, unknown
    u.update(kw)
    return u


USERS = [
    user("alice", "Alice Smith", "A", "ssha", aliases=["alice.smith@example.test"]),
    user("bob", "Bob Brown", "B", "clear", aliases=["bob.brown@example.test"]),
    user("carol", "Carol Jones", "A", "crypt"),
    user("dave", "Dave Miller", "B", "ssha"),
    user("erin", "Erin Davis", "A", "clear"),
    user("frank", "Frank Wilson", "B", "crypt"),
    user("grace", "Grace Moore", "A", "ssha"),
    user("heidi", "Heidi Taylor", "B", "clear"),
    user("ivan", "Ivan Thomas", "A", "crypt"),
    user("judy", "Judy White", "B", "ssha"),
    user("karl", "Karl Harris", "A", "clear"),
    user("laura", "Laura Martin", "B", "crypt"),
    user("mallory", "Mallory Clark", "A", "ssha"),
    user("niaj", "Niaj Lewis", "B", "clear"),
    user("olivia", "Olivia Walker", "A", "crypt"),
    user("peggy", "Peggy Olsen", "B", "ssha", ou=BRANCH, rdn="cn",
         note="one level deeper, and the RDN is cn: the DN cannot be made from the uid"),
    user("quentin", "Quentin Hall", "A", "clear", ou=BRANCH, note="one level deeper"),
    user("rupert", "Rupert Young", "B", "crypt"),
    user("sybil", "Sybil King", "A", "ssha"),
    user("trent", "Trent Wright", "B", "clear"),
    user("heavy", "Heavy Mailbox", "B", "ssha",
         note="60 messages, and one with a 3 MiB attachment"),
    user("pwchars", "Pass Chars", "A", "clear", "p%C3 a+b&c=d;\"e'<f>\\gü€#?",
         note="a password of characters that forms, HTML, JSON and URLs must encode"),
    user("MixedCase", "Mixed Case", "A", "ssha", mail="mixedcase@example.test",
         note="capitals in the uid; matching in the directory ignores case"),
    user("info@other.test", "Info Other", "B", "clear", mail="info@other.test",
         note="the uid itself has an @ and another domain"),
    user("paren(the)sis", "Paren (The) Sis", "A", "ssha", mail="paren@example.test",
         note="parentheses: must be escaped in a search filter"),
    user("star*user", "Star * User", "B", "clear", mail="star@example.test",
         note="asterisk: an unescaped (uid=star*user) also finds starXuser"),
    user("starXuser", "Star X User", "A", "clear", mail="starx@example.test",
         note="what an unescaped (uid=star*user) also finds"),
    user("comma,user", "User, Comma", "A", "crypt", mail="comma@example.test",
         note="comma: escaped in the DN"),
    user("zo\u00eb", "Zo\u00eb \u00d6zt\u00fcrk", "B", "ssha", mail="zoe@example.test",
         note="UTF-8"),
    user("m(i*x),\\\u00f6\"+", "Mix (*), \\ \u00f6 \" +", "A", "clear", "mix-secret",
         mail="mix@example.test", note="all of them together, with a backslash, a quote and a plus"),
    user("nohost", "No Host", None, "ssha",
         note="right password, but no mailHost: both nodes accept it"),
    user("badhost", "Bad Host", "Z", "clear",
         note="mailHost names a node that does not exist: no node accepts it"),
    user("disabled", "Disabled User", "A", "ssha", status="disabled",
         note="accountStatus: disabled. The directory's bind succeeds; both nodes refuse it"),
    user("locked", "Locked User", "B", "clear", status="locked",
         note="locked by the directory's password policy: bind with the right password fails (49)"),
    user("nopass", "No Password", "A", "none", "",
         note="no userPassword at all: bind with any password fails"),
    user("twin1", "Twin One", "A", "clear", mail="twin@example.test",
         note="shares its mail value with twin2: a search by mail finds two entries"),
    user("twin2", "Twin Two", "B", "clear", mail="twin@example.test",
         note="shares its mail value with twin1"),
]


def secret(u):
    salt = hashlib.sha256(b"salt:" + u["uid"].encode()).digest()
    pw = u["password"].encode()
    if u["scheme"] == "none":
        return None
    if u["scheme"] == "clear":
        return u["password"]
    if u["scheme"] == "ssha":
        s = salt[:8]
        return "{SSHA}" + base64.b64encode(hashlib.sha1(pw + s).digest() + s).decode()
    if u["scheme"] == "crypt":
        s = base64.b64encode(salt, b"./").decode()[:12]
        h = subprocess.run(["openssl", "passwd", "-6", "-salt", s, "-stdin"],
                           input=pw + b"\n", capture_output=True, check=True)
        return "{CRYPT}" + h.stdout.decode().strip()
    raise ValueError(u["scheme"])


def rdn_escape(v):
    out = ""
    for i, c in enumerate(v):
        if c in ',\\"+<>;=' or (i == 0 and c in "# ") or (i == len(v) - 1 and c == " "):
            out += "\\" + c
        else:
            out += c
    return out


def line(attr, value):
    plain = value.isascii() and value.isprintable() and value[:1] not in " :<" and value[-1:] != " "
    return f"{attr}: {value}" if plain else f"{attr}:: {base64.b64encode(value.encode()).decode()}"


def entry(u):
    u["dn"] = f'{u["rdn"]}={rdn_escape(u[u["rdn"]])},{u["ou"]}'
    out = [line("dn", u["dn"])]
    out += [f"objectClass: {c}" for c in ("inetOrgPerson", "inetLocalMailRecipient", "testMailAccount")]
    out += [line("uid", u["uid"]), line("cn", u["cn"]), line("sn", u["cn"].split()[-1]), line("mail", u["mail"])]
    for a in [u["mail"]] + u["aliases"]:
        out.append(line("mailLocalAddress", a))
    n = u["node"]
    if n:
        out.append(f"mailHost: node-{n.lower()}.example.test")
    if n in ("A", "B"):
        out.append(f"mailHostAddress: @RS_NODE_{n}_ADDR@")
        out.append(f"labeledURI: http://127.0.0.1:@RS_HTTP_{n}_PORT@/ webmail")
    out.append("accountStatus: " + ("disabled" if u["status"] == "disabled" else "active"))
    pw = secret(u)
    if pw is not None:
        out.append(line("userPassword", pw))
    if u["status"] == "locked":
        out += [f"pwdPolicySubentry: cn=lockable,ou=policies,{BASE}", "pwdAccountLockedTime: 000001010000Z"]
    return "\n".join(out) + "\n"


def main():
    ldif = "\n".join(["# Made by tools/mkdata.py. @NAME@ is filled in by up.\n"] + [entry(u) for u in USERS])
    (HERE / "data/people.ldif.in").write_text(ldif, encoding="utf-8")
    keep = ("uid", "dn", "cn", "mail", "aliases", "password", "scheme", "node", "status", "note")
    rows = [{k: u[k] for k in keep} for u in USERS]
    text = "[\n" + ",\n".join(" " + json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n"
    (HERE / "data/users.json").write_text(text, encoding="utf-8")
    print(len(USERS), "users")


main()
