"""The depth head of Depth Anything V2 (DPT) in plain torch, with the names of the original repository; and transformers' own.

Formulas and shapes are those of ref/model/dpt_head.h. A configuration is a dict with the keys of config.json's "depth_head"
(out_channels, features, output_features, first_scale, unused_unit, tap_norm, final_act) and `width` and `patch`. `DepthHead` works in
any dtype, without casts; weights and traces are keyed by names without "depth_head.", maps are [B,C,H,W].
"""
import torch
import torch.nn.functional as F

HIDDEN = 32  # channels between output_conv2.0 and .2
DEFAULTS = dict(first_scale=4, unused_unit=True, tap_norm="none", final_act="relu")
UNITS = [f"resConfUnit{u}.conv{v}" for u in (1, 2) for v in (1, 2)]


def complete(config):
    """The configuration with defaults filled in."""
    return {**DEFAULTS, "output_features": config["features"] // 2, **config}


def parameter_shapes(config):
    """{name: shape}, in the order of versavit."""
    c = complete(config)
    C, Fe, Fo, channels = c["width"], c["features"], c["output_features"], c["out_channels"]
    levels, s = len(channels), {}

    def conv(name, out, inputs, k):
        s.update({name + ".weight": (out, inputs, k, k), name + ".bias": (out,)})

    if c["tap_norm"] == "ln":
        for i in range(levels):
            s.update({f"tap_norm.{i}.weight": (C,), f"tap_norm.{i}.bias": (C,)})
    for i, oc in enumerate(channels):
        conv(f"projects.{i}", oc, C, 1)
    for i, oc in enumerate(channels):
        scale = c["first_scale"] >> i
        if scale != 1:
            conv(f"resize_layers.{i}", oc, oc, scale or 3)
    for i, oc in enumerate(channels):
        s[f"scratch.layer{i + 1}_rn.weight"] = (Fe, oc, 3, 3)
    for j in range(1, levels + 1):
        conv(f"scratch.refinenet{j}.out_conv", Fe, Fe, 1)
        for u in UNITS:
            if j < levels or c["unused_unit"] or not u.startswith("resConfUnit1"):
                conv(f"scratch.refinenet{j}.{u}", Fe, Fe, 3)
    conv("scratch.output_conv1", Fo, Fe, 3)
    conv("scratch.output_conv2.0", HIDDEN, Fo, 3)
    conv("scratch.output_conv2.2", 1, HIDDEN, 1)
    return s


def unused(config, name):
    """Whether no output depends on the parameter: the deepest level has no second input."""
    return name.startswith(f"scratch.refinenet{len(config['out_channels'])}.resConfUnit1.")


def configuration(weights, patch, final_act="relu"):
    """The configuration of {name: array} with these shapes."""
    shape = {n: tuple(w.shape) for n, w in weights.items()}
    levels = len([n for n in shape if n.startswith("projects.") and n.endswith(".weight")])
    return dict(width=shape["projects.0.weight"][1], patch=patch, final_act=final_act,
                out_channels=[shape[f"projects.{i}.weight"][0] for i in range(levels)],
                features=shape["scratch.layer1_rn.weight"][0], output_features=shape["scratch.output_conv1.weight"][0],
                first_scale=shape["resize_layers.0.weight"][2], tap_norm="ln" if "tap_norm.0.weight" in shape else "none",
                unused_unit=f"scratch.refinenet{levels}.resConfUnit1.conv1.weight" in shape)


# ---- plain torch ----------------------------------------------------------------------------------------------------

def lines(n_out, n_in, dtype):
    """[n_out,n_in]: row i has the shares of both neighbours of i's place; first meets first and last meets last."""
    place = torch.arange(n_out, dtype=dtype) * ((n_in - 1) / (n_out - 1) if n_out > 1 else 0.0)
    low = place.floor().clamp(max=n_in - 1)
    share = place - low
    m = torch.zeros(n_out, n_in, dtype=dtype)
    rows = torch.arange(n_out)
    m[rows, low.long()] += 1 - share
    m[rows, (low.long() + 1).clamp(max=n_in - 1)] += share
    return m


def bilinear(x, size):
    """x [B,C,H,W] -> [B,C,*size], corners aligned."""
    return torch.einsum("ih,bchw,jw->bcij", lines(size[0], x.shape[2], x.dtype), x, lines(size[1], x.shape[3], x.dtype))


def softplus(x):
    """log(1 + exp(x)), any shape; torch's own returns x beyond a threshold."""
    return torch.logaddexp(x, torch.zeros_like(x))


class DepthHead:
    """self.weights {name: tensor that collects a gradient}; self.trace {name: activation}; self.rectified: what the ReLUs read."""

    def __init__(self, config, weights, dtype=torch.float64):
        self.config, shapes = complete(config), parameter_shapes(config)
        if {n: tuple(w.shape) for n, w in weights.items()} != shapes:
            raise ValueError("the weights are not those of the configuration")
        self.weights = {n: weights[n].detach().to(dtype, copy=True).requires_grad_() for n in shapes}
        self.trace, self.rectified = {}, []

    def keep(self, name, x):
        """Notes an activation under its name and returns it."""
        self.trace[name] = x
        return x

    def relu(self, x):
        self.rectified.append(x)
        return x.clamp(min=0)

    def conv(self, name, x, stride=1):
        """x [B,I,H,W] -> [B,O,..], padding half of the kernel."""
        w = self.weights[name + ".weight"]
        return self.keep(name, F.conv2d(x, w, self.weights.get(name + ".bias"), stride=stride, padding=w.shape[2] // 2))

    def reassemble(self, i, x, grid):
        """Tap x [B h w,C] of level i -> [B,oc,..]."""
        if self.config["tap_norm"] == "ln":
            d = x - x.mean(-1, keepdim=True)
            x = d / torch.sqrt((d * d).mean(-1, keepdim=True) + 1e-6)
            x = self.keep(f"tap_norm.{i}", x * self.weights[f"tap_norm.{i}.weight"] + self.weights[f"tap_norm.{i}.bias"])
        x = self.conv(f"projects.{i}", x.reshape(*grid, -1).permute(0, 3, 1, 2))
        scale, name = self.config["first_scale"] >> i, f"resize_layers.{i}"
        if scale > 1:
            return self.keep(name, F.conv_transpose2d(x, self.weights[name + ".weight"], self.weights[name + ".bias"], stride=scale))
        return x if scale else self.conv(name, x, stride=2)

    def unit(self, name, x):
        """RCU: x [B,F,H,W] -> the same shape."""
        z = self.conv(name + ".conv1", self.relu(x))
        return self.keep(name, self.conv(name + ".conv2", self.relu(z)) + x)

    def fuse(self, name, a, b, size):
        """a, and b unless None, [B,F,H,W] -> [B,F,*size]."""
        if b is not None:
            a = self.keep(name + "#sum", a + self.unit(name + ".resConfUnit1", b))
        a = self.keep(name + "#up", bilinear(self.unit(name + ".resConfUnit2", a), size))
        return self.conv(name + ".out_conv", a)

    def __call__(self, taps, grid):
        """taps: a tensor [B h w,C] for each level, raster order; grid (B,h,w) -> depth [B,patch h,patch w]."""
        self.trace.clear()
        self.rectified.clear()
        maps = [self.reassemble(i, x, grid) for i, x in enumerate(taps)]
        maps = [self.conv(f"scratch.layer{i + 1}_rn", x) for i, x in enumerate(maps)]
        p, (B, h, w), patch = None, grid, self.config["patch"]
        for i in reversed(range(len(maps))):
            size = maps[i - 1].shape[2:] if i else [2 * n for n in maps[0].shape[2:]]
            a, b = (maps[i], None) if p is None else (p, maps[i])
            p = self.fuse(f"scratch.refinenet{i + 1}", a, b, size)
        p = self.conv("scratch.output_conv1", p)
        p = self.keep("scratch.output_conv1#up", bilinear(p, (patch * h, patch * w)))
        p = self.keep("scratch.output_conv2.1", self.relu(self.conv("scratch.output_conv2.0", p)))
        p = self.conv("scratch.output_conv2.2", p)
        if self.config["final_act"] != "none":
            p = self.keep("scratch.output_conv2.3", self.relu(p) if self.config["final_act"] == "relu" else softplus(p))
        return p[:, 0]


# ---- transformers -----------------------------------------------------------------------------------------------------

def hf_name(config, name):
    """What transformers' DepthAnythingForDepthEstimation calls a parameter."""
    module, leaf = name.rsplit(".", 1)
    part = module.split(".")
    if part[0] in ("projects", "resize_layers"):
        inner = "projection" if part[0] == "projects" else "resize"
        return f"neck.reassemble_stage.layers.{part[1]}.{inner}.{leaf}"
    if part[1].startswith("layer"):
        return f"neck.convs.{int(part[1][5:-3]) - 1}.{leaf}"
    if part[1].startswith("refinenet"):
        layer = f"neck.fusion_stage.layers.{len(config['out_channels']) - int(part[1][9:])}"
        if part[2] == "out_conv":
            return f"{layer}.projection.{leaf}"
        return f"{layer}.residual_layer{part[2][-1]}.convolution{part[3][-1]}.{leaf}"
    return {"output_conv1": "head.conv1", "output_conv2.0": "head.conv2", "output_conv2.2": "head.conv3"}[".".join(part[1:])] + "." + leaf


def hf_can_hold(config):
    """Whether transformers has a place for everything in it."""
    c = complete(config)
    return c["tap_norm"] == "none" and c["unused_unit"] and c["output_features"] == c["features"] // 2 and c["final_act"] == "relu"


def hf_config(config):
    """DepthAnythingConfig with this head and a backbone of one small block."""
    from transformers import DepthAnythingConfig, Dinov2Config

    c = complete(config)
    levels = len(c["out_channels"])
    scales = [c["first_scale"] / 2**i for i in range(levels)]
    backbone = Dinov2Config(hidden_size=c["width"], num_hidden_layers=1, num_attention_heads=1, image_size=4 * c["patch"],
                            patch_size=c["patch"], out_indices=[1], reshape_hidden_states=False)
    return DepthAnythingConfig(backbone_config=backbone, patch_size=c["patch"], reassemble_hidden_size=c["width"],
                               reassemble_factors=[int(s) if s >= 1 else s for s in scales], neck_hidden_sizes=list(c["out_channels"]),
                               fusion_hidden_size=c["features"], head_hidden_size=HIDDEN)


def hf_model(config, weights=None):
    """DepthAnythingForDepthEstimation in float32 with these weights {our name: tensor}, or random ones."""
    from transformers import DepthAnythingForDepthEstimation

    model = DepthAnythingForDepthEstimation(hf_config(config)).float().eval()
    if weights is not None:
        missing, unexpected = model.load_state_dict({hf_name(config, n): w.float() for n, w in weights.items()}, strict=False)
        if unexpected or [n for n in missing if not n.startswith("backbone.")]:
            raise RuntimeError(f"names differ: missing {missing[:3]}, unexpected {unexpected[:3]}")
    return model


def hf_run(model, taps, grid):
    """taps as of DepthHead -> depth [B,patch h,patch w]; a row of zeros stands for the class token, which the neck drops."""
    B, h, w = grid
    states = [torch.cat([torch.zeros(B, 1, x.shape[1]), x.reshape(B, h * w, -1)], 1) for x in taps]
    return model.head(model.neck(states, h, w), h, w)
