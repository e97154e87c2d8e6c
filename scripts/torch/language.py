"""The Qwen3 decoder with a projector of picture features, in plain torch and any dtype; meant for float64.

A float64 model of transformers is no float64 truth: RMSNorm, rotary tables, softmax and loss pass through float32 whatever
its dtype. Here everything is basic operations in one dtype, rotary tables in float64. It needs torch only.

Shapes: T tokens of all samples one after the other, cu_seqlens [samples+1] the places where they begin and end; h hidden_size,
H query heads, K key heads, d head_dim, V vocab_size; C channels of a feature row, four rows (a 2x2 block) a picture token.
Names are the module paths of Qwen3ForCausalLM; LoRA matrices have the names that PEFT saves.

Settings is a dict: "config" (config.json of a Qwen3 model), "image_pad" (id of a picture token), "channels" (C), "projector"
({"norm": "ln" or "none", "hidden": width between its two layers}; may be missing), "lora" ({"r", "lora_alpha", "target_modules"}; too).
"""
import math

import torch

from tower import gelu, layer_norm

IGNORED = -100
PROJECTOR_EPS = 1e-6


def rope_theta(config):
    """Base of the rotary frequencies: newer transformers keep it in rope_parameters."""
    return config["rope_theta"] if "rope_theta" in config else config["rope_parameters"]["rope_theta"]


def parameter_shapes(settings):
    """{name: shape} of every parameter, in the order of the model; a tied model has no lm_head.weight."""
    c, projector = settings["config"], settings.get("projector")
    h, wide, d = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    queries, keys = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    s = {"model.embed_tokens.weight": (c["vocab_size"], h)}
    for i in range(c["num_hidden_layers"]):
        b = f"model.layers.{i}."
        s.update({b + "self_attn.q_proj.weight": (queries, h), b + "self_attn.k_proj.weight": (keys, h),
                  b + "self_attn.v_proj.weight": (keys, h), b + "self_attn.o_proj.weight": (h, queries),
                  b + "self_attn.q_norm.weight": (d,), b + "self_attn.k_norm.weight": (d,),
                  b + "mlp.gate_proj.weight": (wide, h), b + "mlp.up_proj.weight": (wide, h),
                  b + "mlp.down_proj.weight": (h, wide),
                  b + "input_layernorm.weight": (h,), b + "post_attention_layernorm.weight": (h,)})
    s["model.norm.weight"] = (h,)
    if not c["tie_word_embeddings"]:
        s["lm_head.weight"] = (c["vocab_size"], h)
    if projector:
        C, width = settings["channels"], projector["hidden"]
        if projector["norm"] == "ln":
            s.update({"projector.norm.weight": (C,), "projector.norm.bias": (C,)})
        s.update({"projector.fc1.weight": (width, 4 * C), "projector.fc1.bias": (width,),
                  "projector.fc2.weight": (h, width), "projector.fc2.bias": (h,)})
    return s


def adapter_shapes(settings):
    """{name: shape} of the LoRA matrices, under the names of adapter_model.safetensors."""
    lora, out = settings.get("lora"), {}
    if not lora:
        return out
    for name, (n_out, n_in) in ((n, s) for n, s in parameter_shapes(settings).items() if len(s) == 2):
        module = name.removesuffix(".weight")
        if module.startswith("model.layers.") and module.rsplit(".", 1)[1] in lora["target_modules"]:
            out[f"base_model.model.{module}.lora_A.weight"] = (lora["r"], n_in)
            out[f"base_model.model.{module}.lora_B.weight"] = (n_out, lora["r"])
    return out


# ---- formulas -----------------------------------------------------------------------------------------------------

def rms_norm(x, w, eps):
    """x [...,n], w [n] -> w x / sqrt(mean(x^2) + eps)."""
    return w * (x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps))


def silu(x):
    """x * sigmoid(x), any shape."""
    return x / (1 + torch.exp(-x))


def positions(cu_seqlens):
    """Positions [T]: 0, 1, 2 ... in every sample anew."""
    return torch.cat([torch.arange(e - b) for b, e in zip(cu_seqlens[:-1], cu_seqlens[1:])])


