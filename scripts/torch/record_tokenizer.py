#!/usr/bin/env python3
"""Records what the `tokenizers` library makes of nasty strings: record_tokenizer.py [-o golden/torch/tokenizer-ids.json]

Of data/tokenizer/tokenizer.json. The file is one JSON object:
  versions   of tokenizers and python
  encode     [text, ids without added tokens in the text, ids with them, bytes of each piece without them]; the ids with
             them are null where they are the same
  decode     [ids, text, text without special tokens]; the last is null where it is the same
  chat       conversations: turns [role, text, pictures, marks], image_tokens, options, and the ids and labels that follow
             from the text that the template of Qwen renders, its spans of characters, and the offsets of the tokens
Strings of the recording use only characters that Unicode 9 has, whose properties and compositions everybody agrees on.
"""
import argparse
import json
import platform
import random

import tokenizers
from tokenizers import Regex, Tokenizer, pre_tokenizers

from train_tokenizer import ADDED, PATTERN, SPECIAL, corpus

WORDS = ["Two red spheres", " the box", "don't", "DON'T", "I'll we've they're she'd I'm it's", "'S 'T 'RE 'VE 'M 'LL 'D", "'\u017f", "l'\u017f'\u212a'd",
         "x'st", "a'real'vest'tin'mad'llama'dog", "3.14", "1234567", "\u0663\u0664", "\u00bd\u00b2\u2167", "\U0001d7d8\U0001d7ff", "na\u00efve", "nai\u0308ve", "\u212bngstr\u00f6m",
         "A\u030angstro\u0308m", "\u4e2d\u6587\u5206\u8bcd", "\u7ea2\u8272\u7684\u7403\uff0c\u84dd\u8272\u7684\u76d2\u5b50\u3002", "\u65e5\u672c\u8a9e\u304b\u3099",
         "\u304c\u30ab\u3099", "\ud55c\uad6d\uc5b4", "\u1112\u1161\u11ab", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u05d0\u05d1\u05bc", "\u0915\u093c\u0958",
         "\u0e44\u0e17\u0e22", "\u03a9\u2126", "\u1e9b\u0323", "q\u0307\u0323", "a\u0315\u0300\u05ae\u0300b", "\u0344", "\u0f73", "\U0001f600",
         "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U00020000\U0002f800", "\uf900\ufa10", "\ufb01\ufb1d", "\u01c5\u02b0\u0660\u2160\u24b6",
         "int main(void)\n{\n\treturn x[0]->y != 1;\n}\n", "https://example.org/a?b=c&d=%20#e", "a@b.c", "C:\\Program Files\\x", "<image>", "</s>", "`~!@#$%^&*()_+-={}[]|:;<>,.?/",
         "\u2014\u2026\u201cquoted\u201d", "...\n\n", "!?\r\n", "e\u0301\u0301", "\ufffd", "\ufeff", "\u0000", "\u0001\u001f\u007f", "\ue000", "\uffff", "\U0010ffff", "\u00ad"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\u00a0", "\u1680", "\u180e", "\u2003", "\u200b", "\u2028", "\u2029", "\u202f",
          "\u205f", "\u3000", "\u0085", "\v", "\f", "\u2000 ", " \u3000\n", "\t \t", "\x1c", "\x1f"]
BROKEN = ["<|im_end", "|im_end|>", "<|im_end|", "<<|im_end|>>", "<|im_start|><|im_end|>", "<|IM_END|>", "<| im_end |>", "<think", "<|image_pad|>\u0301", "<|image_pad|>" * 5]
MARKS = ["\u0300", "\u0301", "\u0323", "\u0307", "\u0327", "\u0345", "\u3099", "\u093c", "\u05b0", "\u0655", "\u302a", "\u20d0"]
BASES = "aeiouAEIOUsdqcnz" + "\u0391\u03b1\u03c9\u0415\u0438\u0928\u304b\u30cf\u0627\u1fbf\u1100\u00e1\u1ea5\u4e2d\u212b"


def piece(rng):
    """A few characters of one kind."""
    kind = rng.randrange(8)
    if kind < 3:
        return rng.choice(WORDS)
    if kind == 3:
        return "".join(rng.choice(SPACES) for _ in range(rng.randrange(1, 4)))
    if kind == 4:
        return rng.choice(BROKEN + SPECIAL + ADDED)
    if kind == 5:
        return rng.choice(BASES) + "".join(rng.choice(MARKS) for _ in range(rng.randrange(1, 5)))
    if kind == 6:
        return rng.choice("a1 .\n\u4e2d'") * rng.choice([1, 2, 3, 10, 45, 47, 95, 97, 200])
    return rng.choice([" ", ""]) + rng.choice(["sphere", "spheres", "cylinder", "green", "nearer", "Describe", "picture", "eight", "seventeen", "unbelievable"])


def nasty(n, seed):
    """n strings: each piece alone, then pieces together."""
    rng = random.Random(seed)
    alone = [""] + WORDS + SPACES + BROKEN + SPECIAL + ADDED + [w + " " + w for w in WORDS] + ["x" + s + "y" for s in SPACES]
    return (alone + ["".join(piece(rng) for _ in range(rng.randrange(2, 9))) for _ in range(max(0, n - len(alone)))])[:n]


