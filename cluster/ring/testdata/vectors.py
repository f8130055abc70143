"""Prints the published test vectors of the ring, computed without Count's code.

Run: python3 vectors.py > vectors.txt
"""
import bisect
import hashlib


def token(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def canonical(labels):
    out = b""
    for name, value in sorted(labels.items()):
        for part in (name.encode(), value.encode()):
            assert len(part) < 128
            out += bytes([len(part)]) + part
    return out


def candidates(nodes, rf, position):
    tokens = sorted((token(f"{n}-{v}"), n) for n in nodes for v in range(150))
    w = min(rf, len(nodes)) // 2 + 1
    want = max(min(2 * w - 1, len(nodes)), min(rf, len(nodes)))
    i = bisect.bisect_left(tokens, (position, 0))
    found = []
    for k in range(len(tokens)):
        n = tokens[(i + k) % len(tokens)][1]
        if n not in found:
            found.append(n)
        if len(found) == want:
            break
    return found


for node in (1, 2, 17, 18446744073709551615):
    for virtual in (0, 1, 149):
        print(f"token {node} {virtual} {token(f'{node}-{virtual}'):016x}")

KEYS = ["cpu.usage.total", "memory", "disk.io", "a", "b", "requests.total"]
for nodes in ([1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5], list(range(10, 30))):
    for rf in (1, 2, 3, 5):
        for key in KEYS:
            digest = hashlib.sha256(canonical({"__name__": key})).digest()
            position = int.from_bytes(digest[:8], "big")
            names = ",".join(map(str, nodes))
            found = ",".join(map(str, candidates(nodes, rf, position)))
            print(f"candidates {names} {rf} {key} {found}")
