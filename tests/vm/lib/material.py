# SPDX-License-Identifier: Apache-2.0
"""What keys look like in memory: every form of each, and where an image of RAM or of a disk holds which."""

import base64
import hashlib
import hmac
import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PIECE = 16  # a vector register, an AES block
AES_KEY = 32
MASK64 = 2**64 - 1


# AES-256 (FIPS 197)

def _double(x: int) -> int:
    return (x << 1 ^ (0x11B if x & 0x80 else 0)) & 0xFF


def _times(x: int, n: int) -> int:
    product = 0
    while n:
        product, x, n = product ^ (x if n & 1 else 0), _double(x), n >> 1
    return product


def _make_sbox() -> list[int]:
    sbox = [0x63] * 256
    for x in range(1, 256):
        inverse = next(y for y in range(256) if _times(x, y) == 1)
        for n in range(5):
            sbox[x] ^= (inverse << n | inverse >> (8 - n)) & 0xFF
    return sbox


_SBOX = _make_sbox()
_INVERSE_MIX = [[_times(x, n) for x in range(256)] for n in (14, 11, 13, 9)]


def encryption_schedule(key: bytes) -> list[bytes]:
    """The fifteen round keys, first to last."""
    words, rcon = [key[i:i + 4] for i in range(0, AES_KEY, 4)], 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = bytes(_SBOX[b] for b in word[1:] + word[:1])
            word, rcon = bytes([word[0] ^ rcon]) + word[1:], _double(rcon)
        elif i % 8 == 4:
            word = bytes(_SBOX[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(words[i - 8], word)))
    return [b"".join(words[i:i + 4]) for i in range(0, 60, 4)]


def decryption_schedule(key: bytes) -> list[bytes]:
    """That of the equivalent inverse cipher (FIPS 197, 5.3.5), in the order of its use: as the kernel keeps it in
    struct crypto_aes_ctx, filled by lib/crypto/aes.c or aesni-intel_asm.S; both in the order of FIPS 197's bytes."""
    first, *middle, last = reversed(encryption_schedule(key))

    def mix(column: bytes) -> bytes:
        return bytes(_INVERSE_MIX[0][column[i]] ^ _INVERSE_MIX[1][column[(i + 1) % 4]] ^ _INVERSE_MIX[2][column[(i + 2) % 4]]
                     ^ _INVERSE_MIX[3][column[(i + 3) % 4]] for i in range(4))
    return [first, *(b"".join(mix(k[i:i + 4]) for i in range(0, PIECE, 4)) for k in middle), last]


# HKDF-SHA-512 (RFC 5869), and the state in which its second half can be caught (FIPS 180-4)

def hkdf_extract(salt: bytes, key: bytes) -> bytes:
    return hmac.digest(salt, key, "sha512")


def segment_key(extracted: bytes, name: str, instance: int, segment: int) -> bytes:
    """As src/keys/derive.h says; one block of HKDF's expansion."""
    info = b"emberlock v1 segment\0" + struct.pack(">I", len(name)) + name.encode() + struct.pack(">QQ", instance, segment)
    return hmac.digest(extracted, info + b"\1", "sha512")


def _primes() -> Iterator[int]:
    n = 2
    while True:
        if all(n % d for d in range(2, int(n**0.5) + 1)):
            yield n
        n += 1


