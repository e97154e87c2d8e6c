"""Updates of all three tasks in plain torch: forward, backward, clipping, AdamW, from what tests/train/updates.c has recorded.

The pieces are tower.py, language.py, depth_head.py, mask_head.py and losses.py; optimizer and clipping are torch's own, the schedule is
transformers'. A batch is one batch here, however the trainer cuts it. Names are those of the whole model: visual.*, projector.*,
model.*, depth_head.*, mask_head.*.

Kinks. Medians and signs of the depth loss are those of the recorded prediction: the gradient is taken there, and led back through the
prediction computed here (ref/loss/loss.h). The heads' ReLUs have no such record: `near`, a distance for each of them, decides all inputs
that are nearer to 0 the other way, which tells how much hangs on them.
"""
import math

import numpy as np
import torch
from transformers import get_cosine_with_min_lr_schedule_with_warmup

import language
import losses
import mask_head
from depth_head import DepthHead
from tower import Tower64, rotary_angles, token_places

TASKS = ("caption", "depth", "segmentation")
PARTS = ("visual", "projector", "model", "depth_head", "mask_head")


class Kinks:
    """The inputs of all ReLUs in the order of their calls; those within near[i] (of the i-th, when given) are decided the other way."""

    def __init__(self, near=None):
        self.near, self.inputs = near, []

    def relu(self, x):
        i, y = len(self.inputs), x.clamp(min=0)
        self.inputs.append(x.detach())
        return y if self.near is None else torch.where(x.detach().abs() < self.near[i], x - y, y)