def without_added(tokenizer):
    """The same tokenizer that finds no added token in a text. (encode_special_tokens would still find those that are not special.)"""
    d = json.loads(tokenizer.to_str())
    d["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(d))


def encodings(tokenizer, texts):
    bare = without_added(tokenizer)
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated", invert=False)
    out = []
    for text in texts:
        plain, special = bare.encode(text).ids, tokenizer.encode(text).ids
        pieces = [len(s.encode()) for s, _ in split.pre_tokenize_str(bare.normalizer.normalize_str(text))]
        out.append([text, plain, None if special == plain else special, pieces])
    return out


def decodings(tokenizer, n, seed):
    """Random ids: bytes that make no character, special tokens, ids without a token."""
    rng, size, out = random.Random(seed), tokenizer.get_vocab_size(), []
    for _ in range(n):
        top = rng.choice([256, size, size + 20])
        ids = [rng.randrange(top) for _ in range(rng.randrange(0, 12))]
        shown, skipped = tokenizer.decode(ids, skip_special_tokens=False), tokenizer.decode(ids, skip_special_tokens=True)
        out.append([ids, shown, None if shown == skipped else skipped])
    return out


# ---- conversations ------------------------------------------------------------------------------------------------------

def rendered(turns, image_tokens, options):
    """The template's text, and the spans of it that are supervised."""
    text, spans, sizes = "", [], iter(image_tokens)

    def picture():
        return "<|vision_start|>" + "<|image_pad|>" * next(sizes) + "<|vision_end|>"

    if options.get("system") and turns[0][0] != "system":
        text += f"<|im_start|>system\n{options['system']}<|im_end|>\n"
    for role, content, images, marks in turns:
        text += f"<|im_start|>{role}\n"
        if marks:
            parts = [p.strip(" \t\r\n\v\f") for p in content.split("<image>")]
            content = parts[0] + "".join(picture() + p for p in parts[1:])
        else:
            content = "".join(picture() for _ in range(images)) + content
        if role == "assistant" and options.get("think_empty"):
            text += "<think>\n\n</think>\n\n"
        begin = len(text)
        text += content + "<|im_end|>"
        if role == "assistant":
            spans.append((begin, len(text) + bool(options.get("supervise_newline"))))
        text += "\n"
    return text, spans


def conversation(tokenizer, turns, image_tokens=(), **options):
    text, spans = rendered(turns, image_tokens, options)
    e = tokenizer.encode(text)
    labels = [i if any(b <= o[0] and o[1] <= end for b, end in spans) else -100 for i, o in zip(e.ids, e.offsets)]
    return {"turns": turns, "image_tokens": list(image_tokens), "options": options, "ids": e.ids, "labels": labels}


def conversations(tokenizer):
    ask, tell = "How many red spheres are there?", "three"
    return [
        conversation(tokenizer, [["user", "What is this?", 1, 0], ["assistant", "A cat.", 0, 0]], [4]),
        conversation(tokenizer, [["user", ask, 0, 0], ["assistant", tell, 0, 0]], supervise_newline=1),
        conversation(tokenizer, [["user", ask, 2, 0], ["assistant", tell, 0, 0], ["user", "And cones?", 0, 0], ["assistant", "No.", 0, 0]], [3, 1]),
        conversation(tokenizer, [["user", ask, 1, 0], ["assistant", tell, 0, 0], ["user", "<image>Here?", 1, 1], ["assistant", "No.", 0, 0]], [3, 1]),
        conversation(tokenizer, [["user", "<image>\n" + ask, 1, 1], ["assistant", tell, 0, 0]], [9]),
        conversation(tokenizer, [["user", ask + "\n<image>", 1, 1], ["assistant", tell, 0, 0]], [2]),
        conversation(tokenizer, [["user", "This <image> or that\t<image>\r\n?", 2, 1], ["assistant", "The former.", 0, 0]], [2, 5]),
        conversation(tokenizer, [["user", ask, 1, 0], ["assistant", tell, 0, 0]], [1], system="You are a helpful assistant."),
        conversation(tokenizer, [["system", "Count.", 0, 0], ["user", ask, 1, 0], ["assistant", tell, 0, 0]], [1], system="Not this one."),
        conversation(tokenizer, [["user", ask, 1, 0], ["assistant", tell, 0, 0]], [1], think_empty=1),
        conversation(tokenizer, [["user", "\n\n  assistant\nYes", 0, 0], ["assistant", "assistant", 0, 0]]),
        conversation(tokenizer, [["user", "", 1, 0], ["assistant", "", 0, 0]], [1]),
        conversation(tokenizer, [["user", "na\u0131\u0308ve \u4e2d\u6587?", 0, 0], ["assistant", "\U0001f600 e\u0301", 0, 0]], supervise_newline=1),
        conversation(tokenizer, [["assistant", "I begin.", 0, 0], ["user", "Go on", 0, 0]]),
    ]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-o", default="golden/torch/tokenizer-ids.json")
    p.add_argument("--tokenizer", default="data/tokenizer/tokenizer.json")
    a = p.parse_args()
    t = Tokenizer.from_file(a.tokenizer)
    record = {"versions": {"tokenizers": tokenizers.__version__, "python": platform.python_version()},
              "encode": encodings(t, nasty(500, 3) + corpus(30, 7)), "decode": decodings(t, 150, 4), "chat": conversations(t)}
    lines = [f'"{k}": ' + (json.dumps(v) if isinstance(v, dict) else "[\n" + ",\n".join(json.dumps(x, separators=(",", ":")) for x in v) + "\n]")
             for k, v in record.items()]
    with open(a.o, "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{a.o}: {len(record['encode'])} texts, {len(record['decode'])} lists of ids, {len(record['chat'])} conversations")


if __name__ == "__main__":
    main()
