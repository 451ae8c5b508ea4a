"""Programs at the doors of ManageSieve and submission.

programs_others.py CA SIEVE SUBMISSION SUBMISSIONS NODE USER PASSWORD MAIL...   ports; a 0 for a door that is not tried

For each user: a script is stored, read back and removed; a message is sent by STARTTLS and by TLS, once by PLAIN and once by LOGIN.
"""
import base64
import smtplib
import socket
import ssl
import sys

ca, sieve_port, submission_port, submissions_port, node, *people = sys.argv[1:]
tls = ssl.create_default_context(cafile=ca)
SCRIPT = ('require "fileinto";\r\n# ' + "x" * 70 + "\r\n") * 200


class Sieve:
    """As much of RFC 5804 as an editor of scripts needs."""

    def __init__(self, port):
        self.socket = socket.create_connection(("localhost", int(port)), 60)
        self.file = self.socket.makefile("rwb")
        self.capabilities = self.answer()
        assert '"STARTTLS"' in self.capabilities and '"SASL" ""' in self.capabilities, self.capabilities
        self.command(b"STARTTLS")
        self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rwb")
        self.capabilities = self.answer()
        assert '"SASL" "PLAIN"' in self.capabilities, self.capabilities

    def answer(self):
        lines = []
        while True:
            line = self.file.readline()
            assert line.endswith(b"\r\n"), (line, lines)
            line = line[:-2]
            while line.endswith(b"}"):
                begin = line.rindex(b"{")
                line = line[:begin] + self.file.read(int(line[begin + 1:-1])) + self.file.readline()[:-2]
            lines.append(line.decode())
            if line.startswith((b"OK", b"NO", b"BYE")):
                return lines

    def command(self, line):
        self.file.write(line + b"\r\n")
        self.file.flush()
        lines = self.answer()
        return lines

    def log_in(self, user, password):
        response = base64.b64encode(f"\0{user}\0{password}".encode())
        return self.command(b'AUTHENTICATE "PLAIN" {%d+}\r\n%s' % (len(response), response))[-1]


def sieve(user, password):
    editor = Sieve(sieve_port)
    assert editor.log_in(user, "certainly not").startswith("NO "), "a wrong password lets in"
    assert editor.log_in(user, password).startswith("OK"), f"{user} is not let in"
    put = editor.command(b'PUTSCRIPT "mine" {%d+}\r\n%s' % (len(SCRIPT), SCRIPT.encode()))
    assert put[-1].startswith("OK"), put
    assert editor.command(b'GETSCRIPT "mine"')[0] == SCRIPT
    assert '"mine"' in editor.command(b"LISTSCRIPTS")
    assert editor.command(b'DELETESCRIPT "mine"')[-1].startswith("OK")
    assert editor.command(b"LOGOUT")[-1].startswith("OK")


def login(server, user, password):
    """smtplib encodes names and passwords in ASCII; others in UTF-8."""
    server.ehlo_or_helo_if_needed()
    assert server.has_extn("auth") and not server.has_extn("starttls"), server.esmtp_features
    server.user, server.password = user, password
    code, _ = server.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())
    return code


def send(server, user, mail, how):
    for number in range(2):
        subject = f"{user} at {node} by {how}, {number}".encode().hex()
        refused = server.sendmail(mail, [mail], f"Subject: {subject}\r\n\r\n" + "a line\r\n.\r\n" * 2000)
        assert not refused, refused
    server.quit()


def submission(user, password, mail):
    with smtplib.SMTP("localhost", int(submission_port), local_hostname="client.example.test", timeout=60,
                      source_address=("127.0.0.5", 0)) as server:
        server.ehlo()
        assert not server.has_extn("auth"), server.esmtp_features
        try:
            server.sendmail(mail, [mail], "x")
            raise SystemExit("nobody has logged in")
        except smtplib.SMTPSenderRefused as error:
            assert error.smtp_code == 530, error
        server.starttls(context=tls)
        assert login(server, user, "certainly not") == 535
        assert login(server, user, password) == 235, f"{user} is not let in"
        send(server, user, mail, "starttls")
    with smtplib.SMTP_SSL("localhost", int(submissions_port), local_hostname="client.example.test", context=tls,
                          timeout=60) as server:
        server.ehlo()
        server.docmd("AUTH", "LOGIN")
        server.docmd(base64.b64encode(user.encode()).decode())
        code, _ = server.docmd(base64.b64encode(password.encode()).decode())
        assert code == 235, f"{user} is not let in"
        send(server, user, mail, "tls")


for user, password, mail in zip(people[::3], people[1::3], people[2::3]):
    if sieve_port != "0":
        sieve(user, password)
    if submission_port != "0":
        submission(user, password, mail)
    print(f"{user} at {node}: good")
