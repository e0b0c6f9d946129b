#!/usr/bin/env python3
"""Asks several servers the same odd requests and prints their answers side by side.

    tests/http/peers.py PORT...

Each serves, on loopback, a directory with plain.txt, index.html, dir/index.html and .hidden.
Behind each request stands a plain one: whether it is answered says how the server framed the
first. The table of README.md was made with this.
"""

import re
import socket
import sys

GET = b"GET /plain.txt HTTP/1.1\r\n"
HOST = b"Host: test\r\n"
MARKER = b"GET /index.html HTTP/1.1\r\nHost: marker\r\n\r\n"
CHUNKED = GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def line(target):
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n"


CASES = [
    ("bare LF as every line end", b"GET /plain.txt HTTP/1.1\nHost: test\n\n"),
    ("bare LF behind one field", GET + b"Host: test\nX: y\r\n\r\n"),
    ("bare CR in a value", GET + HOST + b"X: a\rb\r\n\r\n"),
    ("NUL in a value", GET + HOST + b"X: a\0b\r\n\r\n"),
    ("control byte 0x01 in a value", GET + HOST + b"X: a\x01b\r\n\r\n"),
    ("space before the colon", GET + HOST + b"X : y\r\n\r\n"),
    ("folded field", GET + HOST + b"X: a\r\n b\r\n\r\n"),
    ("empty field name", GET + HOST + b": y\r\n\r\n"),
    ("bracket in a field name", GET + HOST + b"X(y): z\r\n\r\n"),
    ("line without a colon", GET + HOST + b"nonsense\r\n\r\n"),
    ("two spaces before the target", b"GET  /plain.txt HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("two spaces before the version", b"GET /plain.txt  HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("trailing space on the request line", b"GET /plain.txt HTTP/1.1 \r\n" + HOST + b"\r\n"),
    ("HTTP/0.9 request", b"GET /plain.txt\r\n"),
    ("HTTP/1.10", b"GET /plain.txt HTTP/1.10\r\n" + HOST + b"\r\n"),
    ("HTTP/01.1", b"GET /plain.txt HTTP/01.1\r\n" + HOST + b"\r\n"),
    ("two equal Hosts", GET + HOST + HOST + b"\r\n"),
    ("empty Host", GET + b"Host:\r\n\r\n"),
    ("Host with a user", GET + b"Host: me@test\r\n\r\n"),
    ("Host with a port of letters", GET + b"Host: test:port\r\n\r\n"),
    ("Host with port 100000", GET + b"Host: test:100000\r\n\r\n"),
    ("absolute target of https", line(b"https://test/plain.txt")),
    ("absolute target with a user", line(b"http://me@test/plain.txt")),
    ("fragment in the target", line(b"/plain.txt#x")),
    ("raw byte 0x80 in the target", line(b"/plain\x80.txt")),
    ("encoded NUL", line(b"/plain.txt%00")),
    ("encoded slash", line(b"/dir%2findex.html")),
    ("raw backslash", line(b"/dir\\index.html")),
    ("escape without digits", line(b"/%zz")),
    ("path above the root", line(b"/dir/../../plain.txt")),
    ("dot file", line(b"/.hidden")),
    ("unknown method", b"BREW /plain.txt HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("lower-case method", b"get /plain.txt HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("Content-Length +5", GET + HOST + b"Content-Length: +5\r\n\r\nhello"),
    ("Content-Length 5, 5", GET + HOST + b"Content-Length: 5, 5\r\n\r\nhello"),
    ("two equal Content-Lengths",
     GET + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("both length and coding",
     GET + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("Transfer-Encoding in HTTP/1.0",
     b"GET /plain.txt HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"
     b"Connection: keep-alive\r\n\r\n0\r\n\r\n"),
    ("Transfer-Encoding: identity", GET + HOST + b"Transfer-Encoding: identity\r\n\r\n"),
    ("Transfer-Encoding: chunked, chunked",
     GET + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("chunk size 0x5", CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("chunk size with bare LF", CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    ("chunk data one byte too long", CHUNKED + b"4\r\nhello\r\n0\r\n\r\n"),
    ("chunk extension with bare LF", CHUNKED + b"5;a\nhello\r\n0\r\n\r\n"),
    ("trailer with bare LF", CHUNKED + b"0\r\nA: b\n\r\n"),
    ("another expectation", GET + HOST + b"Expect: wonders\r\n\r\n"),
    ("101 fields", GET + HOST + b"X: y\r\n" * 100+b"\r\n"),
    ("range of HEAD", b"HEAD /plain.txt HTTP/1.1\r\n" + HOST + b"Range: bytes=0-3\r\n\r\n"),
    ("ranges that touch", GET + HOST + b"Range: bytes=0-1,2-3\r\n\r\n"),
    ("2000 equal ranges", GET + HOST + b"Range: bytes=" + b"0-0," * 1999+b"0-0\r\n\r\n"),
    ("If-Range with a later date",
     GET + HOST + b"Range: bytes=0-3\r\nIf-Range: Fri, 01 Jan 2027 00:00:00 GMT\r\n\r\n"),
    ("If-Match with a weak tag", GET + HOST + b"If-Match: W/{etag}\r\n\r\n"),
    ("slash behind a file", line(b"/plain.txt/")),
]


def connect(port):
    stream = socket.create_connection(("127.0.0.1", port))
    stream.settimeout(1.5)
    return stream


def ask(port, request, tag):
    stream = connect(port)
    answer, closed = b"", True
    try:
        stream.sendall(request.replace(b"{etag}", tag) + MARKER)
        while piece := stream.recv(65536):
            answer += piece
    except socket.timeout:
        closed = False
    except OSError:
        pass
    statuses = [found.decode() for found in re.findall(rb"HTTP/1\.[01] (\d\d\d)", answer)]
    text = ", ".join(statuses) or ("a body without a head" if answer else "nothing")
    return text + ("; closed" if closed else "")


def tag_of(port):
    stream = connect(port)
    stream.sendall(GET + HOST + b"Connection: close\r\n\r\n")
    head = stream.recv(65536)
    found = re.search(rb"(?i)\r\netag: (\S+)", head)
    return found.group(1) if found else b'"none"'


ports = [int(port) for port in sys.argv[1:]]
tags = [tag_of(port) for port in ports]
for name, request in CASES:
    answers = [ask(port, request, tag) for port, tag in zip(ports, tags)]
    print("| " + " | ".join([name, *answers]) + " |")
