"""The Qwen2-VL vision tower, twice: transformers' own in float32, and one in plain float64.

A float64 model of transformers is no float64 truth: it computes rotary angles and the softmax in float32 whatever its
dtype. `Tower64` is written from the formulas with basic operations and has no casts. It needs torch only.

Shapes: N patch tokens of all pictures together, C = embed_dim, H heads of D = C/H, K numbers a patch, M = merge^2.
Parameters carry the names of the Hugging Face module without a prefix (`blocks.0.attn.qkv.weight`); the names in a trace
have the prefix `visual.`.
"""
import math

import torch


def parameter_shapes(v):
    """{name: shape} of every parameter, for the `vision_config` dict v."""
    C, hidden, width = v["embed_dim"], v["embed_dim"] * v["mlp_ratio"], v["embed_dim"] * v["spatial_merge_size"] ** 2
    s = {"patch_embed.proj.weight": (C, v["in_channels"], v["temporal_patch_size"], v["patch_size"], v["patch_size"])}

    def norm(name):
        s.update({name + ".weight": (C,), name + ".bias": (C,)})

    def linear(name, n_out, n_in):
        s.update({name + ".weight": (n_out, n_in), name + ".bias": (n_out,)})

    for i in range(v["depth"]):
        b = f"blocks.{i}."
        norm(b + "norm1")
        norm(b + "norm2")
        linear(b + "attn.qkv", 3 * C, C)
        linear(b + "attn.proj", C, C)
        linear(b + "mlp.fc1", hidden, C)
        linear(b + "mlp.fc2", C, hidden)
    norm("merger.ln_q")
    linear("merger.mlp.0", width, width)
    linear("merger.mlp.2", v["hidden_size"], width)
    return s


# ---- transformers -------------------------------------------------------------------------------------------------

def hf_tower(v, weights=None):
    """Qwen2VisionTransformerPretrainedModel in float32 with eager attention; weights {name: tensor}, or random ones."""
    from transformers import Qwen2VLVisionConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

    tower = Qwen2VisionTransformerPretrainedModel._from_config(Qwen2VLVisionConfig(**v), attn_implementation="eager")
    if tower.config._attn_implementation != "eager":
        raise RuntimeError(f"attention is {tower.config._attn_implementation}, expected eager")
    tower = tower.float().eval()
    if weights is not None:
        tower.load_state_dict(weights, strict=True)
    return tower


def watch(tower):
    """Hooks a transformers tower; returns the dict that its next forward fills with {name: tensor, gradient retained}."""
    trace = {}

    def keep(name, t):
        t.retain_grad()
        trace[name] = t

    def output(module, name):
        module.register_forward_hook(lambda m, args, out: keep(name, out))

    def first_input(module, name):
        module.register_forward_pre_hook(lambda m, args: keep(name, args[0]))

    output(tower.patch_embed, "visual.patch_embed")
    for i, block in enumerate(tower.blocks):
        b = f"visual.blocks.{i}"
        output(block.norm1, b + ".norm1")
        output(block.attn.qkv, b + ".attn.qkv")
        first_input(block.attn.proj, b + ".attn#context")
        first_input(block.norm2, b + ".attn#residual")
        output(block.norm2, b + ".norm2")
        output(block.mlp.fc1, b + ".mlp.fc1")
        output(block.mlp.act, b + ".mlp.act")
        output(block, b)
    output(tower.merger.ln_q, "visual.merger.ln_q")
    for j in range(3):
        output(tower.merger.mlp[j], f"visual.merger.mlp.{j}")
    return trace


# ---- plain float64 ------------------------------------------------------------------------------------------------

def layer_norm(x, w, b, eps=1e-6):
    """x [N,C], w [C], b [C] -> [N,C]; the variance divides by C."""
    d = x - x.mean(-1, keepdim=True)
    return d / torch.sqrt((d * d).mean(-1, keepdim=True) + eps) * w + b


def quick_gelu(x):
    """x * sigmoid(1.702 x), any shape."""
    return x / (1 + torch.exp(-1.702 * x))


def gelu(x):
    """x * Phi(x), any shape."""
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def token_places(grid_thw, merge):
    """Rows y and columns x [N] of the tokens: merge blocks in raster order, raster inside a block, frame by frame."""
    ys, xs = [], []
    for t, h, w in grid_thw:
        for _ in range(t):
            for by in range(0, h, merge):
                for bx in range(0, w, merge):
                    for y in range(by, by + merge):
                        for x in range(bx, bx + merge):
                            ys.append(y)
                            xs.append(x)
    return torch.tensor(ys, dtype=torch.float64), torch.tensor(xs, dtype=torch.float64)


