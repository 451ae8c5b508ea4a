#!/usr/bin/env python3
"""Users of a front door, while something happens to it.

  load.py PORT HOST STOPFILE    asks until STOPFILE is there, then prints JSON: {"asked": …, "failed": […]}
  load.py PORT HOST --login NAME PASSWORD    logs in once; prints the first line of the user's page

Each user has a session. Some keep a connection and ask on it again and again, and open a new one where they were told
that it closes; others open one for each request. One reads a long answer slowly, over everything that happens.
Whatever is not the answer that was asked for is a failure: refused, reset, cut, another status.
"""
import html, http.client, json, os, re, ssl, sys, threading, time, urllib.parse

PORT, HOST = int(sys.argv[1]), sys.argv[2]
TLS = ssl._create_unverified_context()


def connect():
    return http.client.HTTPSConnection("127.0.0.1", PORT, timeout=60, context=TLS)


def ask(connection, method, path, cookies, body=None):
    headers = {"Host": HOST, "Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
    if body is not None:
        headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{HOST}"}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    for cookie in answer.headers.get_all("Set-Cookie") or []:
        name, value = cookie.split(";")[0].split("=", 1)
        cookies[name] = value
    return answer, text


def log_in(name, password):
    cookies = {}
    connection = connect()
    _, page = ask(connection, "GET", "/", cookies)
    page = page.decode()
    action = html.unescape(re.search(r'<form[^>]*action="([^"]*)"', page).group(1))
    hidden = {k: html.unescape(v) for k, v in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page)}
    answer, text = ask(connection, "POST", action, cookies,
                       urllib.parse.urlencode(hidden | {"username": name, "password": password}))
    assert answer.status == 303, (answer.status, text[:2000])
    answer, text = ask(connection, "GET", urllib.parse.urlparse(answer.headers["Location"]).path, cookies)
    while answer.status in (302, 303):
        answer, text = ask(connection, "GET", answer.headers["Location"], cookies)
    assert answer.status == 200, (answer.status, text[:2000])
    return cookies, text.decode()


def main():
    if sys.argv[3] == "--login":
        _, text = log_in(sys.argv[4], sys.argv[5])
        assert sys.argv[4] in text, text
        print(f"{sys.argv[4]} is in")
        return
    stop, counts, failed, lock = sys.argv[3], [0], [], threading.Lock()
    cookies, _ = log_in("alice", "alice-demo")

    def user(keep):
        own, connection = dict(cookies), None
        while not os.path.exists(stop):
            try:
                connection = connection or connect()
                answer, _ = ask(connection, "GET", "/", own)
                with lock:
                    counts[0] += 1
                    if answer.status not in (200, 302, 303):
                        failed.append(f"status {answer.status}")
                if not keep or answer.will_close:
                    connection.close()
                    connection = None
            except Exception as error:  # every kind of it is a failure
                with lock:
                    counts[0] += 1
                    failed.append(f"{'kept' if keep else 'new'}: {error!r}")
                connection = None
            time.sleep(0.005)

    def reader():
        size = 64 << 20
        try:
            connection = connect()
            connection.request("GET", f"/download/{size}", headers={
                "Host": HOST, "Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())})
            answer, got = connection.getresponse(), 0
            while part := answer.read(16 << 10 if not os.path.exists(stop) else 1 << 20):
                got += len(part)
                if not os.path.exists(stop):
                    time.sleep(0.02)
            if answer.status != 200 or got != size:
                raise ValueError(f"{answer.status}, {got} bytes")
        except Exception as error:
            with lock:
                failed.append(f"the long answer: {error!r}")

    users = [threading.Thread(target=user, args=(n % 2 == 0,)) for n in range(8)] + [threading.Thread(target=reader)]
    for one in users:
        one.start()
    for one in users:
        one.join()
    print(json.dumps({"asked": counts[0], "failed": failed}))


main()
