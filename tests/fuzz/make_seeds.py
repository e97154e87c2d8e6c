#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus by hand, byte by byte (no library that might share our mistakes).

    python3 tests/fuzz/make_seeds.py [tests/fuzz/corpus]

Names: ok-* must be accepted and bad-* refused, which tests/io/test_corpus.c checks; files found by fuzzing are named
by their hash and may be either. Files that are there already are overwritten, others left alone."""
import json
import os
import struct
import sys
import zlib

ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, data):
    os.makedirs(os.path.join(ROOT, target), exist_ok=True)
    with open(os.path.join(ROOT, target, name), "wb") as f:
        f.write(data.encode() if isinstance(data, str) else data)


# ---- safetensors: u64 length, JSON, bytes -----------------------------------------------------------------------
SIZE = dict(BOOL=1, U8=1, I8=1, I16=2, U16=2, F16=2, BF16=2, I32=4, U32=4, F32=4, F64=8, I64=8, U64=8)


def st(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else header.encode() if isinstance(header, str) else json.dumps(
        header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors():
    def ok(name, data): put("safetensors", "ok-" + name, data)
    def bad(name, data): put("safetensors", "bad-" + name, data)
    ok("empty", st("{}"))
    ok("space-before", st(" \n{}"))
    ok("space-after", st("{}      "))
    ok("metadata", st({"__metadata__": {"format": "pt", "a": ""}}))
    ok("metadata-null", st('{"__metadata__":null}'))
    ok("scalar", st({"a": entry("F32", [], 0, 4)}, b"\0\0\x80\x3f"))
    ok("zero-size", st({"a": entry("F64", [3, 0, 2], 0, 0), "b": entry("U8", [2], 0, 2)}, b"ab"))
    ok("names", st('{"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                   '"/../\\u00e9":{"dtype":"U8","shape":[1],"data_offsets":[1,2],"x":[{}]}}', b"\1\2"))
    header, at = {}, 0
    for t, s in SIZE.items():
        header[t] = entry(t, [2, 1], at, at + 2 * s)
        at += 2 * s
    ok("all-types", st(header, bytes(i & 1 for i in range(at))))
    ok("nan", st({"a": entry("BF16", [4], 0, 8), "b": entry("F16", [3], 8, 14)},
                 b"\xc1\xff\x81\x7f\x01\x00\x80\xff" + b"\x01\x7c\x01\x00\x00\xfc"))
    ok("big-u64", st({"a": entry("U64", [1], 0, 8)}, b"\xff" * 8))
    ok("bool-of-2", st({"a": entry("BOOL", [2], 0, 2)}, b"\1\2"))
    # the seeds of the original's own tests
    bad("ten-on-one-range", st({"t%d" % i: entry("F32", [2, 2], 0, 16) for i in range(10)}, b"\0" * 16))
    bad("two-bytes-missing", st({"a": entry("I32", [2, 2], 0, 16)}, b"\0" * 14))
    bad("extra-bytes", st({"a": entry("I32", [2, 2], 0, 16)}, b"\0" * 18))
    bad("length-huge", struct.pack("<Q", 0xFFFFFF000000003C) + b'{"a":')
    bad("one-byte-ff", st(b"\xff"))
    bad("one-byte-brace", st(b"{"))
    # truncated
    bad("nothing", b"")
    bad("seven-bytes", b"\2\0\0\0\0\0\0")
    bad("length-beyond", struct.pack("<Q", 3) + b"{}")
    bad("length-over-limit", struct.pack("<Q", 100000001) + b"{}")
    whole = st({"a": entry("F32", [2], 0, 8)}, b"\0" * 8)
    bad("cut-header", whole[:30])
    bad("cut-data", whole[:-1])
    # hostile
    bad("hole", st({"a": entry("U8", [1], 0, 1), "b": entry("U8", [1], 2, 3)}, b"abc"))
    bad("overlap", st({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, b"abc"))
    bad("reversed", st({"a": entry("U8", [0], 1, 0)}, b""))
    bad("overflow-before-0", st({"a": entry("U8", [1 << 40, 1 << 40, 0], 0, 0)}))
    bad("overflow-bytes", st({"a": entry("F64", [1 << 61], 0, 0)}))
    bad("offset-2-63", st('{"a":{"dtype":"U8","shape":[1],"data_offsets":[9223372036854775807,9223372036854775808]}}'))
    bad("offset-max", st({"a": entry("U8", [1], (1 << 63) - 2, (1 << 63) - 1)}, b"a"))
    bad("negative", st({"a": entry("U8", [-1], 0, -1)}))
    bad("fraction", st('{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', b"a"))
    bad("exponent", st('{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}', b"a"))
    bad("duplicate", st('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                        '"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"a"))
    bad("duplicate-metadata", st('{"__metadata__":{},"__metadata__":{}}'))
    bad("metadata-number", st('{"__metadata__":{"a":1}}'))
    bad("dtype-fp8", st({"a": entry("F8_E4M3", [1], 0, 1)}, b"a"))
    bad("dtype-unknown", st({"a": entry("F31", [1], 0, 1)}, b"a"))
    bad("dtype-missing", st('{"a":{"shape":[1],"data_offsets":[0,1]}}', b"a"))
    bad("rank-9", st({"a": entry("U8", [1] * 9, 0, 1)}, b"a"))
    bad("not-utf8", st(b'{"\xc3\x28":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'))
    bad("nul-in-name", st('{"a\\u0000b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'))
    bad("nul-in-header", st(b"{}\0"))
    bad("root-array", st("[]"))
    bad("text-after", st("{}{}"))
    bad("deep", st('{"a":' + "[" * 3000))
    bad("deep-legal-json", st('{"a":' + "[" * 2000 + "]" * 2000 + "}"))


# ---- npy: magic, version, length, a Python dict, data -----------------------------------------------------------
def npy(text, data=b"", version=1, length=None, pad=True):
    base = 10 if version == 1 else 12
    body = text.encode("latin1")
    if pad:
        body += b" " * (-(base + len(body) + 1) % 64) + b"\n"
    n = len(body) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + (struct.pack("<H", n) if version == 1 else struct.pack("<I", n)) + body + data


def dict_of(descr, shape, order="False"):
    return "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape)


def npys():
    def ok(name, data): put("npy", "ok-" + name, data)
    def bad(name, data): put("npy", "bad-" + name, data)
    for d, s in [("<f2", 2), ("<f4", 4), ("<f8", 8), ("<i2", 2), ("<i4", 4), ("<i8", 8), ("<u2", 2), ("<u4", 4),
                 ("<u8", 8), ("|u1", 1), ("|i1", 1), ("|b1", 1)]:
        ok("type-" + d[1:], npy(dict_of(d, "(2,)"), bytes(i & 1 for i in range(2 * s))))
    ok("version-2", npy(dict_of("<f4", "(1, 2)"), b"\0" * 8, 2))
    ok("version-3", npy(dict_of("<f4", "()"), b"\0" * 4, 3))
    ok("zero-size", npy(dict_of("<f8", "(3, 0)")))
    ok("unpadded", npy('{"shape":(1,),"fortran_order":False,"descr":"|u1"}\n', b"a", pad=False))
    ok("fortran", npy(dict_of("<f4", "(3, 2)", "True"), b"\0" * 24))
    ok("fortran-one", npy(dict_of("<f4", "(1,)", "True"), b"\0" * 4))
    ok("fortran-none", npy(dict_of("<f4", "(3, 0)", "True")))
    ok("python-2", npy(dict_of("<f4", "(1L, 2L)"), b"\0" * 8))
    bad("nothing", b"")
    bad("magic", b"\x93NUMPZ\1\0")
    bad("cut-length", b"\x93NUMPY\2\0\x76\0\0")
    bad("version-4", npy(dict_of("<f4", "()"), b"\0" * 4, 3).replace(b"NUMPY\3", b"NUMPY\4"))
    bad("length-0", npy("", length=0, pad=False))
    bad("length-beyond", npy(dict_of("<f4", "()"), b"\0" * 4, length=65535))
    bad("length-4g", npy(dict_of("<f4", "()"), b"\0" * 4, 2, 0xFFFFFFFF))
    bad("no-newline", npy(dict_of("<f4", "()"), b"\0" * 4, pad=False))
    bad("big-endian", npy(dict_of(">f4", "()"), b"\0" * 4))
    bad("complex", npy(dict_of("<c8", "()"), b"\0" * 8))
    bad("object", npy(dict_of("|O", "()"), b"\0" * 8))
    bad("record", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", b"\0" * 4))
    bad("cut-data", npy(dict_of("<f4", "(2,)"), b"\0" * 7))
    bad("extra-data", npy(dict_of("<f4", "(2,)"), b"\0" * 9))
    bad("number-for-shape", npy(dict_of("<f4", "(3)"), b"\0" * 12))
    bad("negative", npy(dict_of("<f4", "(-1,)")))
    bad("overflow", npy(dict_of("<f4", "(9223372036854775807, 9223372036854775807)")))
    bad("overflow-digits", npy(dict_of("<f4", "(99999999999999999999,)")))
    bad("overflow-before-0", npy(dict_of("<f4", "(4294967296, 4294967296, 0)")))
    bad("rank-9", npy(dict_of("|u1", "(" + "1, " * 9 + ")"), b"a"))
    bad("key-twice", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", b"\0" * 4))
    bad("key-missing", npy("{'descr': '<f4', 'shape': ()}", b"\0" * 4))
    bad("key-unknown", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}", b"\0" * 4))
    bad("open-quote", npy("{'descr': '<f4", b"\0" * 4))
    bad("text-after", npy(dict_of("<f4", "()") + "x", b"\0" * 4))


# ---- PNG ---------------------------------------------------------------------------------------------------------
def chunk(kind, data, crc=None):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)


SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def rows(w, h, kind, depth, value=lambda i: i * 37 & 255):
    out = b""
    for y in range(h):
        n = (w * depth * CHANNELS[kind] + 7) // 8
        out += bytes([y % 5]) + bytes(value(y * n + i) for i in range(n)) # every filter in turn
    return out


def adam7(w, h, kind, depth):
    out = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        pw, ph = (w - x0 + dx - 1) // dx, (h - y0 + dy - 1) // dy
        if pw > 0 and ph > 0:
            out += rows(pw, ph, kind, depth)
    return out


def png(w, h, kind, depth, interlace=0, before=b"", data=None, after=chunk(b"IEND", b""), head=None):
    packed = zlib.compress(data if data is not None else adam7(w, h, kind, depth) if interlace else rows(w, h, kind, depth), 9)
    ihdr = struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlace) if head is None else head
    return SIGNATURE + chunk(b"IHDR", ihdr) + before + chunk(b"IDAT", packed) + after


def pngs():
    def ok(name, data): put("png", "ok-" + name, data)
    def bad(name, data): put("png", "bad-" + name, data)
    palette = chunk(b"PLTE", bytes(range(256)) * 3)
    for kind, depths in [(0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))]:
        for depth in depths:
            plte = chunk(b"PLTE", bytes(range(3 << depth))) if kind == 3 and depth < 8 else palette if kind == 3 else b""
            ok("type%d-depth%d" % (kind, depth), png(3, 4, kind, depth, before=plte))
    ok("adam7", png(9, 10, 2, 8, 1))
    ok("adam7-1x1-2bit", png(1, 1, 0, 2, 1))
    ok("trns", png(2, 2, 3, 8, before=palette + chunk(b"tRNS", bytes(8))))
    ok("trns-rgb", png(2, 2, 2, 8, before=chunk(b"tRNS", bytes(6))))
    ok("metadata", png(2, 1, 0, 8, before=chunk(b"gAMA", struct.pack(">I", 45455)) +
                       chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200))) + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(99)))))
    ok("after-the-end", png(1, 1, 0, 8) + b"anything")
    bad("signature", SIGNATURE)
    bad("no-data", SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + chunk(b"IEND", b""))
    whole = png(3, 4, 2, 8)
    bad("cut-header", whole[:20])
    bad("cut-data", whole[:50])
    bad("no-end", whole[:-12])
    bad("crc", whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    bad("size-0", png(0, 1, 0, 8, data=b"\0"))
    bad("size-2-31", png(1, 1, 0, 8, head=struct.pack(">IIBBBBB", 1 << 31, 1, 8, 0, 0, 0, 0)))
    bad("size-65536", png(1, 1, 0, 8, head=struct.pack(">IIBBBBB", 65536, 1, 8, 0, 0, 0, 0)))
    bad("bomb", png(1, 1, 0, 1, head=struct.pack(">IIBBBBB", 16384, 16384, 1, 0, 0, 0, 0)))
    bad("too-few-rows", png(4, 400, 2, 8, data=rows(4, 4, 2, 8)))
    bad("depth-3", png(1, 1, 0, 3, data=bytes(2)))
    bad("type-5", png(1, 1, 0, 8, head=struct.pack(">IIBBBBB", 1, 1, 8, 5, 0, 0, 0)))
    bad("interlace-2", png(1, 1, 0, 8, head=struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 2)))
    bad("filter-9", png(1, 1, 0, 8, data=b"\x09\0"))
    bad("no-palette", png(1, 1, 3, 8))
    bad("index-beyond", png(2, 1, 3, 8, before=chunk(b"PLTE", bytes(3)), data=b"\0\0\1"))
    bad("critical-unknown", png(1, 1, 0, 8, before=chunk(b"ABCD", b"x")))
    bad("length-2-31", SIGNATURE + struct.pack(">I", 0xFFFFFFFF) + b"IHDR")


# ---- JPEG: flat blocks, so that no cosine transform is needed here ------------------------------------------------
def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


# Two DC codes (0: no change, 1: category 3) and one AC code (0: end of block), each symbol with its own length.
DHT_DC = segment(0xC4, b"\x00" + bytes([1, 1] + [0] * 14) + b"\x00\x03")
DHT_AC = segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\x00")
DQT = segment(0xDB, b"\x00" + bytes([16] * 64))
APP0 = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")


def bits(text):
    text += "1" * (-len(text) % 8)
    return bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8)).replace(b"\xff", b"\xff\0")


def sof(marker, w, h, sampling, precision=8):
    return segment(marker, struct.pack(">BHHB", precision, h, w, len(sampling)) +
                   b"".join(bytes([i + 1, s, 0]) for i, s in enumerate(sampling)))


def sos(n, spectral=b"\x00\x3f\x00"):
    return segment(0xDA, bytes([n]) + b"".join(bytes([i + 1, 0]) for i in range(n)) + spectral)


def jpeg(w, h, sampling, blocks, marker=0xC0, head=b"", between=b"", tables=DHT_DC + DHT_AC, end=b"\xff\xd9"):
    scan = bits(("10" + "101" + "0") + "00" * (blocks - 1)) # the first block lighter by 5, the others the same
    return b"\xff\xd8" + APP0 + head + DQT + sof(marker, w, h, sampling) + tables + between + sos(len(sampling)) + scan + end


def progressive(w, h, scans):
    """Grey, one DC scan (its low bit later) and AC scans without coefficients."""
    out = b"\xff\xd8" + APP0 + DQT + sof(0xC2, w, h, [0x11]) + DHT_DC + DHT_AC
    out += sos(1, b"\x00\x00\x01") + bits("10" + "101") + sos(1, b"\x00\x00\x10") + bits("1")
    for i in range(scans):
        out += sos(1, bytes([1 + i % 63, 1 + i % 63, 0])) + bits("0")
    return out + b"\xff\xd9"


def jpegs():
    def ok(name, data): put("jpeg", "ok-" + name, data)
    def bad(name, data): put("jpeg", "bad-" + name, data)
    ok("grey-1x1", jpeg(1, 1, [0x11], 1))
    ok("grey-17x9", jpeg(17, 9, [0x11], 6))
    ok("444", jpeg(8, 8, [0x11] * 3, 3))
    ok("420", jpeg(16, 16, [0x22, 0x11, 0x11], 6))
    ok("422", jpeg(20, 8, [0x21, 0x11, 0x11], 8))
    ok("rgb", jpeg(8, 8, [0x11] * 3, 3, head=segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")))
    ok("restart", b"\xff\xd8" + DQT + sof(0xC0, 16, 8, [0x11]) + DHT_DC + DHT_AC + segment(0xDD, b"\0\1") + sos(1) +
       bits("101010") + b"\xff\xd0" + bits("101010") + b"\xff\xd9")
    ok("progressive", progressive(8, 8, 3))
    ok("extended", jpeg(8, 8, [0x11], 1, marker=0xC1))
    ok("after-the-end", jpeg(1, 1, [0x11], 1) + b"anything")
    ok("comment", jpeg(1, 1, [0x11], 1, head=segment(0xFE, b"hello") + segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0")))
    whole = jpeg(16, 16, [0x22, 0x11, 0x11], 6)
    bad("start-only", b"\xff\xd8\xff")
    bad("cut-header", whole[:40])
    bad("cut-scan", whole[:-4])
    bad("no-end", whole[:-2])
    bad("no-tables", jpeg(8, 8, [0x11], 1, tables=b""))
    bad("no-quantisation", whole.replace(DQT, b""))
    bad("cmyk", jpeg(8, 8, [0x11] * 4, 4))
    bad("two-components", jpeg(8, 8, [0x11] * 2, 2))
    bad("size-0", jpeg(0, 8, [0x11], 1))
    bad("height-0", jpeg(8, 0, [0x11], 1))
    bad("bomb", jpeg(65500, 65500, [0x11], 1))
    bad("bomb-wide", jpeg(65535, 8, [0x22, 0x11, 0x11], 1))
    bad("sampling-0", jpeg(8, 8, [0x00], 1))
    bad("sampling-5", jpeg(8, 8, [0x55], 1))
    bad("arithmetic", jpeg(8, 8, [0x11], 1, marker=0xC9))
    bad("lossless", jpeg(8, 8, [0x11], 1, marker=0xC3))
    bad("twelve-bits", whole.replace(sof(0xC0, 16, 16, [0x22, 0x11, 0x11]), sof(0xC1, 16, 16, [0x22, 0x11, 0x11], 12)))
    bad("length-0", b"\xff\xd8\xff\xe0\0\0")
    bad("scans", progressive(8, 8, 600))
    bad("huffman", jpeg(8, 8, [0x11], 1, tables=segment(0xC4, b"\x00" + bytes([255] * 16) + bytes(16)) + DHT_AC))


# ---- configurations ----------------------------------------------------------------------------------------------
TOWER = {"depth": 1, "embed_dim": 16, "hidden_size": 8, "mlp_ratio": 2, "num_heads": 2, "patch_size": 4,
         "temporal_patch_size": 2, "spatial_merge_size": 2, "hidden_act": "quick_gelu", "initializer_range": 0.02}
PICTURE = {"patch_size": 4, "temporal_patch_size": 2, "merge_size": 2, "min_pixels": 64, "max_pixels": 4096,
           "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}


def configs():
    def ok(name, data): put("config", "ok-" + name, data if isinstance(data, str) else json.dumps(data))
    def bad(name, data): put("config", "bad-" + name, data if isinstance(data, (str, bytes)) else json.dumps(data))
    ok("tower", TOWER)
    ok("tower-nested", {"model_type": "qwen2_vl", "vision_config": TOWER})
    ok("tower-real-ratio", dict(TOWER, mlp_ratio=4.0, hidden_act="gelu", in_chans=3))
    ok("preprocessor", dict(PICTURE, do_resize=True, do_rescale=None, resample=3, rescale_factor=1 / 255))
    ok("preprocessor-size", dict(patch_size=14, merge_size=2, size={"shortest_edge": 3136, "longest_edge": 100352}))
    ok("preprocessor-fixed", dict(PICTURE, fixed_size=[16, 24]))
    ok("preprocessor-one", dict(PICTURE, patch_size=1, merge_size=1, temporal_patch_size=1, min_pixels=1, max_pixels=1))
    ok("run", {"comment": "x", "vision_config": TOWER, "preprocessor": PICTURE})
    ok("run-large", {"vision_config": dict(TOWER, depth=64, embed_dim=1 << 20, num_heads=1, patch_size=14, mlp_ratio=64)})
    ok("nothing", {})
    bad("empty", "")
    bad("array", "[]")
    bad("cut", json.dumps(TOWER)[:50])
    bad("duplicate", '{"depth":1,"depth":2}')
    bad("nul", b'{"a":"\0"}')
    both = {"do_resize": False} # refused as a preprocessor; as a tower for the reason of each
    bad("heads", dict(both, **dict(TOWER, num_heads=3)))
    bad("depth-0", dict(both, **dict(TOWER, depth=0)))
    bad("depth-real", dict(both, **dict(TOWER, depth=1.0)))
    bad("depth-string", dict(both, **dict(TOWER, depth="1")))
    bad("channels", dict(both, **dict(TOWER, in_channels=4)))
    bad("ratio", dict(both, **dict(TOWER, mlp_ratio=2.5)))
    bad("act", dict(both, **dict(TOWER, hidden_act="relu")))
    bad("no-embed-dim", dict(both, depth=1))
    bad("fixed-odd", {"fixed_size": [27, 56]})
    bad("fixed-huge", {"fixed_size": [1 << 62, 1 << 62]})
    bad("fixed-negative", {"fixed_size": [-28, 28]})
    bad("mean-two", {"image_mean": [0.5, 0.5]})
    bad("std-0", {"image_std": [0.5, 0, 0.5]})
    bad("min-over-max", {"min_pixels": 1 << 40, "max_pixels": 784})
    bad("patch-huge", {"patch_size": 1024, "merge_size": 1024})
    bad("rescale", {"rescale_factor": 1.0})
    bad("resample", {"resample": 2})


def indexes():
    def ok(name, data): put("index", "ok-" + name, data if isinstance(data, str) else json.dumps(data))
    def bad(name, data): put("index", "bad-" + name, data if isinstance(data, str) else json.dumps(data))
    a, b = "a.safetensors", "b.safetensors"
    ok("all", {"metadata": {"total_size": 14}, "weight_map": {"x": a, "y": a, "z": b}})
    ok("one", {"weight_map": {"z": b}})
    ok("none", {"weight_map": {}})
    ok("total-wrong", {"metadata": {"total_size": 1e99}, "weight_map": {"x": a}})
    ok("total-string", {"metadata": {"total_size": "14"}, "weight_map": {"x": a, "z": b}})
    bad("empty", "")
    bad("no-map", {})
    bad("map-null", '{"weight_map":null}')
    bad("map-array", {"weight_map": ["x"]})
    bad("wrong-shard", {"weight_map": {"x": b}})
    bad("no-such-tensor", {"weight_map": {"w": a}})
    bad("no-such-file", {"weight_map": {"x": "c.safetensors"}})
    bad("number", {"weight_map": {"x": 1}})
    bad("empty-name", {"weight_map": {"x": ""}})
    bad("dot", {"weight_map": {"x": "."}})
    bad("dots", {"weight_map": {"x": ".."}})
    bad("slash", {"weight_map": {"x": "/etc/passwd"}})
    bad("up", {"weight_map": {"x": "../a.safetensors"}})
    bad("backslash", {"weight_map": {"x": "..\\a.safetensors"}})
    bad("itself", {"weight_map": {"x": "model.safetensors.index.json"}})
    bad("duplicate", '{"weight_map":{"x":"a.safetensors","x":"a.safetensors"}}')
    bad("long-name", {"weight_map": {"x": "a" * 3000}})


def tokenizers():
    def put_json(name, d): put("tokenizer", name, json.dumps(d, separators=(",", ":"), ensure_ascii=False))
    letters = [chr(b) for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    vocab = {c: i for i, c in enumerate(letters + [chr(0x100 + k) for k in range(256 - len(letters))])}
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
               r"\s*[\r\n]+|\s+(?!\S)|\s+")
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    end = {"id": 300, "content": "<e>", "special": True}

    def whole(**other):
        return dict({"added_tokens": [end], "normalizer": {"type": "NFC"},
                     "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
                     "post_processor": None, "decoder": {"type": "ByteLevel"},
                     "model": {"type": "BPE", "vocab": dict(vocab, ab=256, abc=257), "merges": ["a b", ["ab", "c"]]}}, **other)

    def model(merges, **more): return whole(model={"type": "BPE", "vocab": dict(vocab, **more), "merges": merges})
    template = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<e>"}}],
                "special_tokens": {"<e>": {"ids": [300]}}}
    put_json("ok-json", whole())
    put_json("ok-json-template", whole(post_processor={"type": "Sequence", "processors": [level, template]}))
    put_json("ok-json-bytes", model([]))
    put_json("ok-json-gap", model([], xy=1048575))
    put_json("bad-json-merge", model(["a b"]))
    put_json("bad-json-merge-one", model(["a"]))
    put_json("bad-json-id", model([], xy=1048576))
    put_json("bad-json-same-id", model([], xy=5))
    put_json("bad-json-byte", whole(model={"type": "BPE", "vocab": {}, "merges": []}))
    put_json("bad-json-added", whole(added_tokens=[end, end]))
    put_json("bad-json-appended", whole(post_processor=dict(template, special_tokens={"<e>": {"ids": [1 << 40]}})))
    put_json("bad-json-normalizer", whole(normalizer=None))
    put_json("bad-json-pattern", whole(pre_tokenizer={"type": "Split"}))
    put("tokenizer", "bad-json-cut", json.dumps(whole())[:900])
    put("tokenizer", "bad-json-nothing", "{}")
    for name, text in (("empty", ""), ("words", "Two red spheres aren't 12 boxes.\n\n  x = f(y)\r\n"), ("added", "a<e><e >abcabc</e><e>"),
                       ("cafe", "cafe\u0301 <e>\u0301 a\u0315\u0300\u05ae\u0300b \u1112\u1161\u11ab \u0344"),
                       ("chinese", "\u7ea2\u8272\u7684\u7403\uff0c\u84dd\u3000\u3002"), ("spaces", " \u180e\u3000 \u2028\n \t\x85"),
                       ("letters", "ab" * 200), ("nul", "a\0b"), ("emoji", "\U0001f468\u200d\U0001f469 \U0001d7d8'\u017f")):
        put("tokenizer", "ok-text-" + name, text)
    put("tokenizer", "ok-text-invalid", b"\xff\xc0\xafa\xed\xa0\x80\xf4\x90\x80\x80\xf0\x9f\x98 \xe4\xb8")


def manifests():
    def ok(name, *lines): put("manifest", "ok-" + name, "\n".join(json.dumps(o, separators=(",", ":")) for o in lines))
    def bad(name, *lines): put("manifest", "bad-" + name, "\n".join(json.dumps(o, separators=(",", ":")) for o in lines))
    def mask(m): return {"image": "a.png", "text": "t", "mask": m}
    def depth(**more): return dict({"image": "a.png", "depth": "d.npy"}, **more)
    talk = {"image": "a.png", "type": "count", "conversations": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
                                                                 {"role": "assistant", "content": "a"}]}
    llava = {"id": "1", "image": "a.png", "conversations": [{"from": "human", "value": "<image>\nq"}, {"from": "gpt", "value": "a"}]}
    ok("talk", talk)
    ok("llava", llava)
    ok("list", [llava, talk])
    ok("text-alone", {"conversations": talk["conversations"]})
    bad("turns", {"conversations": talk["conversations"][::-1]})
    bad("mark-twice", dict(llava, conversations=[{"from": "human", "value": "<image><image>"}, llava["conversations"][1]]))
    bad("no-image", dict(talk, image="x.png"))
    bad("list-in-list", [[]])
    put("manifest", "bad-list-cut", "[{},")
    put("manifest", "bad-empty", "")
    ok("depth", depth(kind="depth", valid="b.png", classes="b.png"))
    ok("pfm", depth(depth="e.pfm"))
    ok("depth-png", depth(depth="b.png"))
    bad("depth-wide", depth(depth="c.png"))
    bad("depth-kind", depth(kind="metres"))
    bad("depth-colour", depth(depth="a.png"))
    ok("mask", mask("b.png"))
    ok("mask-wide", mask("c.png"))
    ok("rle", mask({"size": [5, 7], "counts": [0, 3, 30, 2]}))
    ok("rle-narrow", mask({"size": [5, 6], "counts": [30]}))
    ok("rle-string", mask({"size": [5, 7], "counts": "77e0"}))
    bad("rle-short", mask({"size": [5, 7], "counts": [34]}))
    bad("rle-long", mask({"size": [5, 7], "counts": [36]}))
    bad("rle-negative", mask({"size": [5, 7], "counts": [-1, 36]}))
    bad("rle-huge", mask({"size": [5, 7], "counts": [1, 9223372036854775807]}))
    bad("rle-size", mask({"size": [1 << 40, 1 << 40], "counts": [0]}))
    bad("rle-digits", mask({"size": [5, 7], "counts": "PPPPPPPPPPPPPPP0"}))
    bad("rle-unfinished", mask({"size": [5, 7], "counts": "7P"}))
    bad("rle-empty", mask({"size": [5, 7], "counts": ""}))
    ok("polygons", mask({"polygons": [[0, 0, 7, 0, 7, 5, 0, 5], [1.5, 1.2, -3, 4, 2, 9.75]]}))
    ok("polygon-flat", mask({"polygons": [[1, 1, 1, 1, 1, 1]]}))
    bad("polygon-far", mask({"polygons": [[0, 0, 1e300, 0, 7, 5]]}))
    bad("polygon-odd", mask({"polygons": [[0, 0, 7, 0, 7, 5, 0]]}))
    ok("instances", {"image": "a.png", "instances": [{"text": "x", "mask": "b.png"}, {"text": "y", "mask": {"size": [5, 7], "counts": [35]}}]})
    bad("instances-none", {"image": "a.png", "instances": []})
    for order in "<", ">":
        put("manifest", "ok-pfm-" + ("little" if order == "<" else "big"),
            b"Pf\n2 1\n%s1.0\n" % (b"-" if order == "<" else b"") + struct.pack(order + "2f", 1, float("nan")))
    put("manifest", "bad-pfm-huge", b"Pf\n65535 65535\n-1\n" + b"\0" * 8)
    put("manifest", "bad-pfm-colour", b"PF\n1 1\n-1\n" + b"\0" * 12)


def goldens():
    def ok(name, *entries): put("golden", "ok-" + name, json.dumps(entries, separators=(",", ":")))
    def bad(name, *entries): put("golden", "bad-" + name, json.dumps(entries, separators=(",", ":")))
    a, alt, t, n = ({"key": "u1/vision/" + k} for k in ("act/a", "alt/a.1", "act/t", "in/n"))
    chosen = dict(t, **{"class": "DISCRETE", "of": "u1/vision/act/a", "rule": "argmax"})
    ok("none")
    ok("all", a, alt, t, dict(n, **{"class": "EXACT"}))
    ok("fields", dict(a, **{"class": "CHAIN", "required": False, "output": True, "floor": 1e-7, "local": 1e-8, "scale": 2,
                            "bands": {"tf32": [0, 1e-3], "bf16": [1e-3, 1e-2]}, "local_bands": {"fp16": [0, 0]}}))
    ok("argmax", a, chosen)
    ok("threshold", dict(a, **{"class": "DISCRETE", "of": "u1/vision/alt/a.1", "rule": "threshold", "threshold": -1e300}))
    ok("sign", dict(a, **{"class": "DISCRETE", "of": "u1/vision/act/a", "rule": "sign"}))
    ok("median", a, dict(chosen, rule="median"))
    ok("alternatives", dict(a, alternatives=["u1/vision/alt/a.1", "u1/vision/act/a"]), alt)
    for name, text in (("empty", ""), ("object", "{}"), ("null", "null"), ("cut", '[{"key":'), ("number", "[1]"), ("deep", "[" * 3000)):
        put("golden", "bad-" + name, text)
    bad("no-key", {"class": "EXACT"})
    bad("key-number", {"key": 1})
    bad("key-unknown", {"key": "u1/vision/act/b"})
    bad("key-form", {"key": "vision/act/a"})
    bad("twice", a, a)
    bad("unknown-field", dict(a, flor=1e-7))
    bad("class", dict(a, **{"class": "chain"}))
    bad("required", dict(a, required=1))
    bad("floor-negative", dict(a, floor=-1e-7))
    bad("floor-text", dict(a, floor="1e-7"))
    put("golden", "bad-floor-huge", '[{"key":"u1/vision/act/a","floor":1e400}]')
    bad("bands-order", dict(a, bands={"bf16": [2, 1]}))
    bad("bands-one", dict(a, bands={"bf16": [2]}))
    bad("bands-float", dict(a, bands={"float": [0, 1]}))
    bad("of-alone", dict(a, of="u1/vision/act/t"))
    bad("of-chain", dict(t, of="u1/vision/act/a", rule="argmax"))
    bad("of-not-there", dict(chosen, of="u1/vision/act/b"))
    bad("of-small", dict(a, **{"class": "DISCRETE", "of": "u1/vision/act/t", "rule": "sign"}))
    bad("rule", dict(chosen, rule="argmin"))
    bad("alternatives-size", dict(a, alternatives=["u1/vision/act/t"]))
    bad("alternatives-number", dict(a, alternatives=[1]))
    bad("sample-few", dict(a, sample=4096, shape=[5000], rms=1))
    bad("sample-1", dict(a, sample=1, shape=[6], rms=1))


def mappings():
    def ok(name, *rules): put("mapping", "ok-" + name, json.dumps({"rules": rules}, separators=(",", ":")))
    def bad(name, *rules): put("mapping", "bad-" + name, json.dumps({"rules": rules}, separators=(",", ":")))
    def do(name, value, pattern="b"): return {"from": pattern, "do": [{name: value}]}
    ok("none")
    put("mapping", "ok-about", '{"about":"x","rules":[{"about":"y","from":"a\\\\.(\\\\d)","to":"$T/act/visual.blocks.$1$$$0"}]}')
    ok("drop", {"from": ".*", "drop": True})
    ok("join", {"from": "a\\.0", "with": ["a.1"], "axis": 1, "to": "a"})
    ok("join-keep", {"from": "(a)\\.0", "with": ["$1.1", "$1.1"], "keep": True, "do": [{"reshape": [-1, 3]}], "to": "$1"})
    ok("split", {"from": "a\\.(.)", "to": ["q$1", "k$1", "v$1"], "axis": 1})
    ok("split-sizes", {"from": "a\\.(.)", "to": ["q$1", "k$1"], "sizes": [1, 3]})
    ok("reshape", do("reshape", [0, -1, 2]))
    ok("permute", do("permute", [3, 0, 2, 1]))
    ok("transpose", do("transpose", True, "a.*"))
    ok("nchw", do("nchw", True))
    ok("unpad", do("unpad", [1, 3, 2], "a.*"))
    ok("scale", do("scale", -1e308))
    ok("cast", do("cast", "BF16"), do("cast", "F16", "a.*"), do("cast", "F32", "ids"))
    ok("order", do("order", "raster", "ids"))
    ok("fit", do("fit", True))
    for name, text in (("empty", ""), ("array", "[]"), ("no-rules", "{}"), ("null", '{"rules":null}'), ("rule-number", '{"rules":[1]}'),
                       ("unknown", '{"rules":[],"rule":1}')):
        put("mapping", "bad-" + name, text)
    bad("no-from", {"to": "x"})
    bad("pattern", {"from": "("})
    bad("name-long", {"from": "(?:(?:a|.)*?)*?(?:(?:.|\\d)*)*(?:.*.*.*.*.*)*x"}, *({"from": "(.*)*(.*)*", "to": "$0" * 60} for _ in range(3)))
    bad("group", {"from": "a.*", "to": "$1"})
    bad("to-number", {"from": "x", "to": 1})
    bad("to-none", {"from": "x", "to": []})
    bad("sizes", {"from": "x", "to": ["a", "b"], "sizes": [1]})
    bad("sizes-sum", {"from": "ids", "to": ["a", "b"], "sizes": [1, 6]})
    bad("sizes-negative", {"from": "ids", "to": ["a", "b"], "sizes": [-1, 9]})
    bad("with-none", {"from": "a.0", "with": ["a.2"]})
    bad("with-itself", {"from": "a.0", "with": ["a.0"]})
    bad("with-other-shape", {"from": "a.0", "with": ["b"]})
    bad("axis", {"from": "a.0", "with": ["a.1"], "axis": 2})
    bad("step", do("flatten", True))
    bad("two-steps", {"from": "x", "do": [{"fit": True, "nchw": True}]})
    bad("reshape", do("reshape", [5, -1]))
    bad("reshape-huge", do("reshape", [1 << 62, 1 << 62, -1]))
    bad("permute-twice", do("permute", [0, 0, 1, 2]))
    bad("unpad", do("unpad", [1, 5, 2]))
    bad("order", do("order", "raster", "a.*"))
    bad("doubling", *({"from": "a\\.0", "with": ["a.1"], "keep": True}, {"from": "a\\.1", "with": ["a.0"], "keep": True}) * 30)
    bad("splitting", *({"from": "(.*)", "to": ["$1%d" % i for i in range(50)], "sizes": [0] * 50} for _ in range(3)))


for make in (safetensors, npys, pngs, jpegs, configs, indexes, tokenizers, manifests, goldens, mappings):
    make()