class Tower(Tower64):
    """Tower64 in any dtype."""

    def __init__(self, v, weights, dtype):
        super().__init__(v, weights)
        self.dtype, self.weights = dtype, {n: weights[n].detach().to(dtype, copy=True).requires_grad_() for n in self.weights}

    def __call__(self, pixel_values, grid_thw):
        """The hidden states of all blocks, each [N,C]."""
        grid, merge = [tuple(int(n) for n in row) for row in grid_thw], self.v["spatial_merge_size"]
        angles = rotary_angles(grid, merge, self.v["embed_dim"] // self.v["num_heads"], self.v.get("rope_theta", 10000.0)).to(self.dtype)
        h, out = pixel_values.to(self.dtype) @ self.weights["patch_embed.proj.weight"].flatten(1).T, []
        for i in range(self.v["depth"]):
            h = self.block(i, h, angles, [h * w for t, h, w in grid for _ in range(t)])
            out.append(h)
        return out


class Depth(DepthHead):
    kinks = None

    def relu(self, x):
        return self.kinks.relu(x)


class Masks(mask_head.MaskHead):
    kinks = None

    def relu(self, name, x):
        return self.keep(name, self.kinks.relu(x))


def raster(x, grid_thw, merge):
    """x [N,C] of pictures of one grid, from the order of the tokens to raster order."""
    _, h, w = (int(n) for n in grid_thw[0])
    r, c = token_places([(1, h, w)], merge)
    order = torch.empty(h * w, dtype=torch.int64)
    order[(r * w + c).long()] = torch.arange(h * w)
    return x.reshape(-1, h * w, x.shape[1])[:, order].flatten(0, 1)


def rms(a):
    return float(a.detach().double().square().mean().sqrt())


class Model:
    """All parts with these weights {whole name: tensor}. config: config.json; image_pad: the id of a picture token."""

    def __init__(self, config, image_pad, weights, dtype, near=None):
        vision = config["vision_config"]
        part = lambda prefix: {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
        settings = dict(config=config["text_config"], image_pad=image_pad, channels=vision["embed_dim"], projector=config["projector"])
        speaks = {n: w for n, w in weights.items() if n.startswith(("model.", "projector."))}
        head = {**config["depth_head"], "width": vision["embed_dim"], "patch": vision["patch_size"]}
        self.config, self.dtype, self.kinks = config, dtype, Kinks(near)
        self.tower = Tower(vision, part("visual."), dtype)
        self.language = language.Language(settings, {n: w.clone() for n, w in speaks.items()}, dtype)
        self.depth = Depth(head, part("depth_head."), dtype)
        self.masks = Masks({**config["mask_head"], "width": vision["embed_dim"]},
                           {n: w.clone() for n, w in weights.items() if n.startswith("mask_head.")}, dtype)
        self.depth.kinks = self.masks.kinks = self.kinks
        self.leaves = {**{"visual." + n: w for n, w in self.tower.weights.items()}, **self.language.weights,
                       **{"depth_head." + n: w for n, w in self.depth.weights.items()}, **self.masks.weights}

    def take_gradients(self):
        """{name: gradient} of what was reached since the last call."""
        out = {n: w.grad for n, w in self.leaves.items() if w.grad is not None}
        for w in self.leaves.values():
            w.grad = None
        return out

    def caption(self, task, given):
        """The loss, its terms, and what else to compare, {name: tensor} each. given: {name: tensor} of the batch."""
        features, cu = None, [int(n) for n in given["cu_seqlens"]]
        if "pixel_values" in given:
            features = self.tower(given["pixel_values"], given["grid_thw"])[-1]
        ids, labels = given["ids"].long(), given["labels"].long()
        logits = self.language.logits(self.language.hidden(ids, cu, features))
        wanted = language.next_labels(labels, cu)
        ce = language.token_losses(logits, wanted)
        return language.reduce_losses(ce, wanted, cu, task.get("reduction", "sample")), {}, {}

    def predict_depth(self, task, given, recorded):
        """The same; self.other_medians: how many medians the prediction made here would choose otherwise than the recorded one."""
        head, grid = self.config["depth_head"], given["grid_thw"]
        states = self.tower(given["pixel_values"], grid)
        taps = [raster(states[i], grid, self.config["vision_config"]["spatial_merge_size"]) for i in head["taps"]]
        p, d = self.depth(taps, (len(grid), int(grid[0, 1]), int(grid[0, 2]))), given["disparity"].to(self.dtype)
        self.depth.trace["scratch.output_conv2.2"].retain_grad()
        config, ok = losses.filled(task.get("loss", {}), losses.DEPTH), losses.valid(d)
        at, own = (losses.medians(x, d, ok) for x in (recorded.to(self.dtype), p))
        there = p + (recorded.to(self.dtype) - p).detach()
        loss, _ = losses.depth_loss(there, d, ok, at, config)
        value, terms = losses.depth_loss(p.detach(), d, ok, own, config)
        self.other_medians = int((at != own).sum())
        return loss + (value - loss).detach(), terms, {"act/depth": p.detach()}

    def segmentation(self, task, given):
        head, grid = self.config["mask_head"], given["grid_thw"]
        h = self.tower(given["pixel_values"], grid)[head["layer"]]
        h = raster(h, grid, self.config["vision_config"]["spatial_merge_size"]).reshape(*(int(n) for n in (len(grid), *grid[0, 1:])), -1)
        logits = self.masks(h, given["text"].to(self.dtype), given["image_of"].long())
        targets = given["masks"].to(self.dtype)
        resized, config = mask_head.resize(logits, *targets.shape[1:]), losses.filled(task.get("loss", {}), losses.SEG)
        return *losses.seg_loss(resized, targets, config), {}

    def gauges(self, task):
        """{name: size of a gradient that is truly zero, had nothing cancelled in its last sum}, after the backward of a task.

        A key's bias moves all scores of a row alike. The depth loss does not see a shift of the prediction, so that its last bias has no
        gradient where every pixel is above 0."""
        if task == "segmentation":
            return {n.removeprefix("dw/"): g for n, g in mask_head.gauges(self.masks, torch.zeros(1)).items() if n.startswith("dw/")}
        if task == "depth":
            return {"depth_head.scratch.output_conv2.2.bias": float(self.depth.trace["scratch.output_conv2.2"].grad.abs().sum())}
        return {}


# ---- updates ----------------------------------------------------------------------------------------------------------

def factors(stage):
    """What the learning rates are multiplied by in each update."""
    schedule, S = stage["schedule"], stage["updates"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_cosine_with_min_lr_schedule_with_warmup(optimizer, math.ceil(schedule["warmup_ratio"] * S), S,
                                                            min_lr_rate=schedule["min_lr_ratio"])
    out = []
    for _ in range(S):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return out


class State:
    """weights {name: tensor}, moments {name: (m, v, updates)}."""

    def __init__(self, weights, moments):
        self.weights, self.moments = weights, moments

    def to(self, dtype):
        return State({n: w.to(dtype) for n, w in self.weights.items()},
                     {n: (m.to(dtype), v.to(dtype), t) for n, (m, v, t) in self.moments.items()})


def part_of(name):
    return name.split(".")[0]


def adamw(stage, state, gradients, factor):
    """The state after torch's clipping and AdamW, and the norm before clipping. Weights without a gradient stay."""
    how, params, groups = stage["optimizer"], {}, []
    for n, g in gradients.items():
        params[n] = torch.nn.Parameter(state.weights[n].clone())
        params[n].grad = g.clone()
        groups.append(dict(params=[params[n]], lr=stage["lr"][part_of(n)] * factor,
                           weight_decay=how["weight_decay"] if g.dim() > 1 else 0.0))
    optimizer = torch.optim.AdamW(groups, betas=how["betas"], eps=how["eps"], foreach=False)
    for n, p in params.items():
        if n not in state.moments:
            continue
        m, v, t = state.moments[n]
        optimizer.state[p] = dict(step=torch.tensor(float(t)), exp_avg=m.clone(), exp_avg_sq=v.clone())
    norm = torch.nn.utils.clip_grad_norm_(params.values(), how["max_grad_norm"], foreach=False)
    optimizer.step()
    done = {n: optimizer.state[p] for n, p in params.items()}
    moments = {n: (s["exp_avg"], s["exp_avg_sq"], int(s["step"])) for n, s in done.items()}
    return State({**state.weights, **{n: p.detach() for n, p in params.items()}}, moments), float(norm)


class Update:
    """One update: self.values {key: float64 array} as recorded, self.after the State behind it.

    For errors: self.sizes {key: number} is what they are measured against at least; self.coarse {key: number}, of the steps of what has
    a rate and a gradient, the size of the weights, of which rounding is a share."""

    def __init__(self, run, k, state, dtype, near=None):
        stage, start = run.stage, state.to(dtype)
        self.k, self.values, self.sizes, self.coarse = k, {}, {}, {}
        model, total, gauges, losses_total = Model(run.config, run.image_pad, start.weights, dtype, near), {}, {}, 0.0
        for task in stage["tasks"]:
            name, given = task["task"], run.batch(k, task["task"])
            if name == "depth":
                loss, terms, more = model.predict_depth(task, given, run.prediction(k))
            else:
                loss, terms, more = getattr(model, name)(task, given)
            (task["lambda"] * loss).backward()
            losses_total += task["lambda"] * float(loss.detach())
            self.keep(f"{name}/loss/{name}", loss)
            for n, x in {**{"loss/" + n: x for n, x in terms.items()}, **more}.items():
                self.keep(f"{name}/{n}", x)
            gauges.update(model.gauges(name))
            for n, g in model.take_gradients().items():
                self.keep(f"{name}/dw/{n}", g, gauges.get(n, 0.0))
                total[n] = total[n] + g if n in total else g
        self.kinks, self.other_medians = model.kinks.inputs, model.other_medians
        factor = factors(stage)[k - 1]
        self.after, norm = adamw(stage, start, total, factor)
        self.keep("all/loss/total", torch.tensor(losses_total, dtype=torch.float64))
        self.keep("all/norm", torch.tensor(norm, dtype=torch.float64))
        for part, lr in stage["lr"].items():
            self.keep(f"all/lr/{part}", torch.tensor(lr * factor, dtype=torch.float64))
        scale = min(1.0, stage["optimizer"]["max_grad_norm"] / (norm + 1e-6))
        for n, g in total.items():
            self.keep(f"all/dw/{n}", g, gauges.get(n, 0.0))
            m, v, _ = self.after.moments[n]
            self.keep(f"all/m/{n}", m, scale * gauges.get(n, 0.0))
            self.keep(f"all/v/{n}", v, (scale * gauges.get(n, 0.0)) ** 2)
        for n, w in run.trained(state.weights).items():
            lr = stage["lr"][part_of(n)] * factor
            self.keep(f"all/step/{n}", step(start.weights[n], self.after.weights[n], lr))
            if lr and n in total:
                self.coarse[f"u{k}/all/step/{n}"] = rms(w) / lr

    def keep(self, key, x, size=0.0):
        self.values[f"u{self.k}/{key}"] = x.detach().double().numpy()
        self.sizes[f"u{self.k}/{key}"] = size


def step(before, after, lr):
    """(after - before)/lr in float64; the difference itself where lr is 0."""
    return (after.double() - before.double()) / (lr or 1.0)


class Run:
    """What tests/train/updates.c has left in a folder: batches, predictions and states. weights: {name: tensor} that the run began with."""

    def __init__(self, config, image_pad, stage, weights, tensors, checkpoints):
        self.config, self.image_pad, self.stage, self.start = config, image_pad, stage, weights
        self.tensors, self.checkpoints = {k: torch.from_numpy(np.array(a)) for k, a in tensors.items()}, checkpoints
        self.names = [k.removeprefix("u0/all/w/") for k in tensors if k.startswith("u0/all/w/")]

    def batch(self, k, task):
        start = f"u{k}/{task}/in/"
        return {n.removeprefix(start): t for n, t in self.tensors.items() if n.startswith(start)}

    def prediction(self, k):
        return self.tensors[f"u{k}/depth/act/depth"]

    def trained(self, weights):
        return {n: weights[n] for n in self.names}

    def state(self, k):
        """As recorded after update k."""
        weights = {n: self.tensors[f"u{k}/all/w/{n}"] for n in self.names}
        return State({**self.start, **weights}, self.checkpoints[k] if k else {})

    def recorded(self, k):
        """{key: float64 array} of update k, in the keys of Update.values."""
        kinds = ("loss", "dw", "act", "lr", "norm")
        out = {n: t.double().numpy() for n, t in self.tensors.items() if n.startswith(f"u{k}/") and n.split("/")[2] in kinds}
        for n, (m, v, _) in self.checkpoints[k].items():
            out[f"u{k}/all/m/{n}"], out[f"u{k}/all/v/{n}"] = m.double().numpy(), v.double().numpy()
        before, after = self.state(k - 1).weights, self.state(k).weights
        for n in self.names:
            lr = float(self.tensors[f"u{k}/all/lr/{part_of(n)}"])
            out[f"u{k}/all/step/{n}"] = step(before[n], after[n], lr).numpy()
        return out
