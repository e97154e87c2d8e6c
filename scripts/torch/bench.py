#!/usr/bin/env python3
"""The same steps in versavit and in PyTorch, one after the other on one machine: bench.py [CASE...]

Cases are those of `versavit bench`: vit_s_step, ci_vit_step, micro_step (forward, backward, AdamW), tower_forward, tower_train; and, with
the models of transformers on PyTorch's side, qwen_prefill, qwen_train, qwen_decode, depth_forward, depth_train, mask_forward, mask_train;
and train_tiny, train_small: whole updates of all three tasks on the same batches and weights (bench_updates.py; not compiled).
PyTorch runs three ways: as installed (eager, plain AdamW), at its best (eager: fused attention, fused AdamW, in place residuals
where autograd allows it, gradients set to none), and compiled (torch.compile of the best one). Each program is timed by itself,
turn by turn, ROUNDS times; the best of each counts, and the ratio is PyTorch's time over versavit's: above 1 versavit is faster.
Unset OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE before you quote a figure.
"""
import argparse, json, os, subprocess, sys, tempfile, time

import torch
from torch import nn
from torch.nn import functional as F

CASES = {  # embed_dim, heads, depth, hidden_size, pictures, grid side, mode
    "vit_s_step": (384, 6, 12, 384, 8, 14, "step"),
    "ci_vit_step": (128, 4, 4, 128, 4, 8, "step"),
    "micro_step": (16, 2, 3, 32, 1, 6, "step"),
    "tower_forward": (1280, 16, 32, 3584, 1, 40, "forward"),
    "tower_train": (1280, 16, 32, 3584, 1, 40, "train"),
}


def angles(grid, head_dim):
    """cos, sin [T, head_dim/2] of the 2-D rotary embedding; tokens in 2x2 merge-block order."""
    half = grid // 2
    order = [(2 * by + y, 2 * bx + x) for by in range(half) for bx in range(half) for y in (0, 1) for x in (0, 1)]
    f = head_dim // 4
    inv = 10000.0 ** (-torch.arange(f, dtype=torch.float64) / f)
    theta = torch.tensor([[*(y * inv), *(x * inv)] for y, x in order])
    return theta.cos().float(), theta.sin().float()


