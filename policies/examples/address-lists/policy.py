"""Named lists of networks, such as those of a country: who is on the first list that fits is let in or not.

All lists become one table of ranges that do not overlap, so that a question costs one search by halves, however many
lists there are and however long they are.
"""

import ipaddress
import json
from bisect import bisect_right
from heapq import heappop, heappush

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.access import Verdict_Abstain, Verdict_Allow, Verdict_Deny
from wit_world.exports.settings import Problem
from wit_world.imports import connection

# All addresses lie in one line: those of IPv4 behind those of IPv6, so that ::/0 holds none of them.
V4 = 1 << 128

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "address-lists",
    "type": "object",
    "properties": {
        "lists": {
            "description": "The first list that has the client's address decides.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"description": "For the log.", "type": "string", "minLength": 1, "maxLength": 200},
                    "verdict": {"enum": ["allow", "deny"]},
                    "limits": {"description": "With allow: a limit class.", "type": "string", "minLength": 1},
                    "networks": {
                        "description": "Networks (10.0.0.0/8), ranges (10.0.0.1-10.0.0.9) and addresses.",
                        "type": "array",
                        "items": {"type": "string"},
                    },
                },
                "required": ["name", "verdict", "networks"],
                "additionalProperties": False,
            },
        },
        "default": {"enum": ["allow", "deny", "abstain"], "default": "abstain"},
    },
    "required": ["lists"],
    "additionalProperties": False,
}


def address_number(text):
    """The place of an address in the one line of all. Written out for IPv4: thousands must be quick.

    One of IPv4 that is written as IPv6 (::ffff:192.0.2.7) is one of IPv4.
    """
    parts = text.split(".")
    if len(parts) == 4 and ":" not in text:
        number = 0
        for part in parts:
            if not (part.isascii() and part.isdigit()) or len(part) > 3 or (part[0] == "0" and part != "0"):
                raise ValueError("no address")
            byte = int(part)
            if byte > 255:
                raise ValueError("no address")
            number = number << 8 | byte
        return V4 | number
    if "%" in text:
        raise ValueError("no address")
    number = int(ipaddress.IPv6Address(text))
    return V4 | number & 0xFFFFFFFF if number >> 32 == 0xFFFF else number


def network_range(text):
    """First and last number of a network, a range or an address; ValueError says what is wrong."""
    if "-" in text:
        first, _, last = text.partition("-")
        start, end = address_number(first.strip()), address_number(last.strip())
        if start & V4 != end & V4:
            raise ValueError("a range from one kind of address to another")
        if start > end:
            raise ValueError("a range that ends before it begins")
        return start, end
    address, slash, length = text.partition("/")
    start = address_number(address)
    if not slash:
        return start, start
    width = 32 if start & V4 else 128
    if not (length.isascii() and length.isdigit()) or len(length) > 3 or int(length) > width:
        raise ValueError(f"a prefix that is no number from 0 to {width}")
    rest = (1 << (width - int(length))) - 1
    if start & rest:
        raise ValueError("a network with bits set behind its prefix")
    return start, start | rest