def rotary_angles(grid_thw, merge, head_dim, theta=10000.0):
    """Angles [N, D/2]: first the D/4 of the row, then the D/4 of the column."""
    quarter = head_dim // 4
    freq = torch.tensor([theta ** (-2 * k / (head_dim // 2)) for k in range(quarter)], dtype=torch.float64)
    y, x = token_places(grid_thw, merge)
    return torch.cat([y[:, None] * freq, x[:, None] * freq], 1)


def rotate(x, angles):
    """x [N,H,D] -> [N,H,D]; dimension d turns with dimension d + D/2."""
    half = x.shape[-1] // 2
    c, s = torch.cos(angles)[:, None], torch.sin(angles)[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * c - b * s, b * c + a * s], -1)


def attention(q, k, v, lengths):
    """q, k, v [N,H,D] -> context [N, H*D]; a token sees the tokens of its own frame, and lengths are the frames'."""
    out = []
    for a, b, c in zip(q.split(lengths), k.split(lengths), v.split(lengths)):
        scores = torch.einsum("ihd,jhd->hij", a, b) / math.sqrt(q.shape[-1])
        e = torch.exp(scores - scores.amax(-1, keepdim=True).detach())
        out.append(torch.einsum("hij,jhd->ihd", e / e.sum(-1, keepdim=True), c))
    return torch.cat(out).flatten(1)


class Tower64:
    """The tower in float64. self.weights {name: float64 tensor that collects a gradient}; self.trace as of watch()."""

    def __init__(self, v, weights):
        if v.get("hidden_act", "quick_gelu") != "quick_gelu":
            raise ValueError(f"hidden_act {v['hidden_act']}, expected quick_gelu")
        shapes = parameter_shapes(v)
        if {n: tuple(w.shape) for n, w in weights.items()} != shapes:
            raise ValueError("the weights are not those of the configuration")
        self.v = v
        self.weights = {n: weights[n].detach().double().requires_grad_() for n in shapes}
        self.trace = {}

    def keep(self, name, t):
        """Notes an activation under its name and returns it."""
        t.retain_grad()
        self.trace["visual." + name] = t
        return t

    def linear(self, name, x):
        """x [...,I] -> [...,O]"""
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def norm(self, name, x):
        """x [N,C] -> [N,C]"""
        return self.keep(name, layer_norm(x, self.weights[name + ".weight"], self.weights[name + ".bias"]))

    def block(self, i, h, angles, lengths):
        """h [N,C] -> [N,C]"""
        b, N, C = f"blocks.{i}", *h.shape
        x = self.norm(b + ".norm1", h)
        qkv = self.keep(b + ".attn.qkv", self.linear(b + ".attn.qkv", x)).reshape(N, 3, self.v["num_heads"], -1)
        context = attention(rotate(qkv[:, 0], angles), rotate(qkv[:, 1], angles), qkv[:, 2], lengths)
        context = self.keep(b + ".attn#context", context)
        h = self.keep(b + ".attn#residual", h + self.linear(b + ".attn.proj", context))
        x = self.norm(b + ".norm2", h)
        x = self.keep(b + ".mlp.fc1", self.linear(b + ".mlp.fc1", x))
        x = self.keep(b + ".mlp.act", quick_gelu(x))
        return self.keep(b, h + self.linear(b + ".mlp.fc2", x))

    def merger(self, h):
        """h [N,C] -> [N/M, hidden_size]: M tokens that follow one another are one long row."""
        x = self.norm("merger.ln_q", h).reshape(-1, h.shape[1] * self.v["spatial_merge_size"] ** 2)
        x = self.keep("merger.mlp.0", self.linear("merger.mlp.0", x))
        x = self.keep("merger.mlp.1", gelu(x))
        return self.keep("merger.mlp.2", self.linear("merger.mlp.2", x))

    def __call__(self, pixel_values, grid_thw):
        """pixel_values [N,K], grid_thw [pictures,3] -> merged [N/M, hidden_size]"""
        grid = [tuple(int(n) for n in row) for row in grid_thw]
        lengths = [h * w for t, h, w in grid for _ in range(t)]
        angles = rotary_angles(grid, self.v["spatial_merge_size"], self.v["embed_dim"] // self.v["num_heads"],
                               self.v.get("rope_theta", 10000.0))
        self.trace.clear()
        h = self.keep("patch_embed", pixel_values.double() @ self.weights["patch_embed.proj.weight"].flatten(1).T)
        for i in range(self.v["depth"]):
            h = self.block(i, h, angles, lengths)
        return self.merger(h)


def gauges(v, pixel_values, trace, weights, terms):
    """{kind/name: size a gradient would have if no terms of its last sum cancelled}, and the same for the loss.

    The gradient of a parameter is a sum over tokens. Its gauge is the RMS of the same sum over absolute values: what a
    rounding error is small against, also where the true gradient is zero. Call after the backward pass of Tower64.
    pixel_values [N,K]; trace and weights as of Tower64; terms: the products whose sum is the loss, any shapes.
    """
    rms = lambda t: float(t.detach().square().mean().sqrt())
    width = v["embed_dim"] * v["spatial_merge_size"] ** 2
    out = {"loss/total": float(sum(t.detach().abs().sum() for t in terms))}

    def linear(name, x, dy):
        out[f"dw/visual.{name}.weight"] = rms(dy.abs().T @ x.abs())
        out[f"dw/visual.{name}.bias"] = rms(dy.abs().sum(0))

    def norm(name):
        y = trace["visual." + name]
        normalised = (y - weights[name + ".bias"]) / weights[name + ".weight"]
        out[f"dw/visual.{name}.weight"] = rms((y.grad * normalised).abs().sum(0))
        out[f"dw/visual.{name}.bias"] = rms(y.grad.abs().sum(0))

    out["dw/visual.patch_embed.proj.weight"] = rms(trace["visual.patch_embed"].grad.abs().T @ pixel_values.double().abs())
    for i in range(v["depth"]):
        b = f"blocks.{i}"
        get = lambda part: trace["visual." + b + part]
        norm(b + ".norm1")
        norm(b + ".norm2")
        linear(b + ".attn.qkv", get(".norm1"), get(".attn.qkv").grad)
        linear(b + ".attn.proj", get(".attn#context"), get(".attn#residual").grad)
        linear(b + ".mlp.fc1", get(".norm2"), get(".mlp.fc1").grad)
        linear(b + ".mlp.fc2", get(".mlp.act"), get("").grad)
    norm("merger.ln_q")
    linear("merger.mlp.0", trace["visual.merger.ln_q"].reshape(-1, width), trace["visual.merger.mlp.0"].grad)
    linear("merger.mlp.2", trace["visual.merger.mlp.1"], trace["visual.merger.mlp.2"].grad)
    return out
