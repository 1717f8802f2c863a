"""Random meta commands for differential_test.py, and how their replies are compared.

What memcached 1.6.18 does not know (E, x, C of mg, s and N of ms), where it differs from later ones (N
and q of ma), and where it answers with what happens to lie about is left out:

* t after a time that is past: memcached tells a number below zero as one near 2^32;
* an opaque that is too long, but for md: memcached does all the rest of the command;
* I of ms with a token that no server gave: which is older is each server's own;
* T of ma that makes a number longer: memcached gives the new time to the item it replaces;
* c of what is gone at once: ours has no token for it.

momento_proxy does not know who else has asked for an item (h, l), and takes any token of another write
for an older one: `whole` is false for it, and these are left out.

A key is compared as what it says: memcached spells it in base64 if the item was stored so, ours if it
was asked for so.
"""
import base64
import time

OLDEST = b"1"           # A token older than any.
BASES = [1000, 5000, 2592000]  # Seconds that items are given.
SECONDS_MAX = 270_000_000  # Who lives longer than 8.7 years lives for ever in segcache.
DEFAULT_TTL = 4_294_967  # Of the proxy that is compared: what lives for ever there.
CODES = (b"HD", b"VA", b"EN", b"NS", b"EX", b"NF", b"ME")


def base64_of(key):
    """As keys are spelled in base64: cut, so that they are not too long."""
    return base64.b64encode(key[:180])


def normal(line, order_of, keys, whole=True):
    """A reply's line without what each server has of its own; `order_of` names tokens, `keys` are those
    that are asked for. Also (key, token) if both are told."""
    words = line.split(b" ")
    key = token = None
    for i, word in enumerate(words):
        spelled = word[1:] if word[:1] == b"k" and words[i + 1:i + 2] == [b"b"] else None
        if words[0] == b"ME" and i == 1 and word in map(base64_of, keys):
            spelled = word
        if spelled is not None:
            words[i] = word[:len(word) - len(spelled)] + base64.b64decode(spelled)
            if words[0] != b"ME":
                del words[i + 1]
    out = words[:1]
    for word in words[1:]:
        letter = word[:1]
        if letter == b"c" and word[1:].isdigit():
            token = int(word[1:])
            word = b"c#%d" % order_of(token) if token else b"c0"
        elif letter == b"t" and word[1:].isdigit() and int(word[1:]) > (
                SECONDS_MAX if whole else DEFAULT_TTL - 1000):
            word = b"t-1"
        elif letter == b"t" and word[1:].isdigit():
            word = b"t%d" % min(BASES, key=lambda base: abs(base - int(word[1:])))
        elif letter == b"l" and word[1:].isdigit():
            word = b"l"  # memcached notes a use once a minute.
        elif letter == b"k":
            key = word[1:]
        elif words[0] == b"ME" and not whole and word.split(b"=")[0] in (b"la", b"fetch"):
            continue
        elif words[0] == b"ME" and word.split(b"=")[0] in (b"exp", b"la", b"cas", b"cls"):
            word = word.split(b"=")[0]
        out.append(word)
    shown = (key, token) if key is not None and token else None
    return b" ".join(out), shown