def kind(value):
    """What a value of JSON is called in TOML."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return names.get(type(value), "nothing")


class Reader:
    """Reads settings, and collects all that is wrong with them."""

    def __init__(self):
        self.problems = []
        # (first, last, number of the list), to be merged.
        self.ranges = []
        self.verdicts = []

    def wrong(self, path, found, expected):
        self.problems.append(Problem(path, f"found {found}, expected {expected}"))

    def keys(self, path, table, known, required):
        for key in table:
            if key not in known:
                self.wrong(path + key, "an unknown key", "one of " + ", ".join(known))
        for key in required:
            if key not in table:
                self.wrong(path + key, "nothing", "a value: it is required")

    def settings(self, settings):
        if not isinstance(settings, dict):
            self.wrong("", kind(settings), "a table")
            return None
        self.keys("", settings, ("lists", "default"), ("lists",))
        lists = settings.get("lists", [])
        if isinstance(lists, list):
            for number, one in enumerate(lists):
                self.one_list(f"lists[{number}]", number, one)
        else:
            self.wrong("lists", kind(lists), "a list of tables")
        default = settings.get("default", "abstain")
        verdicts = {"allow": Verdict_Allow(None), "deny": Verdict_Deny("on no list"), "abstain": Verdict_Abstain()}
        if not isinstance(default, str) or default not in verdicts:
            self.wrong("default", shown(default), '"allow", "deny" or "abstain"')
            return None
        return verdicts[default]

    def one_list(self, path, number, one):
        self.verdicts.append(Verdict_Abstain())
        if not isinstance(one, dict):
            self.wrong(path, kind(one), "a table")
            return
        self.keys(path + ".", one, ("name", "verdict", "limits", "networks"), ("name", "verdict", "networks"))
        name, verdict, limits = one.get("name", "?"), one.get("verdict", "deny"), one.get("limits")
        if not isinstance(name, str) or not 1 <= len(name) <= 200:
            self.wrong(path + ".name", shown(name), "a text of 1 to 200 characters")
        if verdict not in ("allow", "deny"):
            self.wrong(path + ".verdict", shown(verdict), '"allow" or "deny"')
        if "limits" in one and (not isinstance(limits, str) or not limits):
            self.wrong(path + ".limits", shown(limits), "the name of a limit class")
        elif "limits" in one and verdict == "deny":
            self.wrong(path + ".limits", "a limit class for those who are denied", 'none, or verdict = "allow"')
        self.verdicts[-1] = Verdict_Allow(limits) if verdict == "allow" else Verdict_Deny(f"on the list {name}")
        networks = one.get("networks", [])
        if not isinstance(networks, list):
            self.wrong(path + ".networks", kind(networks), "a list of texts")
            return
        for index, text in enumerate(networks):
            try:
                if not isinstance(text, str):
                    raise ValueError(kind(text))
                start, end = network_range(text)
                self.ranges.append((start, end, number))
            except ValueError as error:
                found = f"{shown(text)} ({error})" if isinstance(text, str) else kind(text)
                self.wrong(f"{path}.networks[{index}]", found, "a network, a range or an address")


def shown(value):
    """A value as a fault shows it."""
    return json.dumps(value[:64], ensure_ascii=False) if isinstance(value, str) else kind(value)


def merged(ranges):
    """One table of them all: from each of `starts` up to the next, this list decides (None is no list).

    A sweep from the lowest address up. `open_lists` is a heap of the lists whose ranges have begun, the first list on
    top; those that have ended are dropped when they come to the top.
    """
    ranges.sort()
    starts, deciders, open_lists = [], [], []

    def decide(at):
        decider = open_lists[0][0] if open_lists else None
        if starts and starts[-1] == at:
            deciders[-1] = decider
        elif not deciders or deciders[-1] != decider:
            starts.append(at)
            deciders.append(decider)

    def close_up_to(at):
        while open_lists and open_lists[0][1] < at:
            end = open_lists[0][1] + 1
            while open_lists and open_lists[0][1] < end:
                heappop(open_lists)
            decide(end)

    for start, end, number in ranges:
        close_up_to(start)
        heappush(open_lists, (number, end))
        decide(start)
    close_up_to(1 << 129)
    return starts, deciders


class Settings(exports.Settings):
    def schema(self):
        return json.dumps(SCHEMA)

    def configure(self, settings):
        global starts, answers, default
        reader = Reader()
        try:
            otherwise = reader.settings(json.loads(settings))
        except ValueError as error:
            reader.wrong("", f"no JSON ({error})", "a table")
        if reader.problems:
            raise Err(reader.problems)
        starts, deciders = merged(reader.ranges)
        answers = [otherwise if number is None else reader.verdicts[number] for number in deciders]
        default = otherwise


class Access(exports.Access):
    def check(self):
        if not starts:
            return default
        place = bisect_right(starts, address_number(connection.client_address()))
        return answers[place - 1] if place else default
