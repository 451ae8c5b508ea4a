#!/usr/bin/env python3
"""Prints User-Agents with their forms, one of each device, of a collection that is no part of this project:

    git clone https://github.com/matomo-org/device-detector           # LGPL-3.0; fixtures of tests are in Tests/fixtures
    set-aside.py device-detector [--seen] | cargo run --example classify

Half of the strings, picked by the hash of each, were set aside before any word of the policy was chosen after them: these
are printed. `--seen` prints the other half, which is the one to look at."""

import hashlib, sys
from pathlib import Path

import yaml

FORMS = {"smartphone": "mobile", "phablet": "mobile", "feature phone": "mobile", "tablet": "tablet", "desktop": "desktop"}


def rows(folder):
    """Form, string, and what makes it one device."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for file in sorted((folder / "Tests/fixtures").glob("*.yml")):
        for row in yaml.load(file.read_text(), Loader=loader) if "clienthints" not in file.name else ():
            agent, device = row.get("user_agent"), row.get("device") or {}
            part = lambda key: (row.get(key) or {}).get("name") if isinstance(row.get(key), dict) else None
            if agent and row.get("bot"):
                yield "bot", agent, part("bot")
            elif agent and device.get("type") in FORMS:
                form = FORMS[device["type"]]
                # Computers have no models: a browser on a system is one.
                more = (part("os"), part("client")) if form == "desktop" else ()
                yield form, agent, (device.get("brand"), device.get("model"), *more)


told, seen = set(), "--seen" in sys.argv
for form, agent, device in rows(Path(sys.argv[1])):
    if (form, device) not in told:
        told.add((form, device))
        if (int(hashlib.sha256(agent.encode()).hexdigest(), 16) % 2 == 0) == seen:
            print(form, agent.replace("\n", " "), sep="\t")
