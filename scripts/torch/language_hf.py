"""What transformers (Qwen3ForCausalLM, eager attention, float32) and PEFT compute for the inputs of language.py.

Samples run one by one, so packing is checked too, and losses are those of transformers. Settings, names and shapes: language.py.
"""
import warnings

import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.generation.logits_process import (RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper,
                                                    TopPLogitsWarper)
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb
from transformers.utils import logging

import language

logging.disable_progress_bar()


def check_settings(model, config):
    """Raises unless transformers took over the settings that it could silently replace by its own."""
    rope, theta = model.config.rope_parameters, language.rope_theta(config)
    c = model.config
    got = (c._attn_implementation, rope["rope_type"], rope["rope_theta"], c.head_dim, c.tie_word_embeddings)
    want = ("eager", "default", theta, config["head_dim"], config["tie_word_embeddings"])
    if got != want:
        raise RuntimeError(f"transformers runs with {got}, expected {want}")


def hf_model(settings, weights):
    """Qwen3ForCausalLM with weights {name: float32 tensor}; names of a projector or of LoRA are left out."""
    config = settings["config"]
    model = Qwen3ForCausalLM._from_config(Qwen3Config.from_dict(dict(config)), attn_implementation="eager").float().eval()
    check_settings(model, config)
    own = {n: w for n, w in weights.items() if n.startswith(("model.", "lm_head."))}
    if config["tie_word_embeddings"]:
        own["lm_head.weight"] = own["model.embed_tokens.weight"]
    model.load_state_dict(own, strict=True)
    return model


class Projector(torch.nn.Module):
    """The projector out of torch's own layers."""

    def __init__(self, settings):
        super().__init__()
        p, h = settings["projector"], settings["config"]["hidden_size"]
        self.norm = torch.nn.LayerNorm(settings["channels"], eps=1e-6) if p["norm"] == "ln" else torch.nn.Identity()
        self.fc1 = torch.nn.Linear(4 * settings["channels"], p["hidden"])
        self.act = torch.nn.GELU()
        self.fc2 = torch.nn.Linear(p["hidden"], h)

    def forward(self, x):
        """x [4n,C] -> [n,h]"""
        return self.fc2(self.act(self.fc1(self.norm(x).reshape(-1, self.fc1.in_features))))


def hf_projector(settings, weights):
    """A Projector with its weights, or None without one."""
    if not settings.get("projector"):
        return None
    module = Projector(settings)
    module.load_state_dict({n.removeprefix("projector."): w for n, w in weights.items() if n.startswith("projector.")}, strict=True)
    return module


