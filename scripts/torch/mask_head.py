"""The referring segmentation head, SAM's neck, prompt encoder and mask decoder on text embeddings, in plain torch and any dtype.

A float64 model of transformers is no float64 truth: its attention passes through float32. Here nothing is cast: the functions of
torch.nn.functional in one dtype, the positional code in float64. Instances have copies of what they share, as in SAM, except where a
name ends in #pictures: there the projection of a picture is made once, and then repeated.

Shapes: B pictures of h x w pixels, m = h w; C channels of a feature row; P instances with n tokens each, D dim, M mask tokens.
Names are the module paths of segment_anything under mask_head. ("#part": what no module returns). In the trace tokens and pixels are
rows [P n, D], [B m, D] or [P m, D]; maps are [B,h,w,C] and [P,h,w,C], channels last.

Settings is a dict with the keys of "mask_head" in config.json: dim, heads, blocks, mlp, mask_tokens, iou_head, text_proj, text_dim,
text_scale, and width (C).
"""
import math

import torch
import torch.nn.functional as F

MASK_CHANNELS = 16
ATTENTIONS = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")


def parameter_shapes(s):
    """{name: shape} of every parameter, the matrix of the positional code among them."""
    D, C, M, S, out = s["dim"], s["width"], s["mask_tokens"], MASK_CHANNELS, {}

    def affine(name, *shape, bias=None):
        out.update({name + ".weight": shape, name + ".bias": (shape[0] if bias is None else bias,)})

    def attention(name, inner):
        for p in "qkv":
            affine(f"{name}.{p}_proj", inner, D)
        affine(name + ".out_proj", D, inner)

    def mlp(name, last):
        for i, width in enumerate((D, D, last)):
            affine(f"{name}.layers.{i}", width, D)

    out["image_encoder.neck.0.weight"] = (D, C, 1, 1)
    affine("image_encoder.neck.1", D)
    out["image_encoder.neck.2.weight"] = (D, D, 3, 3)
    affine("image_encoder.neck.3", D)
    out["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = (2, D // 2)
    out.update({f"prompt_encoder.point_embeddings.{i}.weight": (1, D) for i in range(4)})
    out["prompt_encoder.not_a_point_embed.weight"] = (1, D)
    for i, shape in {0: (S // 4, 1, 2, 2), 1: (S // 4,), 3: (S, S // 4, 2, 2), 4: (S,), 6: (D, S, 1, 1)}.items():
        affine(f"prompt_encoder.mask_downscaling.{i}", *shape)
    out["prompt_encoder.no_mask_embed.weight"] = (1, D)
    if s["iou_head"]:
        out["mask_decoder.iou_token.weight"] = (1, D)
    out["mask_decoder.mask_tokens.weight"] = (M, D)
    t = "mask_decoder.transformer."
    for i in range(s["blocks"]):
        b = f"{t}layers.{i}."
        for name in ATTENTIONS:
            attention(b + name, D if name == "self_attn" else D // 2)
        for j in range(1, 5):
            affine(f"{b}norm{j}", D)
        affine(b + "mlp.lin1", s["mlp"], D)
        affine(b + "mlp.lin2", D, s["mlp"])
    attention(t + "final_attn_token_to_image", D // 2)
    affine(t + "norm_final_attn", D)
    affine("mask_decoder.output_upscaling.0", D, D // 4, 2, 2, bias=D // 4)
    affine("mask_decoder.output_upscaling.1", D // 4)
    affine("mask_decoder.output_upscaling.3", D // 4, D // 8, 2, 2, bias=D // 8)
    for i in range(M):
        mlp(f"mask_decoder.output_hypernetworks_mlps.{i}", D // 8)
    if s["iou_head"]:
        mlp("mask_decoder.iou_prediction_head", M)
    if s["text_proj"] == "linear":
        affine("text_proj", D, s["text_dim"])
    if s["text_proj"] == "mlp":
        affine("text_proj.0", s["text_dim"], s["text_dim"])
        affine("text_proj.2", D, s["text_dim"])
    return {"mask_head." + name: shape for name, shape in out.items()}


def image_pe(G, h, w):
    """The code of the positions [h w, D] of the matrix G [2,D/2]: sin and cos of 2 pi (x G[0] + y G[1]), centres of pixels in -1..1."""
    G = G.detach().double()
    y = (torch.arange(h, dtype=torch.float64) + 0.5) / h * 2 - 1
    x = (torch.arange(w, dtype=torch.float64) + 0.5) / w * 2 - 1
    z = 2 * math.pi * (x[None, :, None] * G[0] + y[:, None, None] * G[1]).reshape(h * w, -1)
    return torch.cat([torch.sin(z), torch.cos(z)], -1)


def resize(logits, height, width):
    """[P,H,W] -> [P,height,width]: bilinear, corners not aligned."""
    return F.interpolate(logits[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]


class MaskHead:
    """self.weights {name: tensor that collects a gradient}, self.trace {name: activation}, self.margin: how near to 0 a ReLU came."""

    def __init__(self, settings, weights, dtype=torch.float64):
        shapes = parameter_shapes(settings)
        found = {n: tuple(w.shape) for n, w in weights.items()}
        if found != shapes:
            wrong = sorted(n for n in {**found, **shapes} if found.get(n) != shapes.get(n))
            raise ValueError(f"the weights are not those of the configuration: {', '.join(wrong[:5])}")
        self.settings, self.trace, self.margin = settings, {}, math.inf
        self.weights = {n: weights[n].detach().to(dtype) for n in shapes}
        for n, w in self.weights.items():
            w.requires_grad_("gaussian_matrix" not in n)

    def get(self, name):
        return self.weights.get("mask_head." + name)

    def keep(self, name, t):
        """Notes an activation and returns it."""
        if t.requires_grad:
            t.retain_grad()
        self.trace["mask_head." + name] = t
        return t

    def affine(self, name, x):
        return F.linear(x, self.get(name + ".weight").flatten(1), self.get(name + ".bias"))

    def kept(self, name, x):
        return self.keep(name, self.affine(name, x))

    def relu(self, name, x):
        self.margin = min(self.margin, float(x.detach().abs().min()))
        return self.keep(name, torch.relu(x))

    def norm(self, name, x, eps):
        """LayerNorm over the last axis."""
        return self.keep(name, F.layer_norm(x, x.shape[-1:], self.get(name + ".weight"), self.get(name + ".bias"), eps))

    # ---- pictures and prompts

    def neck(self, features):
        """[B,h,w,C] -> E [B,h,w,D]"""
        n = "image_encoder.neck."
        x = self.norm(n + "1", self.kept(n + "0", features), 1e-6)
        x = F.conv2d(x.permute(0, 3, 1, 2), self.get(n + "2.weight"), padding=1).permute(0, 2, 3, 1)
        return self.norm(n + "3", self.keep(n + "2", x), 1e-6)

    def text_tokens(self, text):
        """[P,text_dim] -> [P,D]"""
        kind = self.settings["text_proj"]
        if kind == "none":
            return self.keep("text_proj#scaled", text * self.settings["text_scale"])
        if kind == "linear":
            return self.kept("text_proj", text)
        return self.kept("text_proj.2", self.relu("text_proj.1", self.kept("text_proj.0", text)))

    def tokens(self, text):
        """Output tokens, then the text: [P,n,D]"""
        outputs = [self.get("mask_decoder." + n) for n in ("iou_token.weight", "mask_tokens.weight")]
        outputs = torch.cat([o for o in outputs if o is not None])
        t = torch.cat([outputs[None].expand(len(text), -1, -1), self.text_tokens(text)[:, None]], 1)
        return self.keep("mask_decoder#tokens", t.flatten(0, 1)).reshape(t.shape)

    # ---- transformer

    def project(self, name, x, image_of):
        """The projection of [P,r,D], or of what pictures have in common [B,r,D], made once a picture."""
        if image_of is None:
            return self.kept(name, x.flatten(0, 1)).reshape(len(x), x.shape[1], -1)
        y = self.keep(name + "#pictures", self.affine(name, x.flatten(0, 1)))
        return y.reshape(len(x), x.shape[1], -1)[image_of]

    def attention(self, name, q, k, v, res, of=(None, None, None)):
        """res + out_proj(softmax(q k^T / sqrt d) v): [P,a,D], [P,b,D], [P,b,D] -> [P,a,D]; `of`: image_of for q, k, v that are shared."""
        q, k, v = (self.project(f"{name}.{p}_proj", x, o) for p, x, o in zip("qkv", (q, k, v), of))
        if of[0] is not None:
            q = self.keep(name + ".q_proj", q.flatten(0, 1)).reshape(q.shape)
        q, k, v = (x.unflatten(-1, (self.settings["heads"], -1)).transpose(1, 2) for x in (q, k, v))
        p = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), -1)
        context = self.keep(name + "#context", (p @ v).transpose(1, 2).flatten(2).flatten(0, 1))
        y = self.affine(name + ".out_proj", context)
        y = self.keep(name + ".out_proj", y) if res is None else self.keep(name + "#residual", res.flatten(0, 1) + y)
        return y.reshape(len(q), -1, y.shape[-1])

    def transformer(self, T, K, pos, image_of):
        """T [P,n,D], K [B,m,D], pos [m,D] -> Q [P,n,D], K [P,m,D]"""
        t, Q, of = "mask_decoder.transformer.", T, image_of
        norm = lambda name, x: self.norm(t + name, x.flatten(0, 1), 1e-5).reshape(x.shape)
        for i in range(self.settings["blocks"]):
            b = f"layers.{i}."
            q = Q + T if i else Q
            Q = norm(b + "norm1", self.attention(t + b + "self_attn", q, q, Q, Q if i else None))
            Q = norm(b + "norm2", self.attention(t + b + "cross_attn_token_to_image", Q + T, K + pos, K, Q, (None, of, of)))
            z = self.relu(t + b + "mlp.act", self.kept(t + b + "mlp.lin1", Q.flatten(0, 1)))
            z = self.keep(t + b + "mlp#residual", Q.flatten(0, 1) + self.affine(t + b + "mlp.lin2", z))
            Q = norm(b + "norm3", z.reshape(Q.shape))
            res = K if of is None else K[of]
            K = norm(b + "norm4", self.attention(t + b + "cross_attn_image_to_token", K + pos, Q + T, Q, res, (of, None, None)))
            of = None
        return norm("norm_final_attn", self.attention(t + "final_attn_token_to_image", Q + T, K + pos, K, Q)), K

    # ---- masks

    def upscaling(self, K):
        """[P,h,w,D] -> U [P,4h,4w,D/8]"""
        def up(i, x):
            n = f"mask_decoder.output_upscaling.{i}"
            y = F.conv_transpose2d(x.permute(0, 3, 1, 2), self.get(n + ".weight"), self.get(n + ".bias"), stride=2)
            return self.keep(n, y.permute(0, 2, 3, 1))

        n = "mask_decoder.output_upscaling."
        x = self.keep(n + "2", F.gelu(self.norm(n + "1", up(0, K), 1e-6)))
        return self.keep(n + "4", F.gelu(up(3, x)))

    def hypernetwork(self, x):
        """[P,D] -> [P,D/8]"""
        n = "mask_decoder.output_hypernetworks_mlps.0.layers."
        for i in range(2):
            x = self.relu(f"{n}{i}#relu", self.kept(f"{n}{i}", x))
        return self.kept(n + "2", x)

    def decoder(self, E, text, image_of):
        """E [B,h,w,D], text tokens' input [P,text_dim] -> logits [P,4h,4w]"""
        (B, h, w, D), P = E.shape, len(text)
        G = self.get("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix")
        pos = self.keep("prompt_encoder.pe_layer", image_pe(G, h, w).to(E.dtype))
        K = self.keep("mask_decoder#src", (E + self.get("prompt_encoder.no_mask_embed.weight")).reshape(B * h * w, D))
        Q, K = self.transformer(self.tokens(text), K.reshape(B, h * w, D), pos, image_of)
        token = self.keep("mask_decoder#mask_token", Q[:, 1 if self.settings["iou_head"] else 0])
        weight, U = self.hypernetwork(token), self.upscaling(K.reshape(P, h, w, D))
        return self.keep("mask_decoder", torch.einsum("pc,phwc->phw", weight, U))

    def __call__(self, features, text, image_of):
        """features [B,h,w,C], text [P,text_dim], image_of [P] integers -> logits [P,4h,4w]"""
        if not (image_of.dim() == 1 and len(image_of) == len(text) > 0 and 0 <= int(image_of.min()) <= int(image_of.max()) < len(features)):
            raise ValueError(f"image_of {image_of.tolist()}: expected {len(text)} numbers below {len(features)}")
        self.trace.clear()
        self.margin = math.inf
        return self.decoder(self.neck(features), text, image_of)


def zero_gradients(settings):
    """Names of the parameters whose gradient is truly zero: a key's bias adds one number to all scores of a row, and softmax ignores it."""
    return [n for n in parameter_shapes(settings) if n.endswith("k_proj.bias")]


def gauges(model, terms):
    """{kind/name: size of the loss, and of the gradient of each key's bias, had nothing cancelled in its last sum}. After backward.

    terms: the products whose sum is the loss. The gradient of a bias is the sum of the rows of its layer's gradient.
    """
    out = {"loss/total": float(terms.detach().abs().sum())}
    for n in zero_gradients(model.settings):
        k = n.removesuffix(".bias")
        k = model.trace[k if k in model.trace else k + "#pictures"].grad
        out["dw/" + n] = float(k.abs().sum(0).square().mean().sqrt())
    return out
