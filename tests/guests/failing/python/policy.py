"""Fails in the way that the user agent names."""

import sys

from wit_world import exports
from wit_world.exports.device import Form
from wit_world.imports import request


class Settings(exports.Settings):
    def schema(self):
        return ""

    def configure(self, settings):
        pass


class Device(exports.Device):
    def classify(self):
        agent = request.header("user-agent")
        if agent == "throws":
            raise KeyError("no such tenant")
        if agent == "trips":
            return None.name
        if agent == "number":
            return 17
        if agent == "word":
            return "phone"
        if agent == "argument":
            return request.header(5)
        if agent == "prints":
            print("a line", 2)
            print("another", file=sys.stderr)
        return Form.TABLET
