#!/usr/bin/env python3
"""Curves of a run from OUT/log.jsonl (`versavit train`): losses of each task, learning rates, gradient norm; stages side by side.

    plot_run.py RUN                    opens a window
    plot_run.py RUN -o run.png         or run.pdf, run.svg
    plot_run.py RUN -o run.png --stage stage2 --smooth 25

Thin lines are single updates, thick ones the mean over --smooth of them, dots the losses of held-out samples.
Needs matplotlib.
"""
import argparse
import json
import os
import sys

# Okabe and Ito 2008: told apart with every kind of colour vision
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK = "#0072b2 #d55e00 #009e73 #e69f00 #cc79a7 #56b4e9 #000000".split()
FIGURES = [  # title, logarithmic, smoothed, [(path in an update's line, name, colour)]
    ("captions and answers: loss", False, True, [("loss.caption", "caption", BLUE), ("validation.caption", "held out", BLACK)]),
    ("depth: loss and terms", False, True,
     [("loss.depth", "depth", VERMILION), ("parts.ssi", "ssi", ORANGE), ("parts.gm", "gm", PURPLE),
      ("validation.depth", "held out", BLACK)]),
    ("segmentation: loss and terms", False, True,
     [("loss.segmentation", "segmentation", GREEN), ("parts.bce", "bce", ORANGE), ("parts.dice", "dice", PURPLE),
      ("validation.segmentation", "held out", BLACK)]),
    ("learning rate", False, False,
     [("lr.visual", "visual", BLACK), ("lr.projector", "projector", SKY), ("lr.model", "model", BLUE),
      ("lr.depth_head", "depth_head", VERMILION), ("lr.mask_head", "mask_head", GREEN)]),
    ("gradient norm", True, True, [("grad_norm", "norm", BLACK)]),
]


def read(folder):
    """{stage: [update lines]}, stages in the order they came; what a validation found is with its update."""
    path, stages = os.path.join(folder, "log.jsonl"), {}
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for i, text in enumerate(lines):
        try:
            line = json.loads(text)
        except ValueError as why:
            if i == len(lines) - 1:
                continue  # a process was ended while it wrote
            sys.exit(f"plot_run.py: {path}:{i + 1}: {why}")
        if line.get("kind") == "update":
            stages.setdefault(line["stage"], []).append(line)
        elif line.get("kind") == "validation":
            stages[line["stage"]][-1]["validation"] = line["validation"]
    if not stages:
        sys.exit(f"plot_run.py: {path}: expected lines of updates; found none")
    return stages


def series(lines, path):
    """Updates and values of those lines that have the value."""
    x, y = [], []
    for line in lines:
        value = line
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            x.append(line["update"])
            y.append(value)
    return x, y


def smooth(y, width):
    half = width // 2
    return [sum(y[max(0, i - half):i + half + 1]) / len(y[max(0, i - half):i + half + 1]) for i in range(len(y))]


def draw(plt, stages, width):
    rows = [f for f in FIGURES if any(series(lines, path)[0] for lines in stages.values() for path, _, _ in f[3])]
    figure, axes = plt.subplots(len(rows), len(stages), figsize=(3 + 2.6 * len(stages), 2.2 * len(rows)), sharey="row",
                                squeeze=False, layout="constrained")
    for r, ((title, log, smoothed, curves), row) in enumerate(zip(rows, axes)):
        label = title
        for (stage, lines), ax in zip(stages.items(), row):
            for path, name, colour in curves:
                x, y = series(lines, path)
                if path.startswith("validation"):
                    if x:
                        ax.plot(x, y, "o", color=colour, markersize=3, label=name)
                    continue
                thin = smoothed and len(x) >= 2 * width
                if thin:
                    ax.plot(x, y, color=colour, linewidth=0.6, alpha=0.4)
                if x:
                    ax.plot(x, smooth(y, width) if thin else y, color=colour, linewidth=1.6, label=name)
            if not ax.has_data():
                ax.axis("off")  # the stage does not have this
                ax.set_title(stage if r == 0 else "", fontsize=10)
                continue
            if log:
                ax.set_yscale("log")
            if len(curves) > 1:
                ax.legend(fontsize=7)
            ax.grid(alpha=0.3)
            ax.set_title(stage if r == 0 else "", fontsize=10)
            ax.set_xlabel("update" if r == len(rows) - 1 else "")
            if label:  # at the first of the row alone
                ax.set_ylabel(label, fontsize=8)
                ax.tick_params(labelleft=True)
                label = ""
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="folder of the run")
    parser.add_argument("-o", "--output", metavar="FILE", help="picture to write instead of opening a window")
    parser.add_argument("--stage", action="append", metavar="NAME", help="only this stage; any number of times")
    parser.add_argument("--smooth", type=int, default=15, metavar="N", help="updates of a mean (default 15)")
    args = parser.parse_args()
    if args.smooth < 1:
        parser.error(f"--smooth: expected a number from 1; found {args.smooth}")
    try:
        stages = read(args.run)
    except OSError as why:
        sys.exit(f"plot_run.py: {why}")
    for name in args.stage or []:
        if name not in stages:
            parser.error(f"--stage {name}: expected one of {', '.join(stages)}")
    if args.stage:
        stages = {name: stages[name] for name in args.stage}
    try:
        import matplotlib
    except ImportError:
        sys.exit("plot_run.py: matplotlib is not installed (pip install matplotlib)")
    if args.output:
        matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure = draw(plt, stages, args.smooth)
    if args.output:
        figure.savefig(args.output, dpi=150)
    else:
        plt.show()


if __name__ == "__main__":
    main()
