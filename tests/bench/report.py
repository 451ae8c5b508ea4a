"""Tables and a picture of what `compare` measured."""
import re

BEGIN, END = "<!-- measured: begin (tests/bench/compare --write) -->", "<!-- measured: end -->"
COLOURS = {"doorward": "#1f6feb"}


def table(title, rows):
    ours = rows["doorward"]
    lines = [f"### {title}", "",
             "| | per second | p50 µs | p99 µs | CPU µs each | memory MiB | Doorward: CPU | Doorward: throughput |",
             "|---|---|---|---|---|---|---|---|"]
    for name, (rate, p50, p99, cpu, memory) in sorted(rows.items(), key=lambda row: row[1][3]):
        known = lambda value, form="{:.1f}": form.format(value) if value else "–"
        ratio = lambda mine, other: f"{mine / other:.2f}" if other and name != "doorward" else "–"
        lines.append(f"| {name} | {rate:.0f} | {known(p50, '{:.0f}')} | {known(p99, '{:.0f}')} | {known(cpu)} | "
                     f"{known(memory, '{:.0f}')} | {ratio(ours[3], cpu)} | {ratio(ours[0], rate)} |")
    return "\n".join(lines) + "\n"


def idle(rows):
    lines = ["### 10,000 idle connections", "", "| | KiB of resident memory each |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {each:.1f} |" for name, each in rows.items()]) + "\n"


def machine():
    with open("/proc/cpuinfo") as f:
        text = f.read()
    model = re.search(r"model name\s*: (.*)", text)
    return f"{text.count('processor')} cores of {model[1] if model else 'an unnamed machine'}"


def picture(title, rows):
    """Bars of CPU time, as SVG that needs nothing else."""
    rows = sorted(((name, row[3]) for name, row in rows.items() if row[3]), key=lambda row: row[1])
    longest, height = max(value for _, value in rows), 28 * len(rows) + 60
    bars = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {height}" font-family="sans-serif" font-size="13">',
            f'<rect width="640" height="{height}" fill="#fff"/>',
            f'<text x="16" y="26" font-size="15" font-weight="bold">{title}: CPU µs each</text>']
    for at, (name, value) in enumerate(rows):
        y, width = 46 + 28 * at, 400 * value / longest
        bars.append(f'<text x="120" y="{y + 14}" text-anchor="end">{name}</text>'
                    f'<rect x="130" y="{y}" width="{width:.1f}" height="18" rx="2" fill="{COLOURS.get(name, "#9aa4af")}"/>'
                    f'<text x="{138 + width:.1f}" y="{y + 14}">{value:.1f}</text>')
    return "\n".join([*bars, "</svg>"]) + "\n"


def write(folder, tables, idles, how):
    path = f"{folder}/performance.md"
    with open(path) as f:
        text = f.read()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    parts = [how + "\n"] + [table(title, rows) for title, rows in tables.values()] + ([idle(idles)] if idles else [])
    with open(path, "w") as f:
        f.write(before + BEGIN + "\n\n" + "\n".join(parts) + "\n" + END + after)
    if "requests" in tables:
        with open(f"{folder}/performance.svg", "w") as f:
            f.write(picture(*tables["requests"]))
