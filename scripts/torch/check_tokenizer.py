#!/usr/bin/env python3
"""Checks `versavit tokenize` against the `tokenizers` library, live.

With data/tokenizer, and with a larger tokenizer of the same construction trained here on the sources of Python's standard
library, made-up Chinese and nasty strings (then also as vocab.json and merges.txt with tokenizer_config.json):
  encode   5,000 nasty strings (record_tokenizer.py), with and without added tokens in the text: equal ids
  decode   1,000 lists of random ids, with and without special tokens: equal text
  sweep    every character in a few surroundings, except letters and numbers younger than Unicode 14 (the tables of PCRE2
           10.42), and surrogates
  copies   the folder, loaded and saved by transformers: equal ids again
Then the speed on mixed text, and on a million equal letters.
Exit status: 0 all agree, 1 something differs or failed, 2 usage.
"""
import argparse
import json
import os
import random
import sys
import sysconfig
import tempfile
import unicodedata

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from command import attempt, run
from record_tokenizer import decodings, encodings, nasty
from train_tokenizer import construct, write_json

STRINGS, LISTS, SIZE = 5000, 1000, 8000


# ---- the command ------------------------------------------------------------------------------------------------------

def tokenize(command, tokenizer, lines, directory, *options):
    """Each line, a JSON value, through versavit tokenize --json; the values that come out."""
    path = os.path.join(directory, "lines.json")
    with open(path, "w", encoding="ascii") as f:
        f.writelines(json.dumps(line) + "\n" for line in lines)
    return [json.loads(line) for line in run(command, "tokenize", "--tokenizer", tokenizer, "--json", *options, path).splitlines()]


def compared(title, inputs, want, got):
    """Counts and shows what differs."""
    bad = [i for i in range(len(inputs)) if i >= len(got) or want[i] != got[i]]
    for i in bad[:5]:
        print(f"FAIL {title}: {ascii(inputs[i])[:200]}: expected {ascii(want[i])[:200]}, found {ascii(got[i])[:200] if i < len(got) else 'nothing'}")
    print(f"{'FAIL' if bad or len(got) != len(inputs) else 'ok':4} {title}: {len(inputs) - len(bad)} of {len(inputs)} equal")
    return not bad and len(got) == len(inputs)


def check(title, command, tokenizer, path, texts, directory):
    """Encoding and decoding of one tokenizer."""
    def compare():
        encoded, decoded = encodings(tokenizer, texts), decodings(tokenizer, LISTS, 8)
        ok = compared(f"{title}: encode", texts, [e[1] for e in encoded], tokenize(command, path, texts, directory))
        ok &= compared(f"{title}: encode with added tokens", texts, [e[1] if e[2] is None else e[2] for e in encoded],
                       tokenize(command, path, texts, directory, "--special"))
        ids = [d[0] for d in decoded]
        ok &= compared(f"{title}: decode", ids, [d[1] for d in decoded], tokenize(command, path, ids, directory, "--decode", "--special"))
        ok &= compared(f"{title}: decode without special tokens", ids, [d[1] if d[2] is None else d[2] for d in decoded],
                       tokenize(command, path, ids, directory, "--decode"))
        return ok

    return attempt(title, compare)


# ---- texts --------------------------------------------------------------------------------------------------------------

def chinese(rng, n):
    """Words of 1 to 3 characters with the frequencies of a language, punctuated."""
    words = ["".join(chr(0x4e00 + int(2500 * rng.random() ** 3)) for _ in range(rng.randrange(1, 4))) for _ in range(3000)]
    out = []
    while n > 0:
        sentence = "".join(words[int(3000 * rng.random() ** 3)] for _ in range(rng.randrange(3, 14))) + rng.choice("\uff0c\uff0c\u3002\u3002\uff1f\n")
        out.append(sentence)
        n -= len(sentence)
    return "".join(out)


def library(limit):
    """Sources of Python's standard library: code and English."""
    folder, out = sysconfig.get_path("stdlib"), []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py") and limit > 0:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
                out.append(f.read()[:limit])
            limit -= len(out[-1])
    return out


