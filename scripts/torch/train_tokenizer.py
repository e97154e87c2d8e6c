#!/usr/bin/env python3
"""Trains the tiny tokenizer of data/tokenizer: train_tokenizer.py [-o data/tokenizer]

The construction of Qwen2 and Qwen3 (NFC, their pattern, byte-level BPE, their 26 added tokens after the vocabulary) with 512
tokens: 256 bytes, 230 merges learnt from sentences about simple scenes that this script makes up, and the added ones. The same
script writes the same bytes. Besides tokenizer.json it writes tokenizer_config.json (so that transformers loads the folder)
and generation_config.json (the ids that end an answer).
"""
import argparse
import json
import os
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SIZE = 512
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
           r"\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
ADDED = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
         "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"]


# ---- what it learns from ----------------------------------------------------------------------------------------------

COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "white", "black", "grey", "brown", "pink"]
SHAPES = ["sphere", "box", "cylinder", "cone"]
SIZES = ["small", "large", "tall", "flat"]
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PLACES = ["on the left", "on the right", "in the middle", "in front", "at the back", "at the top", "at the bottom"]
SIDES = ["to the left of", "to the right of", "in front of", "behind", "nearer than", "farther than", "above", "below"]


def plural(shape, n):
    """cone, cones; box, boxes"""
    return shape if n == 1 else shape + ("es" if shape == "box" else "s")


def thing(rng):
    """red sphere, large blue box"""
    size = rng.choice(SIZES) + " " if rng.random() < 0.3 else ""
    return f"{size}{rng.choice(COLOURS)} {rng.choice(SHAPES)}"


def statement(rng):
    """A caption's sentence."""
    n = rng.randrange(1, 10)
    a, b = thing(rng), thing(rng)
    return rng.choice([
        f"A {a} stands {rng.choice(PLACES)}.",
        f"The {a} is {rng.choice(SIDES)} the {b}.",
        f"There {'is' if n == 1 else 'are'} {NUMBERS[n]} {rng.choice(COLOURS)} {plural(rng.choice(SHAPES), n)} in the picture.",
        f"A scene with a {a}, a {b} and a {thing(rng)} on a {rng.choice(COLOURS)} floor.",
        f"The {a} and the {b} have the same colour.",
        f"The nearest object is a {a}, the farthest one a {b}.",
    ])


def question(rng):
    """A question and its answer."""
    n = rng.randrange(0, 10)
    a, b = thing(rng), thing(rng)
    return rng.choice([
        f"How many {rng.choice(COLOURS)} {plural(rng.choice(SHAPES), 2)} are there?\n{n}",
        f"How many objects are {rng.choice(PLACES)}?\n{NUMBERS[n]}",
        f"Is there a {a} in the picture?\n{rng.choice(['Yes', 'No'])}.",
        f"Is the {a} nearer than the {b}?\n{rng.choice(['Yes', 'No'])}, it is {rng.choice(['nearer', 'farther'])}.",
        f"What colour is the {rng.choice(SHAPES)} {rng.choice(PLACES)}?\n{rng.choice(COLOURS)}",
        f"What is {rng.choice(SIDES)} the {a}?\nThe {b}.",
        f"Which shape is {rng.choice(PLACES)}?\nA {rng.choice(SHAPES)}.",
        f"Which object is farther, the {a} or the {b}?\nThe {a}.",
        "Describe the picture.\n" + statement(rng),
    ])


def corpus(n=6000, seed=1):
    """n texts, always the same."""
    rng = random.Random(seed)
    return [" ".join(statement(rng) for _ in range(rng.randrange(1, 4))) if rng.random() < 0.5 else question(rng) for _ in range(n)]


# ---- the construction -------------------------------------------------------------------------------------------------

def construct(texts, size):
    """A Tokenizer of Qwen's construction with `size` tokens, the added ones among them and last."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated", invert=False),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size - len(SPECIAL) - len(ADDED), special_tokens=[], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(texts, trainer)
    t.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in SPECIAL])
    t.add_tokens([AddedToken(s, normalized=False, special=False) for s in ADDED])
    as_published = json.loads(t.to_str())  # flags without effect, as Qwen's file has them
    as_published["decoder"].update(add_prefix_space=False, trim_offsets=False, use_regex=False)
    as_published["model"].update(continuing_subword_prefix="", end_of_word_suffix="")
    return Tokenizer.from_str(json.dumps(as_published))


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-o", default="data/tokenizer", help="the folder to write in")
    out = p.parse_args().o
    t = construct(corpus(), SIZE)
    os.makedirs(out, exist_ok=True)
    t.save(os.path.join(out, "tokenizer.json"), pretty=True)
    end, stop = t.token_to_id("<|endoftext|>"), t.token_to_id("<|im_end|>")
    write_json(os.path.join(out, "tokenizer_config.json"),
               {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>",
                "pad_token": "<|endoftext|>", "unk_token": None, "errors": "replace", "split_special_tokens": False,
                "clean_up_tokenization_spaces": False})
    write_json(os.path.join(out, "generation_config.json"),
               {"bos_token_id": end, "eos_token_id": [stop, end], "pad_token_id": end, "do_sample": False})
    print(f"{out}: {t.get_vocab_size()} tokens")
    for text in ("Two red spheres are to the left of the blue box.", "How many yellow cones are there?\n3"):
        print(json.dumps(text), t.encode(text).ids)
    print(", ".join(f"{s} {t.token_to_id(s)}" for s in SPECIAL + ADDED))


if __name__ == "__main__":
    main()
