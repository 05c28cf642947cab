"""A client of TeamTalk as published, as far as chat messages go: what it shows of what its MsgServer hands it."""

import base64
import struct

KEY = b"12345678901234567890123456789012"
BLOCK = 16
ROUNDS = 14


class Client:
    """Sorts by `msg_id`, and drops a message whose id it has."""

    def __init__(self):
        self._messages = {}

    def receive(self, message):
        """Takes an IMMsgData."""
        self._messages.setdefault(message.msg_id, message)

    def shows(self):
        """The conversation: sender and text of each message; None for a text that it cannot read."""
        in_order = sorted(self._messages.items())
        return [(message.from_user_id, decrypted(message.msg_data)) for _, message in in_order]


def encrypted(text):
    """The content of a text message: docs/publishing.md, step by step."""
    data = text.encode()
    padded = data + bytes(-(len(data) + 4) % BLOCK) + struct.pack(">I", len(data))
    return base64.b64encode(b"".join(_encrypt(block) for block in _blocks(padded)))


def decrypted(content):
    """What clients read, or None."""
    try:
        data = base64.b64decode(content, validate=True)
    except ValueError:
        return None
    if not data or len(data) % BLOCK:
        return None
    data = b"".join(_decrypt(block) for block in _blocks(data))
    (length,) = struct.unpack(">I", data[-4:])
    return data[:length].decode() if length <= len(data) - 4 else None


# AES-256, by FIPS 197: nothing that is installed here has it.


def _blocks(data):
    return [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]


def _twice(value):
    return (value << 1 ^ (0x1B if value & 0x80 else 0)) & 0xFF


def _times(value, factor):
    product = 0
    while factor:
        product ^= value if factor & 1 else 0
        value, factor = _twice(value), factor >> 1
    return product


def _substitution():
    table = []
    for value in range(256):
        inverse = next((other for other in range(256) if _times(value, other) == 1), 0)
        rotated = (((inverse << 8 | inverse) >> 8 - turn) & 0xFF for turn in range(5))
        result = 0x63
        for part in rotated:
            result ^= part
        table.append(result)
    return table


_SUBSTITUTION = _substitution()
_BACK = [_SUBSTITUTION.index(value) for value in range(256)]


def _round_keys(key):
    words = [list(key[start : start + 4]) for start in range(0, len(key), 4)]
    constant = 1
    while len(words) < 4 * (ROUNDS + 1):
        word = words[-1]
        if len(words) % 8 == 0:
            word = [_SUBSTITUTION[byte] for byte in word[1:] + word[:1]]
            word[0] ^= constant
            constant = _twice(constant)
        elif len(words) % 8 == 4:
            word = [_SUBSTITUTION[byte] for byte in word]
        words.append([a ^ b for a, b in zip(words[-8], word)])
    return [sum(words[start : start + 4], []) for start in range(0, len(words), 4)]


_KEYS = _round_keys(KEY)


def _mixed(state, factors):
    columns = [state[start : start + 4] for start in range(0, BLOCK, 4)]
    mixed = []
    for column in columns:
        for row in range(4):
            parts = [_times(column[(row + turn) % 4], factors[turn]) for turn in range(4)]
            mixed.append(parts[0] ^ parts[1] ^ parts[2] ^ parts[3])
    return mixed


def _encrypt(block, keys=_KEYS):
    state = [a ^ b for a, b in zip(block, keys[0])]
    for number in range(1, ROUNDS + 1):
        state = [_SUBSTITUTION[byte] for byte in state]
        state = [state[(place + 4 * (place % 4)) % BLOCK] for place in range(BLOCK)]
        if number < ROUNDS:
            state = _mixed(state, (2, 3, 1, 1))
        state = [a ^ b for a, b in zip(state, keys[number])]
    return bytes(state)


def _decrypt(block, keys=_KEYS):
    state = list(block)
    for number in range(ROUNDS, 0, -1):
        state = [a ^ b for a, b in zip(state, keys[number])]
        if number < ROUNDS:
            state = _mixed(state, (14, 11, 13, 9))
        state = [state[(place - 4 * (place % 4)) % BLOCK] for place in range(BLOCK)]
        state = [_BACK[byte] for byte in state]
    return bytes(a ^ b for a, b in zip(state, keys[0]))
