"""PyTorch's side of the cases train_tiny and train_small of bench.py: an update of all three tasks, from what `versavit bench CASE --record
FILE` has left there: batches, weights, and the losses, which must come out the same before anything is timed.

float32, eager. At its best: fused attention (is_causal instead of a mask, conversations padded at the right to the longest, logits where
something is to be learnt alone), layer and RMS norms of torch.nn.functional, convolutions channels last, losses of all maps at once,
clipping foreach, AdamW fused, gradients set to none, constant tables made once. "installed" has plain attention and AdamW as it comes.
"""
import json
import math
import os

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import losses
import mask_head

CONFIGS = os.path.join(os.path.dirname(__file__), "../../data/configs")
TASKS = ("caption", "depth", "segmentation")


def rotary(places, dim, theta):
    """places [T,axes] -> cos, sin [T,dim/2]; each axis has its share of the angles."""
    axes = places.shape[1]
    f = dim // 2 // axes
    inverse = theta ** (-torch.arange(f, dtype=torch.float64) / f)
    angle = (places.double()[:, :, None] * inverse).flatten(1)
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attention(q, k, v, fused, causal=False):
    if fused:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    s = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    if causal:
        s = s.masked_fill(torch.ones(s.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
    return s.softmax(-1) @ v


class Masks(mask_head.MaskHead):
    """Without a trace; attention fused."""

    def __init__(self, settings, weights, fused):
        self.settings, self.weights, self.fused = settings, weights, fused

    def keep(self, name, t):
        return t

    def relu(self, name, x):
        return torch.relu(x)

    def attention(self, name, q, k, v, res, of=(None, None, None)):
        q, k, v = (self.project(f"{name}.{p}_proj", x, o) for p, x, o in zip("qkv", (q, k, v), of))
        q, k, v = (x.unflatten(-1, (self.settings["heads"], -1)).transpose(1, 2) for x in (q, k, v))
        y = self.affine(name + ".out_proj", attention(q, k, v, self.fused).transpose(1, 2).flatten(2))
        return y if res is None else res + y

    def decode(self, E, text, image_of):
        self.trace = {}
        return self.decoder(E, text, image_of)


class Update:
    def __init__(self, name, file, kind):
        with open(os.path.join(CONFIGS, name + ".json"), encoding="utf-8") as f:
            self.config = json.load(f)
        given = load_file(file)
        self.given = {t: {n.removeprefix(t + "/"): x for n, x in given.items() if n.startswith(t + "/")} for t in TASKS}
        self.expected, pad = given["losses"].tolist(), int(given["image_pad"])
        self.fused = kind != "installed"
        inputs = {f"{t}/{n}" for t in TASKS for n in self.given[t]} | {"losses", "image_pad"}
        self.P = {n: x.clone().requires_grad_("gaussian_matrix" not in n) for n, x in given.items() if n not in inputs}
        if self.fused:
            for n, p in self.P.items():
                if n.startswith("depth_head.") and p.dim() == 4:
                    p.data = p.data.contiguous(memory_format=torch.channels_last)
        self.stage = next(s for s in self.config["train"]["stages"] if s["name"] == "stage2")
        self.lambdas = {t["task"]: t.get("lambda", 1 / 3) for t in self.stage["tasks"]}
        self.tables, self.head = {}, {"mask_tokens": 4, "iou_head": True, "text_proj": "linear", "text_scale": 1, **self.config["mask_head"]}
        self.masks = Masks(self.head, {n: p for n, p in self.P.items() if n.startswith("mask_head.")}, self.fused)
        self.conversations(pad)
        self.code = {}
        params = [p for p in self.P.values() if p.requires_grad]
        self.params = params
        self.optimizer = torch.optim.AdamW(params, fused=True) if self.fused else torch.optim.AdamW(params)

    # ---- the tower

    def places(self, side):
        """Rows and columns of the tokens, 2x2 blocks one after the other, and raster order."""
        if side not in self.tables:
            v, half = self.config["vision_config"], range(side // 2)
            at = torch.tensor([(2 * r + y, 2 * c + x) for r in half for c in half for y in (0, 1) for x in (0, 1)])
            order = torch.empty(side * side, dtype=torch.int64)
            order[at[:, 0] * side + at[:, 1]] = torch.arange(side * side)
            self.tables[side] = (*rotary(at, v["embed_dim"] // v["num_heads"], v.get("rope_theta", 1e4)), order)
        return self.tables[side]

    def tower(self, pixels, size, taps):
        """[B,T,C] after the blocks in taps."""
        v, P, side = self.config["vision_config"], self.P, size // self.config["vision_config"]["patch_size"]
        cos, sin, _ = self.places(side)
        h, out = F.linear(pixels, P["visual.patch_embed.proj.weight"].flatten(1)).view(-1, side * side, v["embed_dim"]), {}
        for i in range(max(taps) + 1):
            b, (B, T, C) = f"visual.blocks.{i}.", h.shape
            w = lambda n: (P[b + n + ".weight"], P[b + n + ".bias"])
            x = F.linear(F.layer_norm(h, (C,), *w("norm1"), 1e-6), *w("attn.qkv"))
            q, k, u = x.view(B, T, 3, v["num_heads"], -1).permute(2, 0, 3, 1, 4)
            o = attention(rotate(q, cos, sin), rotate(k, cos, sin), u, self.fused)
            h = h + F.linear(o.transpose(1, 2).reshape(B, T, C), *w("attn.proj"))
            z = F.linear(F.layer_norm(h, (C,), *w("norm2"), 1e-6), *w("mlp.fc1"))
            h = h + F.linear(z * torch.sigmoid(1.702 * z), *w("mlp.fc2"))
            out[i] = h
        return [out[i] for i in taps]

    def raster(self, h, size):
        return h[:, self.places(size // self.config["vision_config"]["patch_size"])[2]]

    # ---- captions

    def conversations(self, pad):
        """Padded ids [B,L], places of pictures, what is learnt where and with which weight: once, as a loader's workers would."""
        g, c = self.given["caption"], self.config["text_config"]
        cu, ids, labels = (g[n].long() for n in ("cu_seqlens", "ids", "labels"))
        spans = list(zip(cu[:-1].tolist(), cu[1:].tolist()))
        self.ids = torch.zeros(len(spans), max(e - b for b, e in spans), dtype=torch.int64)
        where, label, weight = [], [], []
        for s, (b, e) in enumerate(spans):
            self.ids[s, : e - b] = ids[b:e]
            at = (labels[b + 1 : e] >= 0).nonzero()[:, 0]
            where.append(at + s * self.ids.shape[1])
            label.append(labels[b + 1 : e][at])
            weight.append(torch.full((len(at),), 1 / len(at) / len(spans)))
        self.where, self.label, self.weight = torch.cat(where), torch.cat(label), torch.cat(weight)
        self.pictures = (self.ids.flatten() == pad).nonzero()[:, 0]
        self.turn = rotary(torch.arange(self.ids.shape[1])[:, None], c["head_dim"], c["rope_theta"])
        g["size"] = int((len(g["pixel_values"]) / len(spans)) ** 0.5) * self.config["vision_config"]["patch_size"]

    def caption(self):
        g, c, P = self.given["caption"], self.config["text_config"], self.P
        C, eps, d = self.config["vision_config"]["embed_dim"], c["rms_norm_eps"], c["head_dim"]
        (f,) = self.tower(g["pixel_values"], g["size"], [self.config["vision_config"]["depth"] - 1])
        f = F.layer_norm(f, (C,), P["projector.norm.weight"], P["projector.norm.bias"], 1e-6).view(-1, 4 * C)
        f = F.linear(F.gelu(F.linear(f, P["projector.fc1.weight"], P["projector.fc1.bias"])), P["projector.fc2.weight"], P["projector.fc2.bias"])
        B, L = self.ids.shape
        x = F.embedding(self.ids.flatten(), P["model.embed_tokens.weight"]).index_copy(0, self.pictures, f).view(B, L, -1)
        norm = lambda n, x: F.rms_norm(x, x.shape[-1:], P[n + ".weight"], eps)
        for i in range(c["num_hidden_layers"]):
            b = f"model.layers.{i}."
            n = norm(b + "input_layernorm", x)
            q, k, v = (F.linear(n, P[f"{b}self_attn.{s}_proj.weight"]).view(B, L, -1, d).transpose(1, 2) for s in "qkv")
            q, k = (rotate(norm(f"{b}self_attn.{s}_norm", y), *self.turn) for s, y in (("q", q), ("k", k)))
            k, v = (y.repeat_interleave(q.shape[1] // k.shape[1], 1) for y in (k, v))
            o = attention(q, k, v, self.fused, causal=True)
            x = x + F.linear(o.transpose(1, 2).reshape(B, L, -1), P[b + "self_attn.o_proj.weight"])
            n = norm(b + "post_attention_layernorm", x)
            x = x + F.linear(F.silu(F.linear(n, P[b + "mlp.gate_proj.weight"])) * F.linear(n, P[b + "mlp.up_proj.weight"]), P[b + "mlp.down_proj.weight"])
        logits = F.linear(norm("model.norm", x.flatten(0, 1)[self.where]), P["model.embed_tokens.weight"])
        return (F.cross_entropy(logits, self.label, reduction="none") * self.weight).sum()

    # ---- depth

    def conv(self, name, x, stride=1):
        w = self.P[f"depth_head.{name}.weight"]
        return F.conv2d(x, w, self.P.get(f"depth_head.{name}.bias"), stride=stride, padding=w.shape[2] // 2)

    def unit(self, name, x):
        return self.conv(name + ".conv2", F.relu(self.conv(name + ".conv1", F.relu(x)))) + x

    def depth(self):
        g, v = self.given["depth"], self.config["vision_config"]
        d, last = g["disparity"], v["depth"] - 1
        B, size = len(d), d.shape[1]
        side = size // v["patch_size"]
        taps = self.config["depth_head"].get("taps") or [(2 * min(i + 1, 3) * last + 3) // 6 for i in range(4)]
        up, states = lambda x, s: F.interpolate(x, s, mode="bilinear", align_corners=True), self.tower(g["pixel_values"], size, taps)
        maps = []
        for i, h in enumerate(states):
            x = self.conv(f"projects.{i}", self.raster(h, size).transpose(1, 2).unflatten(2, (side, side)))
            name = f"depth_head.resize_layers.{i}"
            if i < 2:
                x = F.conv_transpose2d(x, self.P[name + ".weight"], self.P[name + ".bias"], stride=4 >> i)
            elif i == 3:
                x = self.conv(name.removeprefix("depth_head."), x, stride=2)
            maps.append(self.conv(f"scratch.layer{i + 1}_rn", x))
        p = None
        for i in (3, 2, 1, 0):
            name, to = f"scratch.refinenet{i + 1}", maps[i - 1].shape[2:] if i else [2 * n for n in maps[0].shape[2:]]
            a = maps[i] if p is None else p + self.unit(name + ".resConfUnit1", maps[i])
            p = self.conv(name + ".out_conv", up(self.unit(name + ".resConfUnit2", a), to))
        p = F.relu(self.conv("scratch.output_conv2.0", up(self.conv("scratch.output_conv1", p), (size, size))))
        return self.depth_loss(F.relu(self.conv("scratch.output_conv2.2", p))[:, 0], d)

    @staticmethod
    def depth_loss(p, d):
        """losses.depth_loss with its defaults for maps that are known everywhere, which those of scenes are."""
        def centered(x):
            x = x - x.flatten(1).median(1).values[:, None, None]
            return x / x.abs().mean((1, 2), keepdim=True).clamp(min=1e-6)
        r = centered(p) - centered(d)
        loss = r.abs().mean()
        for k in range(4):
            s = r[:, :: 1 << k, :: 1 << k]
            loss = loss + 0.5 * ((s[:, 1:] - s[:, :-1]).abs().sum() + (s[:, :, 1:] - s[:, :, :-1]).abs().sum()) / s.numel()
        return loss

    # ---- segmentation

    def segmentation(self):
        g, v = self.given["segmentation"], self.config["vision_config"]
        size = g["masks"].shape[1]
        side = size // v["patch_size"]
        (h,) = self.tower(g["pixel_values"], size, [self.head.get("layer", v["depth"] - 1)])
        E = self.masks.neck(self.raster(h, size).unflatten(1, (side, side)))
        logits = self.masks.decode(E, g["text"], g["image_of"].long())
        return losses.seg_loss(mask_head.resize(logits, size, size), g["masks"], losses.SEG)[0]

    # ---- the update

    def gradients(self):
        self.optimizer.zero_grad(set_to_none=True)
        found = []
        for task in TASKS:
            loss = getattr(self, task)()
            (self.lambdas[task] * loss).backward()
            found.append(float(loss.detach()))
        return found

    def step(self):
        self.gradients()
        torch.nn.utils.clip_grad_norm_(self.params, 1.0, foreach=self.fused or None)
        self.optimizer.step()


def codes_once():
    """The positional code of the mask head is a constant: kept by the size of the picture."""
    plain, kept = mask_head.image_pe, {}

    def code(G, h, w):
        if (h, w) not in kept:
            kept[h, w] = plain(G, h, w)
        return kept[h, w]

    mask_head.image_pe = code


def stepper(case, kind, file):
    """A function that runs one update, after its losses were found to be those that versavit has."""
    codes_once()
    u = Update(case.removeprefix("train_"), file, kind)
    for task, found, expected in zip(TASKS, u.gradients(), u.expected):
        if not abs(found - expected) < 1e-4 * abs(expected):
            raise SystemExit(f"{case}: the loss {task}: expected {expected}, versavit's; found {found}")
    return u.step
