"""Addresses that are never reached, in every form that a caller can think of."""

from __future__ import annotations

#: Outside the public internet.
CLOSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.1.2.3",
    "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.8",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "100::1", "2001::1",
    "2001:0:a9fe:a9fe::1", "2001:db8::1", "2002:a9fe:a9fe::1", "2002:7f00:1::1", "3fff::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip
OPEN = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::200e", "::ffff:8.8.8.8"]

#: Every spelling of an address that a URL can hold and that the system's resolver understands.
SPELLINGS = [
    "127.0.0.1", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1",
    "localhost", "localhost.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]",
]  # fmt: skip

#: What no rule can allow, or says itself that it is closed.
REFUSED = [
    "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/",
    "https://", "https:///path", "https://user@example.com/", "https://user:pass@example.com/",
    "https://example.com:22/", "https://example.com:99999/", "https://example.com:x/", "https://[::1/",
    "https://exa mple.com/", "https://example.com/\r\nHost: other", "https://example.com\\@127.0.0.1/",
    "https://ⓔxample.com/", "https://127.0.0.1/", "https://[::1]/", "https://[fe80::1%25eth0]/", "https://a#@b/",
    "https://example.com/" + "a" * 2000, "javascript:alert(1)", "",
]  # fmt: skip
