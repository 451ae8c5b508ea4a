"""What the benchmarks share: configurations, processes on their own cores, load, and CPU time."""
import getpass
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"

NGINX = """
daemon off; worker_processes 1; pid {name}.pid; error_log {name}.err error; user {user};
worker_rlimit_nofile 40000;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; server_tokens off;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  {body}
}}
"""
BACKEND = """
  server {{ listen 127.0.0.1:{backend} backlog=4096; client_max_body_size 100m;
    location = /login {{ add_header Set-Cookie "sid=1; Path=/"; return 303 /; }}
    location = /big {{ root .; }}
    # Reads all that is sent before it answers.
    location = /upload {{ client_body_buffer_size 2m; proxy_pass_request_body off; proxy_set_header Content-Length "";
      proxy_pass http://127.0.0.1:{backend}/; }}
    location / {{ default_type text/html; return 200 "{page}"; }} }}
"""
UNLIMITED = """[listener.limits]
max-connections = 0
max-interval-connections = 0
peer-max-connections = 0
peer-max-interval-connections = 0
"""
DOORWARD = """
[admin]
socket = "{name}.sock"
{admin}[[listener]]
name = "public"
address = "127.0.0.1:{port}"
{unlimited}{more}
[directory]
file = "people.ldif"

{policies}
[[backend]]
name = "node"
url = "http://127.0.0.1:{backend}"
recipe = "login.toml"
max-connections = 256

[[site]]
hosts = ["*"]
"""
# 64 denied networks and 16 virtual hosts, as in the other proxies' configurations.
POLICIES = """
[[policy]]
name = "access-control"
asks = "access"
[policy.settings]
rules = [{rules}]
[[policy]]
name = "device-detection"
asks = "device"
[[policy]]
name = "virtual-hosts"
asks = "template"
[policy.settings]
default = "blue"
hosts = {{ {hosts} }}
[[policy]]
name = "auth-mode"
asks = "auth-mode"
[policy.settings]
default = "ldap-bind"
"""
PEOPLE = "dn: uid=alice,dc=test\nuid: alice\nmailHost: node\nuserPassword: secret\n"
RECIPE = """
[login]
path = "/login"
[login.fields]
user = "{user}"
[success]
status = [303]
"""


def four_policies():
    rules = ", ".join(f'{{ deny = "203.{i}.0.0/16" }}' for i in range(64))
    hosts = ", ".join(f'"mail{i}.example.test" = "{["blue", "green"][i % 2]}"' for i in range(16))
    return POLICIES.format(rules=rules, hosts=hosts)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(port):
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def processes(pid):
    found = [pid]
    for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split():
        found += processes(int(child))
    return found


def cpu_seconds(pid):
    """CPU time of a process with its children and all threads, from the scheduler's own count of nanoseconds."""
    total = 0
    for one in processes(pid):
        for task in os.listdir(f"/proc/{one}/task"):
            try:
                with open(f"/proc/{one}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
            except FileNotFoundError:
                pass
    return total / 1e9


def memory_mib(pid):
    total = 0
    for one in processes(pid):
        with open(f"/proc/{one}/status") as f:
            total += int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])
    return total / 1024


def session_cookie(port, scheme="http", user="alice"):
    """Logs somebody in, and gives the cookie of the session."""
    base = f"{scheme}://127.0.0.1:{port}"
    trusting = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    with urllib.request.build_opener(trusting).open(base + "/") as page:
        form = page.headers["Set-Cookie"].split(";")[0]
        token = re.search(r'name="token" value="([^"]+)"', page.read().decode())[1]
    fields = {"username": user, "password": "secret", "token": token, "next": "/"}
    request = urllib.request.Request(base + "/.doorward/login", urllib.parse.urlencode(fields).encode(), {"Cookie": form})

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    try:
        urllib.request.build_opener(Stay(), trusting).open(request)
    except urllib.error.HTTPError as answer:
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            if cookie.startswith(("doorward=", "__Host-doorward=")):
                return cookie.split(";")[0]
    raise SystemExit("the login gave no session")


def wrk(port, seconds, connections, cookie, url="http://127.0.0.1:{port}/", more=()):
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
               "-H", f"User-Agent: {CHROME}", "-H", "Host: mail7.example.test", *more]
    if cookie:
        command += ["-H", f"Cookie: {cookie}; sid=1"]
    said = subprocess.run([*command, url.format(port=port)], capture_output=True, text=True, check=True).stdout
    failed = re.search(r"Non-2xx.*|Socket errors.*", said)
    if failed:
        raise SystemExit(f"requests failed at port {port}: {failed[0]}")
    unit = {"us": 1, "ms": 1000, "s": 1e6}
    latency = {p: float(v) * unit[u] for p, v, u in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s)", said)}
    count = int(re.search(r"(\d+) requests in", said)[1])
    return count, float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), latency["50"], latency["99"]


class Bench:
    """A folder of configurations, and the processes that run from it; all end with it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="doorward-bench-")
        os.mkdir(f"{self.folder}/tmp")
        self.user = getpass.getuser()
        self.running = {}
        self.ports = {}
        self.write("people.ldif", PEOPLE)
        self.write("login.toml", RECIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name, text):
        with open(f"{self.folder}/{name}", "w") as f:
            f.write(text)

    def start(self, name, core, command):
        with open(f"{self.folder}/{name}.log", "w") as log:
            self.running[name] = subprocess.Popen(
                ["taskset", "-c", core, *command], stdout=subprocess.DEVNULL, stderr=log, cwd=self.folder)
        try:
            wait_for(self.ports[name])
        except SystemExit as error:
            with open(f"{self.folder}/{name}.log") as log:
                raise SystemExit(f"{name}: {error}\n{log.read()[-2000:]}")

    def nginx(self, name, core, body):
        """An nginx whose configuration may name the ports of all that were started before."""
        self.ports[name] = free_ports(1)[0]
        page = "x" * 1024
        self.write(f"{name}.conf", NGINX.format(name=name, user=self.user, body=body.format(page=page, **self.ports)))
        self.start(name, core, ["nginx", "-p", self.folder, "-c", f"{self.folder}/{name}.conf"])

    def doorward(self, name, program, policies, core="0", more="", admin=""):
        """A Doorward in front of the back-end, and the cookie of a session there."""
        self.ports[name] = free_ports(1)[0]
        text = DOORWARD.format(
            name=name, port=self.ports[name], policies=policies, more=more, unlimited=UNLIMITED, admin=admin, **self.ports)
        self.write(f"{name}.toml", text)
        self.start(name, core, [program, "serve", "--config", f"{self.folder}/{name}.toml"])
        return session_cookie(self.ports[name])
