"""Mail programs' libraries at a door: imaplib and poplib, over STARTTLS and TLS.

libraries.py CA IMAP IMAPS POP3 NODE USER PASSWORD...   ports; for each user: login, a message in and out, logout
"""
import imaplib
import poplib
import ssl
import sys

ca, imap_port, imaps_port, pop3_port, node, *people = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca)
MESSAGE = b"Subject: through the door\r\n\r\n" + b"a line of the message\r\n" * 5000


def check_wrong(mail, user):
    try:
        # imaplib quotes passwords only.
        mail._encoding = "utf-8"
        mail.login(mail._quote(user), "certainly not")
    except imaplib.IMAP4.error as error:
        assert "AUTHENTICATIONFAILED" in str(error), error
        return
    raise SystemExit(f"{user}: a wrong password lets in")


def imap(user, password, secure):
    if secure:
        mail = imaplib.IMAP4_SSL("localhost", int(imaps_port), ssl_context=tls, timeout=60)
    else:
        mail = imaplib.IMAP4("localhost", int(imap_port), timeout=60)
        assert "LOGINDISABLED" in mail.capabilities, mail.capabilities
        mail.starttls(tls)
    assert "AUTH=PLAIN" in mail.capabilities and "STARTTLS" not in mail.capabilities, mail.capabilities
    if user == people[0]:
        check_wrong(mail, user)
    mail.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
    mail.select("INBOX")
    mail.append("INBOX", None, None, MESSAGE)
    status, found = mail.search(None, "ALL")
    last = found[0].split()[-1]
    status, parts = mail.fetch(last, "(BODY[])")
    assert parts[0][1] == MESSAGE, f"{user}: {len(parts[0][1])} bytes instead of {len(MESSAGE)}"
    mail.logout()


def pop3(user, password):
    mail = poplib.POP3("localhost", int(pop3_port), timeout=60)
    mail.stls(tls)
    mail.user(user)
    mail.pass_(password)
    count, _ = mail.stat()
    assert count >= 2, count
    body = b"\r\n".join(mail.retr(count)[1]) + b"\r\n"
    assert body == MESSAGE, f"{user}: {len(body)} bytes instead of {len(MESSAGE)}"
    mail.quit()


for user, password in zip(people[::2], people[1::2]):
    imap(user, password, secure=False)
    imap(user, password, secure=True)
    pop3(user, password)
    print(f"{user} at {node}: good")
