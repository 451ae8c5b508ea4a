#!/usr/bin/env python3
"""Makes src/tablets.txt, the names of tablets that do not say so, out of two public collections (MIT licence, see NOTICE):

    git clone https://github.com/browscap/browscap; git clone https://github.com/serbanghita/Mobile-Detect
    make-tablets.py browscap Mobile-Detect > src/tablets.txt

browscap says of each model whether it is a phone or a tablet. Mobile-Detect has patterns of tablets; what is taken of
them are the alternatives without wildcards. A name that is a phone's too, in either, is left out."""

import json, re, sys
from pathlib import Path

# What the policy knows by a word (src/model.rs) needs no name.
SAYS_SO = re.compile(r"(tab|tabs|pad|pads|tablet|slate)\b|(tab|pad)s?\d")
# Names of phones, or of nothing in particular, that a collection has among its tablets.
NOT_THESE = {"next", "vega", "forge", "padfone", "m1 plus"}


def words(text):
    """Lower case, words of letters and digits with one blank between: how the policy compares."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def browscap(folder):
    """Models by form: what stands in User-Agents leads to a device, and the device has a type."""
    types = {}
    for file in sorted((folder / "resources/devices").glob("*/*.json")):
        types |= {name: device["type"] for name, device in json.loads(file.read_text()).items()}
    found = {"tablet": set(), "mobile-phone": set()}

    def walk(node):
        if isinstance(node, dict):
            devices = node.get("devices")
            for model, device in devices.items() if isinstance(devices, dict) else ():
                if types.get(device) in found:
                    found[types[device]].add(words(model))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    for file in sorted((folder / "resources/user-agents").glob("**/*.json")):
        walk(json.loads(file.read_text()))
    return found["tablet"], found["mobile-phone"]


def alternatives(pattern):
    """The texts that a pattern of literals, groups and `|` fits."""
    parts, depth, part = [], 0, ""
    for letter in pattern:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    for part in [*parts, part]:
        yield from spread(part) if part.count("(") <= 6 else ()


def spread(part):
    group = re.search(r"\(([^()]*)\)(\?)?", part)
    if not group:
        return [part]
    choices = [choice.removeprefix("?:") for choice in group[1].split("|")] + ([""] if group[2] else [])
    return [text for choice in choices for text in spread(part[: group.start()] + choice + part[group.end() :])]


def mobile_detect(folder, group):
    patterns = json.loads((folder / "MobileDetect.json").read_text())["uaMatch"][group].values()
    names = set()
    for pattern in patterns:
        for text in alternatives("|".join(pattern) if isinstance(pattern, list) else pattern):
            text = re.sub(r"\[\s*[ _]*\]\??\+?|\[\\s\]\??\+?|\[ _\]\?|\\b|\\s|Android\.\*|Android", " ", text).replace("\\.", ".")
            text = re.sub(r"^\W*;", "", text).strip().lower()
            if re.fullmatch(r"[a-z0-9][a-z0-9 _.\-]*", text):
                names.add(words(text))
    return names


def main():
    caps, detect = Path(sys.argv[1]), Path(sys.argv[2])
    tablets, phones = browscap(caps)
    tablets |= mobile_detect(detect, "tablets")
    phones |= mobile_detect(detect, "phones")
    names = tablets - phones - NOT_THESE
    print("# Names of tablets that do not say so. Made by tests/make-tablets.py, which says of what.")
    for name in sorted(names):
        if len(name) >= 2 and not name.isdigit() and name.count(" ") <= 4 and not SAYS_SO.search(name):
            print(name)


main()
