"""Lab 02: what attention costs, in the long run and by arithmetic."""


def said(run):
    stored = run.stored("02_attention_cost")
    at = {(r["variant"], r["side"]): r for r in stored["records"]}
    fits = stored["exponents"]
    linear = ("window", "shifted window", "sparse window", "linear")
    low, high = (extreme(fits[v]["seconds"] for v in linear) for extreme in (min, max))
    yield (
        f"in the long run {fits['softmax']['seconds']:.2f} for softmax, and {low:.2f} to "
        f"{high:.2f} where 1 is expected"
    )
    one = [v for v, f in fits.items() if round(f["bytes"]) == 1 and round(f["seconds"]) == 2]
    yield "One line has a 2 and a 1", one == ["softmax, fused"]

    smallest = {v: at[v, 14] for v in fits}
    times = [1000 * r["seconds"] for r in smallest.values()]
    macs = [r["macs"] for r in smallest.values()]
    yield (
        f"all six took between {min(times):.2f} and {max(times):.2f} ms in the long run, for MACs "
        "that differ sevenfold",
        7 <= max(macs) / min(macs) < 8,
    )
    tables = [4 * 2 * side**4 / 2**20 for side in (42, 56)]
    yield f"tables of {tables[0]:.0f} and {tables[1]:.0f} MiB"
    before, after = at["softmax", 42], at["softmax", 56]
    yield (
        f"took {after['seconds'] / before['seconds']:.1f} times as long in the long run for "
        f"{after['macs'] / before['macs']:.1f} times the MACs"
    )
    factor = at["softmax, fused", 84]["seconds"] / at["linear", 84]["seconds"]
    yield f"({factor:.0f} times in the long run)"
    filled = 1 - 0.98**49
    yield f"with one token in fifty filled, {filled:.0%} of the windows of 49 hold at least one"
    yield "4 · 2 · N² = 2,147,483,648 bytes, 2 GiB", 4 * 2 * (128 * 128) ** 2 == 2**31
