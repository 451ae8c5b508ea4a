#!/usr/bin/env python3
"""Makes user-agents.tsv out of four npm packages, unpacked with `npm pack NAME@VERSION && tar xzf` into folders named
like the packages: select-user-agents.py FOLDER > user-agents.tsv

Every row is taken by its place in its source and never by its contents; `--rest` prints the rows not taken instead, which
are those to look at while improving the policy. A string that one source files under several forms is left out."""

import json, re, sys
from pathlib import Path

FORMS = ["desktop", "mobile", "tablet", "bot"]


def intoli(folder):
    """user-agents: measured on web sites, the form by the size of the screen and the like."""
    for row in json.loads((folder / "dist/user-agents.json").read_text()):
        yield row["deviceCategory"], row["userAgent"]


def ua_parser(folder):
    """ua-parser-js: phones and tablets of many makers. Its consoles and televisions have no form here."""
    for row in json.loads((folder / "test/device-test.json").read_text()):
        yield row["expect"].get("type"), row["ua"].strip()


def crawlers(folder):
    """crawler-user-agents: of each crawler the first string it was seen with."""
    for row in json.loads((folder / "crawler-user-agents.json").read_text()):
        if row["instances"]:
            yield "bot", row["instances"][0]


def woothee(folder):
    """woothee: older desktops, feature phones and crawlers. It does not tell tablets from phones, so no smartphones."""
    forms = {"pc": "desktop", "mobilephone": "mobile", "crawler": "bot"}
    for file in sorted((folder / "woothee/testsets").glob("*.yaml")):
        for row in re.split(r"^- ", file.read_text(), flags=re.M)[1:]:
            agent = re.search(r"^target: (['\"])(.*)\1 *$", row, re.M)
            category = re.search(r"^ *category: (\S+)", row, re.M)
            if agent and category:
                yield forms.get(category[1]), agent[2].replace("''", "'")


# Which of the rows of a form is taken: every n-th, from the first.
SOURCES = [
    ("user-agents", "2.1.198", "BSD-2-Clause", intoli, {"desktop": 2, "mobile": 5, "tablet": 2}),
    ("ua-parser-js", "0.7.28", "MIT", ua_parser, {"mobile": 2, "tablet": 2}),
    ("crawler-user-agents", "1.60.0", "MIT", crawlers, {"bot": 10}),
    ("woothee", "1.11.1", "Apache-2.0", woothee, {"desktop": 2, "mobile": 2, "bot": 2}),
]


def main():
    rest = "--rest" in sys.argv
    base = Path(sys.argv[1])
    print("# User-Agent strings and the form of the device that sent them: source, form, string. Made by select-user-agents.py,")
    print("# which says how rows were picked; copyrights and licences are in ../NOTICE.")
    for name, version, licence, rows, _ in SOURCES:
        print(f"# {name} {version} (npm, {licence}): {rows.__doc__.split(': ', 1)[1]}")
    told = set()
    for name, _, _, read, steps in SOURCES:
        forms = {}
        for form, agent in read(base / name):
            forms.setdefault(agent, set()).add(form)
        for form in FORMS:
            agents = [agent for agent in forms if forms[agent] == {form} and agent and "\t" not in agent]
            for place, agent in enumerate(agents):
                if form in steps and (place % steps[form] == 0) != rest and agent not in told:
                    told.add(agent)
                    print(name, form, agent, sep="\t")


main()
