#!/usr/bin/env python3
"""Fills the Cyrus of the stack.

cyrus.py passwords DIR                writes the passwords of its users
cyrus.py password DIR USER PASSWORD   gives one another
cyrus.py fill DIR                     waits until it answers, and puts the messages of node A and an event into it
"""
import base64
import http.client
import json
import pathlib
import smtplib
import subprocess
import sys
import time

REALM = "cyrus.example.test"


# Who is in it: the users of the tests of webmails.
USERS = ("alice", "carol", "erin", "grace")


def users(env):
    with open(env["users_file"], encoding="utf-8") as f:
        for user in json.load(f):
            if user["uid"] in USERS:
                yield user["uid"], user["password"]


def password(env, name, new):
    subprocess.run(["saslpasswd2", "-p", "-c", "-f", env["dir"] + "/cyrus/sasldb2", "-u", REALM, name],
                   input=new.encode(), check=True)


def passwords(env):
    for name, its in users(env):
        password(env, name, its)


def event(name):
    return "\r\n".join([
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//doorward//tests//EN", "BEGIN:VEVENT", "UID:hello@example.test",
        "DTSTAMP:20260115T120000Z", "DTSTART:20260115T120000Z", "DTEND:20260115T130000Z",
        "SUMMARY:You are on node A", f"DESCRIPTION:User: {name}", "END:VEVENT", "END:VCALENDAR", ""])


def mail(env):
    while True:
        try:
            lmtp = smtplib.LMTP(env["dir"] + "/cyrus/run/lmtp")
            break
        except (OSError, smtplib.SMTPException):
            time.sleep(0.05)
    for name, _ in users(env):
        for path in (pathlib.Path(env["dir"]) / "imap-a/mail" / name).glob("*/*"):
            if path.is_file() and path.parent.name in ("new", "cur"):
                lmtp.sendmail("postmaster@example.test", [name], path.read_bytes())
    lmtp.quit()


def calendars(env):
    for name, its in users(env):
        basic = base64.b64encode(f"{name}:{its}".encode()).decode()
        web = http.client.HTTPConnection(env["cyrus"].split("//")[1].strip("/"), timeout=60)
        web.request("PUT", f"/dav/calendars/user/{name}/Default/hello.ics", event(name),
                    {"Authorization": "Basic " + basic, "Content-Type": "text/calendar"})
        answer = web.getresponse()
        if answer.status != 201:
            sys.exit(f"cyrus.py: an event of {name}: {answer.status} {answer.read()!r}")


def fill(env):
    mail(env)
    calendars(env)
    open(env["dir"] + "/cyrus/filled", "w", encoding="ascii").close()


def main():
    with open(sys.argv[2] + "/env.json", encoding="utf-8") as f:
        env = json.load(f)
    {"passwords": passwords, "password": password, "fill": fill}[sys.argv[1]](env, *sys.argv[3:])


if __name__ == "__main__":
    main()
