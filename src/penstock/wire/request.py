"""Writes the head of a request to a provider; no I/O."""

from penstock.core.call import Outbound

_METHODS_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))


def request_head(outbound: Outbound) -> bytes:
    """Everything in front of the body; host and content-length are added here.

    Raises ValueError if a part would break out of its line: the tables that made the parts have checked them, and this
    is the last place where one request could become two.
    """
    if " " in outbound.target or not outbound.target.startswith("/"):
        raise ValueError("a request target starts with a slash and has no space")
    lines = [
        f"{outbound.method} {outbound.target} HTTP/1.1".encode("ascii"),
        f"host: {outbound.origin.authority}".encode("ascii"),
    ]
    lines += [name + b": " + value for name, value in outbound.headers]
    if outbound.body or outbound.method in _METHODS_WITH_BODY:
        lines.append(b"content-length: %d" % len(outbound.body))
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    if not head.count(b"\r") == head.count(b"\n") == len(lines) + 1 or b"\0" in head:
        raise ValueError("a part of the request head has a line end in it")
    return head