def with_adapters(model, settings, weights):
    """The PEFT model around a model, its LoRA matrices taken from weights; all else frozen."""
    lora = settings["lora"]
    config = LoraConfig(r=lora["r"], lora_alpha=lora["lora_alpha"], target_modules=lora["target_modules"], lora_dropout=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers for an old name
        wrapped = get_peft_model(model, config)
    adapters = {n: w for n, w in weights.items() if ".lora_" in n}
    outcome = set_peft_model_state_dict(wrapped, adapters)
    trainable = {n.replace(".default.", "."): p for n, p in wrapped.named_parameters() if p.requires_grad}
    if outcome.unexpected_keys or set(trainable) != set(adapters):
        raise RuntimeError(f"PEFT names other matrices: {sorted(set(trainable) ^ set(adapters))}")
    return wrapped, trainable


class Watch:
    """Hooks; trace() gives {name: activation} of all samples together, gradients() {name: gradient}."""

    def __init__(self, model, projector):
        self.parts, self.tables = {}, None
        model.model.rotary_emb.register_forward_hook(lambda m, args, out: setattr(self, "tables", out))
        self.output(model.model.embed_tokens, "model.embed_tokens")
        for i, layer in enumerate(model.model.layers):
            b = f"model.layers.{i}"
            attention, mlp = layer.self_attn, layer.mlp
            for name in ("q_proj", "k_proj", "v_proj", "q_norm", "k_norm"):
                self.output(getattr(attention, name), f"{b}.self_attn.{name}")
            for name in ("gate_proj", "up_proj"):
                self.output(getattr(mlp, name), f"{b}.mlp.{name}")
            self.rotated(attention.q_norm, b + ".self_attn.q_norm#rotated")
            self.rotated(attention.k_norm, b + ".self_attn.k_norm#rotated")
            self.output(layer.input_layernorm, b + ".input_layernorm")
            self.output(layer.post_attention_layernorm, b + ".post_attention_layernorm")
            self.first_input(attention.o_proj, b + ".self_attn#context")
            self.first_input(layer.post_attention_layernorm, b + ".self_attn#residual")
            self.first_input(mlp.down_proj, b + ".mlp#gated")
            self.output(layer, b)
        self.output(model.model.norm, "model.norm")
        self.output(model.lm_head, "lm_head")
        if projector:
            for name, module in projector.named_children():
                if not isinstance(module, torch.nn.Identity):
                    self.output(module, "projector." + name)

    def keep(self, name, t):
        if torch.is_grad_enabled() and t.requires_grad:
            t.retain_grad()
        self.parts.setdefault(name, []).append(t)

    def output(self, module, name):
        module.register_forward_hook(lambda m, args, out: self.keep(name, out))

    def first_input(self, module, name):
        module.register_forward_pre_hook(lambda m, args: self.keep(name, args[0]))

    def rotated(self, module, name):
        """No module returns these: transformers' own function on what the norm returned; without a gradient."""
        turn = lambda x: apply_rotary_pos_emb(x, x, *self.tables, unsqueeze_dim=2)[0].detach()
        module.register_forward_hook(lambda m, args, out: self.keep(name, turn(out)))

    def joined(self, of):
        """Samples run as batches of one; the projector has no batch axis."""
        flat = lambda name, t: t if name.startswith("projector.") else t[0]
        return {n: torch.cat([flat(n, of(t)) for t in ts]).detach() for n, ts in self.parts.items()
                if all(of(t) is not None for t in ts)}

    def trace(self):
        return self.joined(lambda t: t)

    def gradients(self):
        return self.joined(lambda t: t.grad if t.requires_grad else None)


def spliced(model, settings, ids, projected):
    """Input embeddings [1,n,h] of one sample; projected [m,h] or None."""
    x = model.get_input_embeddings()(ids[None])
    places = (ids == settings["image_pad"])[None, :, None].expand_as(x)
    return x if projected is None else x.masked_scatter(places, projected)


def run_caption(settings, given, weights):
    """(activations, their gradients, weight gradients, losses), each {name: tensor}. given: ids, cu_seqlens, labels, features."""
    model, projector = hf_model(settings, weights), hf_projector(settings, weights)
    wrapped, trainable = model, {**dict(model.named_parameters()), **{"projector." + n: p for n, p in projector.named_parameters()}}
    if settings.get("lora"):
        wrapped, trainable = with_adapters(model, settings, weights)
        projector.requires_grad_(False)
    watch = Watch(model, projector)
    features = given["features"].to(torch.float32, copy=True).requires_grad_()
    projected, cu, used = projector(features), [int(n) for n in given["cu_seqlens"]], 0
    wanted = language.next_labels(given["labels"], cu)
    total = int((wanted >= 0).sum())
    losses = {"sample": [], "token": []}
    for b, e in zip(cu[:-1], cu[1:]):
        ids, n = given["ids"][b:e], int((given["ids"][b:e] == settings["image_pad"]).sum())
        x = spliced(model, settings, ids, projected[used : used + n])
        watch.keep("model.embed_tokens#spliced", x)
        used += n
        out = wrapped(inputs_embeds=x, labels=given["labels"][b:e][None], use_cache=False)
        losses["sample"].append(out.loss / (len(cu) - 1))
        losses["token"].append(model.loss_function(logits=out.logits, labels=given["labels"][b:e][None], num_items_in_batch=total,
                                                   vocab_size=model.config.vocab_size))
    losses = {n: sum(l) for n, l in losses.items()}
    losses["total"] = losses[settings["reduction"]]
    losses["total"].backward()
    dact = {**watch.gradients(), "features": features.grad}
    return watch.trace(), dact, {n: p.grad for n, p in trainable.items()}, losses


def run_embed(settings, given, weights):
    """Embeddings {dim: [texts,dim]} of texts that run one by one through the model without a head."""
    model, cu, rows = hf_model(settings, weights).model, given["cu_seqlens"], []
    with torch.no_grad():
        for b, e in zip(cu[:-1], cu[1:]):
            rows.append(model(input_ids=given["ids"][b:e][None], use_cache=False).last_hidden_state[0, -1])
    return {d: torch.nn.functional.normalize(torch.stack(rows)[:, :d], dim=-1) for d in settings["dims"]}


def run_greedy(settings, given, weights):
    """generate() with its key-value cache: ids [n], logits [n,V]."""
    model, projector = hf_model(settings, weights), hf_projector(settings, weights)
    with torch.no_grad():
        x = spliced(model, settings, given["ids"], projector(given["features"].float()) if "features" in given else None)
        out = model.generate(inputs_embeds=x, attention_mask=torch.ones(x.shape[:2], dtype=torch.int64), do_sample=False,
                             max_new_tokens=settings["max_new"], eos_token_id=settings["eos"], pad_token_id=settings["eos"][0],
                             use_cache=True, output_logits=True, return_dict_in_generate=True)
    return out.sequences[0], torch.cat(out.logits)


def run_sampling(given):
    """Probabilities [cases,V] after the processors of transformers, in the order in which generate() applies them."""
    rows = []
    for temperature, top_k, top_p, penalty in given["settings"].tolist():
        processors = [RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1 else []
        processors += [TemperatureLogitsWarper(temperature)] if temperature != 1 else []
        processors += [TopKLogitsWarper(int(top_k))] if top_k else []
        processors += [TopPLogitsWarper(top_p)] if top_p < 1 else []
        scores = given["logits"][None].to(torch.float32, copy=True)
        for p in processors:
            scores = p(given["seen"][None], scores)
        rows.append(scores.softmax(-1)[0])
    return torch.stack(rows)