class MetaCommands:
    """Most of them right. `commands` has the keys, values and times of all commands."""

    def __init__(self, commands, whole=True):
        self.commands, self.rng, self.tokens = commands, commands.rng, commands.tokens
        self.whole = whole
        self.letters_of_get = b"vvfshluk" if whole else b"vvfsuk"
        self.tokens_of_another = [OLDEST, b"%d" % 2**63] if whole else [OLDEST]

    def chance(self, probability):
        return self.rng.random() < probability

    def key(self, flags):
        """A key, and b in `flags` if it is in base64."""
        key = self.commands.key()
        if self.chance(0.1):
            flags.append(b"b")
            return base64_of(key) if self.chance(0.95) else key
        return key

    def life(self):
        """An exptime, and whether it may be told."""
        if self.chance(0.05):
            return self.rng.choice(self.commands.NUMBERS), False
        if self.chance(0.1):
            return self.rng.choice([b"-1", b"2592001", b"1600000000"]), False
        return self.rng.choice([b"0", b"1000", b"2592000", b"%d" % (int(time.time()) + 5000)]), True

    def token(self, key):
        shown = key if key in self.commands.KEYS else b"a"
        return self.rng.choice([b"@%s@" % shown] * 4 + [b"%d" % (2**63 + 12345), b"0"])

    def opaque(self, verb):
        return b"O" + b"o" * self.rng.choice([0, 1, 3, 8, 31] + ([32] if verb == b"md" else []))

    def some(self, letters, probability=0.3):
        return [bytes([letter]) for letter in letters if self.chance(probability)]

    def line(self, verb, words, flags):
        if self.chance(0.3):
            flags.append(self.opaque(verb))
        self.rng.shuffle(flags)
        if self.chance(0.03):
            flags.insert(self.rng.randrange(len(flags) + 1),
                         self.rng.choice([b"z", b"noreply", b"S5", b"\xff", b"\x7f", b"O", b"u", b"Tx",
                                          b"N", b"Fx", b"Dx", b"J", b"MXX", b"M", b"Cx", b"Rx"]))
        if self.chance(0.005):
            flags += [b"v", b"s", b"f", b"L", b"P", b"h", b"u", b"F1"] * 2
        words = [verb] + words + flags
        # A token is not to become the key, which is told.
        if self.chance(0.01) and not any(b"@" in word for word in words):
            words.pop(self.rng.randrange(1, len(words)))
        text = b" ".join(words)
        if self.chance(0.03):
            text = text.replace(b" ", b" " * self.rng.randrange(1, 4))
        return text + (b"\n" if self.chance(0.03) else b"\r\n")

    def get(self):
        flags = list(dict.fromkeys(self.some(self.letters_of_get)))
        key = self.key(flags)
        may_tell = True
        if self.tokens and self.chance(0.4):
            flags += [b"c"] + ([b"k"] if b"k" not in flags else [])
        if self.chance(0.15):
            life, may_tell = self.life()
            flags.append(b"T" + life)
        if may_tell and self.chance(0.25):
            flags.append(b"N" + self.rng.choice([b"0", b"1000", b"5000"]))
            may_tell = may_tell and not any(flag.startswith(b"T") for flag in flags)
        if self.chance(0.15):
            flags.append(b"R" + self.rng.choice([b"0", b"-1", b"30", b"2000", b"100000"]))
        if may_tell:
            flags += self.some(b"t")
        return self.line(b"mg", [key], flags + self.some(b"q", 0.1))

    def set(self):
        flags = self.some(b"kqI", 0.2)
        key = self.key(flags)
        value = self.commands.value()
        if len(value) > self.commands.LONG:
            key, flags = self.rng.choice(self.commands.KEYS), []
        told = True
        if self.chance(0.3):
            life, told = self.life()
            flags.append(b"T" + life)
        if self.chance(0.3):
            flags.append(b"F" + self.rng.choice([b"0", b"7", b"4294967295", b"4294967296"]))
        if self.chance(0.4):
            flags.append(b"M" + self.rng.choice([b"S", b"E", b"A", b"P", b"R", b"R", b"A"]))
        if self.tokens and self.chance(0.3):
            if b"I" not in flags:
                token = self.token(key)
            elif self.whole and key in self.commands.KEYS and self.chance(0.7):
                token = b"@%s@" % key  # Of the last write that was told, or of one before.
            else:
                token = self.rng.choice(self.tokens_of_another)
            flags.append(b"C" + token)
        if self.tokens and told and self.chance(0.4):
            flags += [b"c"] + ([b"k"] if b"k" not in flags else [])
        count = len(value)
        if len(value) > self.commands.LONG:
            return b"ms %s %d %s\r\n%s\r\n" % (key, count, b" ".join(flags), value)
        if self.chance(0.02):
            count = self.rng.choice([count + self.rng.randrange(self.commands.SHORTFALL),
                                     self.rng.randrange(count + 1), -1])
        body = value + (b"\r\n" if self.chance(0.98) else self.rng.choice([b"\n", b"", b"\r", b"xx"]))
        return self.line(b"ms", [key, b"%d" % count], flags) + body

    def delete(self):
        flags = self.some(b"kq", 0.2)
        key = self.key(flags)
        if self.chance(0.6):
            flags.append(b"I")
        if self.chance(0.2):
            flags.append(b"T" + self.life()[0])
        if self.tokens and self.chance(0.3):
            flags.append(b"C" + self.token(key))
        return self.line(b"md", [key], flags)

    def count(self):
        flags = list(dict.fromkeys(self.some(b"kvv", 0.4)))
        key = self.key(flags)
        may_tell = told = True
        touches = self.chance(0.15)
        if touches:
            life, told = self.life()
            flags += [b"T" + life, b"D0"]
        elif self.chance(0.4):
            flags.append(b"D" + self.rng.choice([b"0", b"1", b"7", b"%d" % 2**40]))
        if told and self.chance(0.3):
            flags.append(b"N" + self.rng.choice([b"0", b"1000", b"5000"]))
            flags += [b"J%d" % self.rng.choice([0, 5, 2**40])] if self.chance(0.5) else []
            may_tell = not touches
        else:
            flags += self.some(b"q", 0.1)
        if told and may_tell:
            flags += self.some(b"t")
        if self.chance(0.4):
            flags.append(b"M" + self.rng.choice([b"I", b"+", b"D", b"-"]))
        if self.tokens and self.chance(0.3):
            flags.append(b"C" + self.token(key))
        if self.tokens and told and self.chance(0.3):
            flags += [b"c"] + ([b"k"] if b"k" not in flags else [])
        return self.line(b"ma", [key], flags)

    def one(self):
        r = self.rng.random()
        if r < 0.4:
            return self.get()
        if r < 0.65:
            return self.set()
        if r < 0.8:
            return self.count()
        if r < 0.93:
            return self.delete()
        if r < 0.96:
            return b"mn\r\n"
        return b"me " + self.commands.key() + b"\r\n"