def rotate(x, place, theta):
    """x [T,heads,d] turned by place * theta^(-2i/d): dimension i with dimension i + d/2. The tables are float64."""
    d = x.shape[-1]
    inverse = torch.tensor([theta ** (-2 * i / d) for i in range(d // 2)], dtype=torch.float64)
    angle = (place.double()[:, None] * inverse)[:, None]
    cos, sin = torch.cos(angle).to(x.dtype), torch.sin(angle).to(x.dtype)
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def causal_attention(q, k, v, cu_seqlens):
    """q [T,H,d], k and v [T,K,d] -> context [T,H d]. Query head j reads key head j // (H/K), of its own sample, up to itself."""
    (_, H, d), K, out = q.shape, k.shape[1], []
    for b, e in zip(cu_seqlens[:-1], cu_seqlens[1:]):
        grouped = q[b:e].reshape(e - b, K, H // K, d)
        scores = torch.einsum("tkgd,skd->kgts", grouped, k[b:e]) / math.sqrt(d)
        scores = scores.masked_fill(torch.ones(e - b, e - b, dtype=torch.bool).triu(1), -math.inf)
        p = torch.exp(scores - scores.amax(-1, keepdim=True).detach())
        out.append(torch.einsum("kgts,skd->tkgd", p / p.sum(-1, keepdim=True), v[b:e]).reshape(e - b, H * d))
    return torch.cat(out)


def next_labels(labels, cu_seqlens):
    """What each position predicts [T]: the next label of its sample; the last position of a sample predicts nothing."""
    out = torch.full_like(labels, IGNORED)
    for b, e in zip(cu_seqlens[:-1], cu_seqlens[1:]):
        out[b : e - 1] = labels[b + 1 : e]
    return out


def token_losses(logits, wanted):
    """logits [T,V], wanted [T] -> cross-entropy [T]; 0 where nothing is wanted."""
    top = logits.amax(-1, keepdim=True).detach()
    total = top[:, 0] + torch.log(torch.exp(logits - top).sum(-1))
    ce = total - logits.gather(1, wanted.clamp(min=0)[:, None])[:, 0]
    return torch.where(wanted >= 0, ce, torch.zeros_like(ce))


def reduce_losses(ce, wanted, cu_seqlens, reduction):
    """`token`: mean over all that is wanted. `sample`: mean over samples of the mean over what each wants."""
    predicts = wanted >= 0
    if reduction == "token":
        return ce[predicts].mean()
    if reduction != "sample":
        raise ValueError(f"reduction {reduction}, expected token or sample")
    spans = list(zip(cu_seqlens[:-1], cu_seqlens[1:]))
    if not all(predicts[b:e].any() for b, e in spans):
        raise ValueError("a sample predicts nothing: its mean is undefined")
    return sum(ce[b:e][predicts[b:e]].mean() for b, e in spans) / len(spans)


# ---- the model ----------------------------------------------------------------------------------------------------

class Language:
    """self.weights {name: tensor of dtype that collects a gradient} (with LoRA: the adapters only), self.trace {name: activation}."""

    def __init__(self, settings, weights, dtype=torch.float64):
        adapters = adapter_shapes(settings)
        shapes = {**parameter_shapes(settings), **adapters}
        found = {n: tuple(w.shape) for n, w in weights.items()}
        if found != shapes:
            wrong = sorted(n for n in {**found, **shapes} if found.get(n) != shapes.get(n))
            raise ValueError(f"the weights are not those of the configuration: {', '.join(wrong[:5])}")
        self.settings, self.config, self.trace = settings, settings["config"], {}
        self.all = {n: weights[n].detach().to(dtype) for n in shapes}
        self.weights = {n: self.all[n].requires_grad_() for n in adapters or shapes}
        self.scale = settings["lora"]["lora_alpha"] / settings["lora"]["r"] if adapters else None

    def keep(self, name, t):
        """Notes an activation and returns it. What depends on nothing trainable becomes a leaf, so that it has a gradient too."""
        if torch.is_grad_enabled():
            if not t.requires_grad:
                t = t.detach().requires_grad_()
            t.retain_grad()
        self.trace[name] = t
        return t

    def linear(self, name, x):
        """x [...,I] -> [...,O], with its LoRA matrices when it has some."""
        y = x @ self.all[name + ".weight"].T
        if name + ".bias" in self.all:
            y = y + self.all[name + ".bias"]
        a = self.all.get(f"base_model.model.{name}.lora_A.weight")
        return y if a is None else y + self.scale * (x @ a.T) @ self.all[f"base_model.model.{name}.lora_B.weight"].T

    def kept_linear(self, name, x):
        return self.keep(name, self.linear(name, x))

    def norm(self, name, x):
        return self.keep(name, rms_norm(x, self.all[name + ".weight"], self.config["rms_norm_eps"]))

    def projector(self, features):
        """features [4n,C] -> [n,h]"""
        p, x = self.settings["projector"], features
        if p["norm"] == "ln":
            w, b = self.all["projector.norm.weight"], self.all["projector.norm.bias"]
            x = self.keep("projector.norm", layer_norm(x, w, b, PROJECTOR_EPS))
        x = self.kept_linear("projector.fc1", x.reshape(-1, 4 * self.settings["channels"]))
        return self.kept_linear("projector.fc2", self.keep("projector.act", gelu(x)))

    def embed(self, ids, features):
        """ids [T], features [4n,C] or None -> [T,h]: the rows of picture tokens are replaced, in order, by projected features."""
        x = self.keep("model.embed_tokens", self.all["model.embed_tokens.weight"][ids])
        places = (ids == self.settings["image_pad"]).nonzero()[:, 0]
        rows = 0 if features is None else len(features)
        if rows != 4 * len(places):
            raise ValueError(f"{len(places)} picture tokens, {rows} feature rows")
        if rows:
            x = x.index_copy(0, places, self.projector(features))
        return self.keep("model.embed_tokens#spliced", x)

    def layer(self, i, x, place, cu_seqlens):
        """x [T,h] -> [T,h]"""
        b, d, theta = f"model.layers.{i}", self.config["head_dim"], rope_theta(self.config)
        n = self.norm(b + ".input_layernorm", x)
        a = b + ".self_attn"
        q, k, v = (self.kept_linear(f"{a}.{s}_proj", n).reshape(len(x), -1, d) for s in "qkv")
        q = self.keep(a + ".q_norm#rotated", rotate(self.norm(a + ".q_norm", q), place, theta))
        k = self.keep(a + ".k_norm#rotated", rotate(self.norm(a + ".k_norm", k), place, theta))
        context = self.keep(a + "#context", causal_attention(q, k, v, cu_seqlens))
        x = self.keep(a + "#residual", x + self.linear(a + ".o_proj", context))
        n = self.norm(b + ".post_attention_layernorm", x)
        gate, up = self.kept_linear(b + ".mlp.gate_proj", n), self.kept_linear(b + ".mlp.up_proj", n)
        return self.keep(b, x + self.linear(b + ".mlp.down_proj", self.keep(b + ".mlp#gated", silu(gate) * up)))

    def hidden(self, ids, cu_seqlens, features=None):
        """ids [T] -> [T,h] after the last norm"""
        if not 0 <= int(ids.min()) <= int(ids.max()) < self.config["vocab_size"]:
            raise ValueError(f"ids from {int(ids.min())} to {int(ids.max())}, expected 0 to {self.config['vocab_size'] - 1}")
        self.trace.clear()
        cu_seqlens = [int(n) for n in cu_seqlens]
        x, place = self.embed(ids, features), positions(cu_seqlens)
        for i in range(self.config["num_hidden_layers"]):
            x = self.layer(i, x, place, cu_seqlens)
        return self.norm("model.norm", x)

    def logits(self, hidden):
        """hidden [T,h] -> [T,V]"""
        head = "model.embed_tokens.weight" if self.config["tie_word_embeddings"] else "lm_head.weight"
        return self.keep("lm_head", hidden @ self.all[head].T)


def text_embeddings(model, ids, cu_seqlens, dim):
    """The last token of each text after the last norm, cut to dim numbers, then of length 1: [texts,dim]."""
    last = model.hidden(ids, cu_seqlens)[torch.as_tensor(cu_seqlens[1:]) - 1][:, :dim]
    return last / torch.sqrt((last * last).sum(-1, keepdim=True)).clamp(min=1e-12)


# ---- generation ---------------------------------------------------------------------------------------------------

def greedy(model, ids, features, eos, max_new):
    """The whole sequence anew for each token, no cache. Returns ids [n] (an eos is the last), logits [n,V], gaps [n] of the top two."""
    out, rows = [], []
    with torch.no_grad():
        while len(out) < max_new and not (out and out[-1] in eos):
            sequence = torch.cat([ids, torch.tensor(out, dtype=torch.int64)])
            rows.append(model.logits(model.hidden(sequence, [0, len(sequence)], features)[-1:])[0])
            out.append(int((rows[-1] == rows[-1].max()).nonzero()[0]))
    logits = torch.stack(rows)
    top = logits.topk(2).values
    return torch.tensor(out), logits, top[:, 0] - top[:, 1]


def sampling_probabilities(logits, seen, temperature, top_k, top_p, penalty):
    """logits [V] -> [V]: penalty on the distinct ids of seen, temperature, top-k (0: off, ties stay), top-p, softmax."""
    z = logits.clone()
    for i in sorted(set(seen.tolist())):
        z[i] = z[i] * penalty if z[i] < 0 else z[i] / penalty
    z = z / temperature
    if top_k:
        z[z < z.sort(descending=True).values[min(top_k, len(z)) - 1]] = -math.inf
    p = torch.exp(z - z.max())
    p = p / p.sum()
    order = p.sort(stable=True).indices
    drop = order[p[order].cumsum(0) <= 1 - top_p]
    drop = drop[drop != order[-1]]
    p[drop] = 0
    return p / p.sum()
