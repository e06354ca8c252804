"""bilevel beside JAX, PyTorch, NumPy, SciPy, scikit-learn, faer and sprs; called by bench/compare, which makes the environment."""

import argparse
import datetime
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import threadpoolctl

from against import cross_validation, data, hypergradients, sparse, steps

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("numpy", "scipy", "scikit-learn", "jax", "torch")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/compare", description=__doc__)
    bundled = ROOT / "data"
    parser.add_argument("--narrow", type=Path, default=bundled / "pendigits.gz", help="data of few features")
    parser.add_argument("--narrow-labels", type=Path, help="their labels, where those are apart")
    parser.add_argument("--wide", type=Path, default=bundled / "a9a.gz", help="data of many features")
    parser.add_argument("--wide-labels", type=Path, help="their labels, where those are apart")
    parser.add_argument("--cv", type=Path, default=bundled / "a9a.gz", help="svmlight rows of two classes for cross-validation and hypergradients")
    parser.add_argument("--cv-test", type=Path, help="its test rows; a quarter is held out otherwise")
    parser.add_argument("--sparse", type=Path, nargs="*", default=[], help="svmlight rows for products, besides a9a and random ones")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", help="folder of the results")
    return parser.parse_args()


def cargo_bench(bench, variables, *names):
    """What a Rust bench prints."""
    command = ["cargo", "bench", "--locked", "--quiet", "-p", "bilevel", "--bench", bench, "--", *names]
    environment = os.environ | {name: str(Path(value).resolve()) for name, value in variables.items() if value}
    environment |= {"BILEVEL_BENCH_STEPS": str(hypergradients.STEPS)}
    return subprocess.run(command, check=True, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE).stdout


def own_steps(printed, file):
    """`(name, level): (median, quiet)` of one file, from what the bench `steps` printed."""
    found = {}
    for name, level, *times in re.findall(r"^(.*\S)\s+(lower|linear)\s+([\d.]+)\s+([\d.]+)$", printed, re.M):
        title, _, storage = name.partition(", ")
        if title.split()[0] == file.name:
            label = {"": "dense f32", "coded": "codes of one byte"}.get(storage, storage)
            found.setdefault((f"bilevel, {label}", level), tuple(map(float, times)))
    if not found:
        raise SystemExit(f"the bench printed no line for {file.name}:\n{printed}")
    return found


def own_hypergradients(printed):
    """`(name, method): (error, rows, median)` from what the bench `hypergradients` printed."""
    lines = re.findall(r"^.*\S\s+(SID|AID-CG)\s+(\S+)\s+(\d+)\s+([\d.]+) ms$", printed, re.M)
    if not lines:
        raise SystemExit(f"the bench printed no hypergradient:\n{printed}")
    return {("bilevel", method): tuple(map(float, numbers)) for method, *numbers in lines}


def table(head, rows):
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def table_of_steps(found, rows, features):
    """All names, with times as multiples of bilevel's on the same dense numbers."""
    names = list(dict.fromkeys(name for name, _ in found))
    body = []
    for name in names:
        cells = [name]
        for level in ("lower", "linear"):
            (median, quiet), base = found[name, level], found["bilevel, dense f32", level]
            cells += [f"{median:.2f}", f"{quiet:.2f}", f"{quiet / base[1]:.1f}"]
        body.append(cells)
    title = f"{rows} rows x {features} features; microseconds a step"
    return table([title, "lower, median", "quiet", "ratio", "linear, median", "quiet", "ratio"], body)


def table_of_hypergradients(own, others):
    body = []
    for (name, method), (error, *_, median) in own.items():
        body.append([name, method, f"{error:.1e}", f"{median:.2f}", "1.0"])
    for (name, method), (error, count, median, _) in others.items():
        ratio = median / own["bilevel", method][-1]
        body.append([name, f"{method}, {count} + {count} steps", f"{error:.1e}", f"{median:.2f}", f"{ratio:.1f}"])
    return table(["", "method", "error", "milliseconds, median", "ratio"], body)


