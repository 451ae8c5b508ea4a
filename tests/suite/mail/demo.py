"""Python's imaplib and poplib at the demo's doors.

demo.py IMAP POP3 USER PASSWORD in|out...   ports; for each user: whether a login leads to a mailbox, which is read
"""
import imaplib
import poplib
import sys

imap_port, pop3_port, *people = sys.argv[1:]


def by_imap(user, password):
    mail = imaplib.IMAP4("localhost", int(imap_port), timeout=60)
    mail.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
    assert mail.status("INBOX", "(MESSAGES)")[1] == [b"INBOX (MESSAGES 6)"]
    mail.select("INBOX", readonly=True)
    numbers = mail.search(None, "ALL")[1][0].split()
    unseen = mail.search(None, "UNSEEN")[1][0].split()
    assert len(numbers) == 6 and 0 < len(unseen) < 6, (numbers, unseen)
    assert mail.store("1", "+FLAGS", "\\Deleted")[0] == "NO", "nothing changes a mailbox of the demo"
    messages = [mail.fetch(number, "(BODY[])")[1][0][1] for number in numbers]
    tag = mail._new_tag()
    mail.send(tag + b" IDLE\r\n")
    assert mail.readline().startswith(b"+ ")
    mail.send(b"DONE\r\n")
    assert mail.readline().startswith(tag + b" OK")
    mail.logout()
    return messages


def by_pop3(user, password):
    mail = poplib.POP3("localhost", int(pop3_port), timeout=60)
    mail.encoding = "utf-8"
    mail.user(user)
    mail.pass_(password)
    count, octets = mail.stat()
    messages = [b"\r\n".join(mail.retr(number + 1)[1]) + b"\r\n" for number in range(count)]
    assert octets == sum(map(len, messages)), (octets, [len(message) for message in messages])
    mail.quit()
    return messages


for user, password, expected in zip(people[::3], people[1::3], people[2::3]):
    try:
        messages = by_imap(user, password)
        found = "in"
    except imaplib.IMAP4.error:
        found = "out"
    assert found == expected, f"{user}: {found}"
    if found == "in":
        assert by_pop3(user, password) == messages, user
    print(user, found)