class Block(nn.Module):
    def __init__(self, C, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.norm1, self.norm2 = nn.LayerNorm(C, eps=1e-6), nn.LayerNorm(C, eps=1e-6)
        self.qkv, self.proj = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.fc1, self.fc2 = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def rotate(self, x, cos, sin):
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def forward(self, h, cos, sin):
        """h [B,T,C]: every picture is a row of the batch, so attention needs no segments."""
        B, T, C = h.shape
        q, k, v = self.qkv(self.norm1(h)).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
        if self.fused:
            o = F.scaled_dot_product_attention(q, k, v)
        else:
            o = ((q @ k.transpose(-1, -2)) * (C // self.heads) ** -0.5).softmax(-1) @ v
        h = h + self.proj(o.transpose(1, 2).reshape(B, T, C))
        z = self.fc1(self.norm2(h))
        return h + self.fc2(z * torch.sigmoid(1.702 * z))


class Tower(nn.Module):
    def __init__(self, C, heads, depth, out, grid, fused):
        super().__init__()
        self.embed = nn.Linear(1176, C, bias=False)
        self.blocks = nn.ModuleList(Block(C, heads, fused) for _ in range(depth))
        self.ln_q, self.fc1, self.fc2 = nn.LayerNorm(C, eps=1e-6), nn.Linear(4 * C, 4 * C), nn.Linear(4 * C, out)
        cos, sin = angles(grid, C // heads)
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)

    def forward(self, x):
        h = self.embed(x)
        for block in self.blocks:
            h = block(h, self.cos, self.sin)
        return self.fc2(F.gelu(self.fc1(self.ln_q(h).flatten(1).view(-1, 4 * h.shape[-1]))))


def stepper(case, kind, record):
    """A function that runs one step of the case; record: the file of a train_*."""
    if case.startswith("train_"):
        import bench_updates
        if kind == "compiled":
            raise SystemExit("compiled: for the towers alone")
        return bench_updates.stepper(case, kind, record)
    if case not in CASES:
        import bench_models
        torch.manual_seed(1)
        if kind == "compiled":
            raise SystemExit("compiled: for the towers alone")
        return bench_models.CASES[case](kind)
    C, heads, depth, out, pictures, grid, mode = CASES[case]
    torch.manual_seed(1)
    model = Tower(C, heads, depth, out, grid, fused=kind != "installed")
    x = torch.randn(pictures, grid * grid, 1176)
    cotangent = torch.randn(pictures * grid * grid // 4, out)
    run = torch.compile(model) if kind == "compiled" else model
    if mode == "forward":
        def step():
            with torch.inference_mode():
                run(x)
        return step
    optimizer = torch.optim.AdamW(model.parameters(), fused=True) if kind != "installed" else torch.optim.AdamW(model.parameters())

    def step():
        optimizer.zero_grad(set_to_none=True)
        (run(x) * cotangent).sum().backward()
        if mode == "step":
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=kind != "installed")
            optimizer.step()
    return step


def best_time(step, seconds):
    """The best of as many runs as fit into the seconds, at least 3, after two that pay for memory and compilation."""
    step(), step()
    best, end, n = float("inf"), time.perf_counter() + seconds, 0
    while n < 3 or time.perf_counter() < end:
        t = time.perf_counter()
        step()
        best, n = min(best, time.perf_counter() - t), n + 1
    return best


def versavit(binary, case, record):
    more = ["--record", record] if case.startswith("train_") else []
    text = subprocess.run([binary, "bench", case, "--json", *more], check=True, capture_output=True, text=True).stdout
    return json.loads(text)[0]


def in_child(case, kind, a, record):
    """PyTorch in a process of its own, so that neither its threads nor its memory stay."""
    command = [sys.executable, __file__, "--child", kind, "--seconds", str(a.seconds), "--threads", str(a.threads), "--record", record, case]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        print(f"{case}, {kind}: {(out.stderr.strip().splitlines() or ['failed'])[-1]}", file=sys.stderr)
    return float(out.stdout.split()[-1]) if out.returncode == 0 else float("nan")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("case", nargs="*", default=["vit_s_step", "ci_vit_step", "micro_step"])
    p.add_argument("--versavit", default="build/versavit")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=3, help="for each PyTorch measurement")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--kinds", default="installed,best,compiled")
    p.add_argument("--child", help=argparse.SUPPRESS)
    p.add_argument("--record", help=argparse.SUPPRESS)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if a.child:
        print(best_time(stepper(a.case[0], a.child, a.record), a.seconds))
        return 0
    kinds = a.kinds.split(",")
    print(f"torch {torch.__version__}, {a.threads} threads; milliseconds, best of {a.rounds} rounds")
    print(f"{'case':14} {'versavit':>10} " + " ".join(f"{'torch ' + k:>16} {'ratio':>6}" for k in kinds) + "   sgemm GFLOP/s, core")
    for case in a.case:
        ours, theirs = [], {k: [] for k in kinds}
        with tempfile.TemporaryDirectory() as folder:
            record = os.path.join(folder, "record.safetensors")
            for _ in range(a.rounds):
                ours.append(versavit(a.versavit, case, record))
                for k in kinds:
                    theirs[k].append(in_child(case, k, a, record))
        fast = min(ours, key=lambda o: o["seconds"])
        cells = [f"{1e3 * min(theirs[k]):16.3f} {min(theirs[k]) / fast['seconds']:6.2f}" for k in kinds]
        print(f"{case:14} {1e3 * fast['seconds']:10.3f} " + " ".join(cells) + f"   {fast['sgemm_gflops']:.0f}, {fast['blas_core']}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