def table_of_products(found):
    """Quiet times, and how many times bilevel's on one thread they are."""
    cases = list(dict.fromkeys(key[:5] for key in found))
    body = []
    for case in cases:
        name, rows, columns, stored, product = case
        for library in found[*case, "f32"]:
            cells = [f"{name}, {rows} x {columns}, {stored} entries", product, library]
            for precision in ("f32", "f64"):
                times = found[*case, precision]
                (median, quiet), base = times[library], next(iter(times.values()))
                cells += [f"{median:.3f}", f"{quiet:.3f}", f"{quiet / base[1]:.2f}"]
            body.append(cells)
    head = ["matrix", "product", "library", "f32, median", "quiet", "ratio", "f64, median", "quiet", "ratio"]
    return table(head, body)


def table_of_cross_validation(found):
    base = next(iter(found.values()))[0]
    body = [[name, f"{time:.2f}", f"{time / base:.1f}", f"{loss:.5f}"] for name, (time, loss) in found.items()]
    return table(["", "seconds, files to test loss", "ratio", "test loss"], body)


def machine():
    """The model of the processor, and the cores."""
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        model = None
    return (model[1].strip() if model else "unknown processor"), os.cpu_count()


def versions():
    for library in LIBRARIES:
        try:
            yield f"{library} {importlib.metadata.version(library)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{library} not installed: skipped"


def main():
    args = arguments()
    model, cores = machine()
    date = datetime.date.today().isoformat()
    load = os.getloadavg()[0]
    named = {
        "BILEVEL_BENCH_NARROW": args.narrow,
        "BILEVEL_BENCH_NARROW_LABELS": args.narrow_labels,
        "BILEVEL_BENCH_WIDE": args.wide,
        "BILEVEL_BENCH_WIDE_LABELS": args.wide_labels,
    }
    say = lambda what: print(f"-- {what}", file=sys.stderr, flush=True)
    say("steps, Rust")
    printed = cargo_bench("steps", named)
    parts = []
    for path, labels in ((args.narrow, args.narrow_labels), (args.wide, args.wide_labels)):
        features, target = data.dense(path, labels)
        say(f"{path.name}: steps, Python")
        with threadpoolctl.threadpool_limits(1):
            found = own_steps(printed, path) | steps.measure(features, target)
        parts += [f"## Steps, {path.name}", table_of_steps(found, *features.shape)]
    say("sparse products")
    products = sparse.measure(ROOT, args.sparse)
    parts += ["## Sparse products, milliseconds", table_of_products(products)]
    for path, labels in ((args.narrow, args.narrow_labels), (args.cv, None)):
        say(f"{path.name}: hypergradients")
        variables = {"BILEVEL_BENCH_FILE": path, "BILEVEL_BENCH_FILE_LABELS": labels}
        own = own_hypergradients(cargo_bench("hypergradients", variables))
        others = hypergradients.measure(*data.dense(path, labels))
        parts += [f"## Hypergradients, {path.name}", table_of_hypergradients(own, others)]
    say(f"{args.cv.name}: cross-validation")
    validated = cross_validation.measure(ROOT / "target" / "release" / "bilevel", args.cv, args.cv_test)
    test = args.cv_test.name if args.cv_test else "a quarter held out"
    parts += [f"## Cross-validation, {args.cv.name}, test {test}", table_of_cross_validation(validated)]
    head = [
        f"# {date}, {model}, {cores} cores",
        f"Load average {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end. Where it is above the number of cores, "
        "the machine was shared with other programs, and times are upper limits. "
        "`quiet` is the fastest tenth of the repetitions. Ratios are to bilevel: of quiet times on dense numbers for steps, "
        "of quiet times on one thread for sparse products, of medians otherwise; above 1, bilevel is faster.",
        "; ".join(versions()) + ".",
    ]
    text = "\n\n".join([*head, *parts]) + "\n"
    args.out.mkdir(parents=True, exist_ok=True)
    words = "-".join(re.findall(r"[a-z0-9]+", model.lower()))
    path = args.out / f"{date}-{words}.md"
    path.write_text(text)
    print(text)
    say(f"written to {path}")


if __name__ == "__main__":
    main()