# Letters and numbers that Unicode 15 to 16 added: those that `tokenizers` knows and the unicodedata of Python 3.11 does not.
YOUNG = [(0x1c89, 0x1c8a), (0xa7cb, 0xa7cd), (0xa7da, 0xa7dc), (0x105c0, 0x105f3), (0x10d40, 0x10d65), (0x10d6f, 0x10d85),
         (0x10ec2, 0x10ec4), (0x1123f, 0x11240), (0x11380, 0x113b7), (0x113d1, 0x113d3), (0x116d0, 0x116e3), (0x11bc0, 0x11bf9),
         (0x11f02, 0x11f33), (0x11f50, 0x11f59), (0x1342f, 0x1342f), (0x13441, 0x13446), (0x13460, 0x143fa), (0x16100, 0x16139),
         (0x16d40, 0x16d79), (0x18cff, 0x18cff), (0x1b132, 0x1b155), (0x1ccf0, 0x1ccf9), (0x1d2c0, 0x1d2d3), (0x1df25, 0x1df2a),
         (0x1e030, 0x1e06d), (0x1e4d0, 0x1e4f9), (0x1e5d0, 0x1e5fa), (0x2b739, 0x2b739), (0x2ebf0, 0x2ee5d), (0x31350, 0x323af)]


def settled(c):
    """Whether every table agrees on the character."""
    return unicodedata.category(chr(c)) not in ("Cn", "Cs") and not any(a <= c <= b for a, b in YOUNG)


def sweep():
    """All characters, 64 to a string."""
    all_of_them = [chr(c) for c in range(0x110000) if settled(c)]
    return ["".join(f"x{c} {c}\n1{c}.{c}{c}\n{c} " for c in all_of_them[i:i + 64]) for i in range(0, len(all_of_them), 64)]


# ---- the parts ------------------------------------------------------------------------------------------------------------

def check_sweep(title, command, tokenizer, path, directory):
    def compare():
        texts = sweep()
        return compared(title, texts, [e[1] for e in encodings(tokenizer, texts)], tokenize(command, path, texts, directory))

    return attempt(title, compare)


def split_files(tokenizer, folder):
    """The two-file form."""
    d = json.loads(tokenizer.to_str())
    os.makedirs(folder)
    write_json(os.path.join(folder, "vocab.json"), d["model"]["vocab"])
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in d["model"]["merges"]))
    write_json(os.path.join(folder, "tokenizer_config.json"),
               {"added_tokens_decoder": {str(a["id"]): {k: v for k, v in a.items() if k != "id"} for a in d["added_tokens"]}})


def check_transformers(title, command, folder, texts, directory):
    """AutoTokenizer of the folder gives the ids that versavit gives, and so does what it saves."""
    def compare():
        loaded = AutoTokenizer.from_pretrained(folder)
        saved = os.path.join(directory, "saved")
        loaded.save_pretrained(saved)
        want = [loaded.encode(t) for t in texts]
        return all([compared(f"{title}: {name}", texts, want, tokenize(command, path, texts, directory, "--special"))
                    for name, path in (("loaded", folder), ("saved", saved))])

    return attempt(title, compare)


def show_speed(command, path, text, directory, name):
    file = os.path.join(directory, "text")
    with open(file, "w", encoding="utf-8") as f:
        f.write(text)
    print(f"note {name}: {run(command, 'tokenize', '--tokenizer', path, '--whole', '--time', file).strip()}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--versavit", default="build/versavit", help="the command")
    p.add_argument("--tokenizer", default="data/tokenizer", help="the committed tokenizer's folder")
    p.add_argument("--size", type=int, default=SIZE, help="tokens of the larger one")
    a = p.parse_args()
    rng, texts = random.Random(9), nasty(STRINGS, 10)
    with tempfile.TemporaryDirectory() as directory:
        tiny = Tokenizer.from_file(os.path.join(a.tokenizer, "tokenizer.json"))
        code = library(3_000_000)
        large = construct(code[::2] + [chinese(rng, 300_000)] + nasty(2000, 11), a.size)
        path, two = os.path.join(directory, "large.json"), os.path.join(directory, "two")
        large.save(path)
        split_files(large, two)
        ok = check("tiny", a.versavit, tiny, a.tokenizer, texts, directory)
        ok &= check(f"{a.size} tokens", a.versavit, large, path, texts + code[1::16], directory)
        ok &= check(f"{a.size} tokens, two files", a.versavit, large, two, texts[::10], directory)
        ok &= check_sweep(f"{a.size} tokens: every character", a.versavit, large, path, directory)
        ok &= check_transformers("transformers", a.versavit, a.tokenizer, texts[::5], directory)
        show_speed(a.versavit, path, "\n".join(code[1::2]) + chinese(rng, 500_000), directory, "code, English and Chinese")
        show_speed(a.versavit, path, "a" * 1_000_000, directory, "one letter a million times")
    print("check_tokenizer:", "all agree" if ok else "something differs")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