def _root_bits(n: int, power: int) -> int:
    """The first 64 bits of the fraction of @n's square or cube root."""
    n <<= 64 * power
    low, high = 0, 1 << (n.bit_length() // power + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**power <= n else (low, middle)
    return low & MASK64


_PRIMES = [p for p, _ in zip(_primes(), range(80))]
_START = [_root_bits(p, 2) for p in _PRIMES[:8]]
_ROUND = [_root_bits(p, 3) for p in _PRIMES]


def sha512_block(block: bytes, state: list[int] = _START) -> list[int]:
    """The state after one block."""
    def turn(x: int, n: int) -> int:
        return (x >> n | x << (64 - n)) & MASK64

    w = list(struct.unpack(">16Q", block))
    for i in range(16, 80):
        s0 = turn(w[i - 15], 1) ^ turn(w[i - 15], 8) ^ w[i - 15] >> 7
        s1 = turn(w[i - 2], 19) ^ turn(w[i - 2], 61) ^ w[i - 2] >> 6
        w.append((w[i - 16] + s0 + w[i - 7] + s1) & MASK64)
    a, b, c, d, e, f, g, h = state
    for i in range(80):
        t1 = h + (turn(e, 14) ^ turn(e, 18) ^ turn(e, 41)) + (e & f ^ ~e & g) + _ROUND[i] + w[i]
        t2 = (turn(a, 28) ^ turn(a, 34) ^ turn(a, 39)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (t1 + t2) & MASK64, a, b, c, (d + t1) & MASK64, e, f, g
    return [(x + y) & MASK64 for x, y in zip(state, (a, b, c, d, e, f, g, h))]


def hmac_states(key: bytes) -> dict[str, bytes]:
    """HMAC's two states, as words of the machine: either, and a message, are as good as the key."""
    return {name: struct.pack("<8Q", *sha512_block(bytes(b ^ pad for b in key.ljust(128, b"\0"))))
            for name, pad in (("inner", 0x36), ("outer", 0x5C))}


# Forms

def _swapped(b: bytes, n: int) -> bytes:
    return b"".join(b[i:i + n][::-1] for i in range(0, len(b), n))


def _base64(b: bytes, shift: int) -> bytes:
    """The characters that @b alone decides where it begins @shift bytes behind a multiple of three."""
    text = base64.b64encode(bytes(shift) + b + bytes(2))
    return text[-(-8 * shift // 6):8 * (shift + len(b)) // 6]


def forms(piece: bytes) -> dict[str, bytes]:
    """Every form of @piece that is searched for."""
    found = {"raw": piece, "32-bit words swapped": _swapped(piece, 4), "64-bit words swapped": _swapped(piece, 8),
             "reversed": piece[::-1], "hex": piece.hex().encode(), "HEX": piece.hex().upper().encode()}
    found |= {f"base64 +{shift}": _base64(piece, shift) for shift in range(3)}
    for name, pad in ("inner", 0x36), ("outer", 0x5C):
        padded = bytes(b ^ pad for b in piece)
        found |= {f"HMAC {name} pad": padded, f"HMAC {name} pad, 64-bit words swapped": _swapped(padded, 8)}
    return found


@dataclass(frozen=True)
class Whole:
    """A key as it may lie in RAM in one place: of whom, in which role, and its bytes."""

    of: str
    role: str
    bytes: bytes = field(repr=False)


@dataclass(frozen=True)
class Stray:
    """A piece of a key where no whole one is expected."""

    of: str
    role: str
    form: str
    offset: int


@dataclass
class Material:
    """Keys to look for. Each is searched whole and by every form of every 16 bytes of it."""

    wholes: list[Whole] = field(default_factory=list)

    def add(self, of: str, role: str, content: bytes) -> None:
        self.wholes.append(Whole(of, role, content))

    def add_segment(self, of: str, key: bytes) -> None:
        """An AES-256-XTS key: its halves are AES keys."""
        self.add(of, "raw key", key)
        for half in key[:AES_KEY], key[AES_KEY:]:
            self.add(of, "encryption schedule", b"".join(encryption_schedule(half)))
            self.add(of, "decryption schedule", b"".join(decryption_schedule(half)))

    def patterns(self) -> dict[bytes, tuple[str, str, str]]:
        """Every pattern, and what it is a form of; the same bytes under their first name."""
        found: dict[bytes, tuple[str, str, str]] = {}
        for w in self.wholes:
            for i in range(0, len(w.bytes), PIECE):
                for form, pattern in forms(w.bytes[i:i + PIECE]).items():
                    found.setdefault(pattern, (w.of, f"{w.role} +{i}", form))
        return found


@dataclass(frozen=True)
class Found:
    """What an image holds: where each key is whole, and what lies outside of those places."""

    wholes: dict[Whole, list[int]]
    strays: list[Stray]

    def count(self, role: str) -> int:
        return sum(len(places) for w, places in self.wholes.items() if w.role == role)


class Scanner:
    """tests/vm/ram_scan.c, built here."""

    def __init__(self, work: Path) -> None:
        self.program = work / "ram_scan"
        source = Path(__file__).resolve().parents[1] / "ram_scan.c"
        subprocess.run(["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", source, "-lcrypto",
                        "-o", self.program], check=True)

    def _run(self, *args: object, stdin: bytes = b"") -> bytes:
        return subprocess.run([self.program, *map(str, args)], input=stdin, stdout=subprocess.PIPE, check=True).stdout

    def _hits(self, *args: object) -> dict[int, bytes]:
        lines = self._run(*args).decode().splitlines()
        return {int(at, 16): bytes.fromhex(content) for at, content in map(str.split, lines)}

    def schedules(self, image: Path) -> dict[int, bytes]:
        """Offset and key of each AES-256 encryption schedule, whosever it is."""
        return self._hits("schedules", image)

    def pages(self, image: Path, size: int) -> dict[int, bytes]:
        """Offset and content of each page with @size bytes of content and nothing else."""
        return self._hits("pages", image, size)

    def decrypt(self, image: Path, offset: int, size: int, key: bytes) -> bytes:
        """The first @size bytes of a segment."""
        return self._run("decrypt", image, offset, size, stdin=key)

    def find(self, image: Path, patterns: Iterable[bytes]) -> list[tuple[int, int]]:
        """Offset, and number of the pattern, of each hit."""
        stdin = b"".join(bytes([len(p)]) + p for p in patterns)
        return [(int(at, 16), int(n)) for at, n in map(str.split, self._run("find", image, stdin=stdin).decode().splitlines())]

    def search(self, image: Path, material: Material) -> Found:
        """Whole keys first; a piece inside a whole one belongs to it, any other is a stray."""
        names = list(material.patterns().items())
        patterns = [w.bytes for w in material.wholes] + [p for p, _ in names]
        wholes: dict[Whole, list[int]] = {w: [] for w in material.wholes}
        covered: set[int] = set()  # where a raw piece of a whole key begins
        pieces = []
        for at, n in self.find(image, patterns):
            if n < len(material.wholes):
                w = material.wholes[n]
                wholes[w].append(at)
                covered.update(range(at, at + len(w.bytes), PIECE))
            else:
                pieces.append((at, *names[n - len(material.wholes)]))
        strays = [Stray(of, role, form, at) for at, _, (of, role, form) in pieces if form != "raw" or at not in covered]
        return Found(wholes, strays)
