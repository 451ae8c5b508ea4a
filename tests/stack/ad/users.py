#!/usr/bin/env python3
"""Makes the users of the domain whose files are in the folder given.

One process: samba-tool needs a second for each of its commands.
"""
import sys

import samba.getopt  # noqa: F401  (sets up the library)
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

folder = sys.argv[1]
lp = LoadParm()
lp.load(f"{folder}/etc/smb.conf")
db = SamDB(f"{folder}/private/sam.ldb", session_info=system_session(), lp=lp)
DN = "DC=example,DC=test"


def user(name, password, **more):
    db.newuser(name, password, physicaldeliveryoffice="node-a", mailaddress=f"{name}@example.test", **more)


user("alice", "Alice-secret1")
# Who may search and nothing else: a plain user.
db.newuser("doorward", "Doorward-secret1")
user("expired", "User-secret1")
db.setexpiry("(sAMAccountName=expired)", 0)
user("must", "User-secret1", force_password_change_at_next_login_req=True)
user("disabled", "User-secret1")
db.disable_account("(sAMAccountName=disabled)")
user("locked", "User-secret1")
user("not-now", "User-secret1")
# Not at any hour of the week.
db.modify_ldif(f"dn: CN=not-now,CN=Users,{DN}\nchangetype: modify\nreplace: logonHours\nlogonHours:: {'A' * 28}\n")
user("old", "User-secret1")
# A password of 1970, in a domain where each is good for 42 days. Samba takes such a time from itself only.
BYPASS_LAST_SET = "local_oid:1.3.6.1.4.1.7165.4.3.20:0"
db.modify_ldif(f"dn: CN=old,CN=Users,{DN}\nchangetype: modify\nreplace: pwdLastSet\npwdLastSet: 116444736000000000\n",
               controls=[BYPASS_LAST_SET])
db.modify_ldif(f"dn: {DN}\nchangetype: modify\nreplace: lockoutThreshold\nlockoutThreshold: 3\n")
