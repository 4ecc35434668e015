/* A number in a floating-point format: its bits, what is stored, what a loss scale would save.
   ui.data: formats [{name, exponent, mantissa, infinity}], numbers [[words, value]].
   tests/test_number_bits_page.py compares with PyTorch's conversions. */
Explorable.register("number_bits", (ui) => {
  const { formats, numbers } = ui.data;
  const START = numbers[0][1];

  const field = ui.html("input", { type: "text", inputmode: "decimal", autocomplete: "off", size: 14 });
  const put = (x) => {
    field.value = String(x);
    ui.values.number = x;
  };
  const read = () => {
    const x = Number(field.value.trim().replace(",", "."));
    const good = field.value.trim() !== "" && Number.isFinite(x);
    field.setAttribute("aria-invalid", String(!good));
    if (good) ui.set("number", x);
  };
  field.addEventListener("input", read);
  field.addEventListener("change", read);
  ui.resets.push(() => put(START));
  put(START);
  ui.row("number", "Number (type one)", field);
  const known = ui.select({ name: "known", label: "or take", options: numbers.map(([words], i) => [i, words]), value: 0 });
  known.style.width = "12rem"; // its longest option is wider than the column
  known.addEventListener("change", (event) => {
    put(numbers[Number(event.target.value)][1]);
    ui.redraw();
  });
  ui.select({ name: "format", label: "Format", options: formats.map(({ name }, i) => [i, name]), value: 1 });
  ui.slider({ name: "scale", label: "Loss scale", steps: Array.from({ length: 25 }, (_, i) => 2 ** i), value: 1, show: (s) => `2^${Math.log2(s)} = ${s}` });

  /** floor(log2 |x|) of a finite double, exactly. */
  function exponentOf(x) {
    let e = Math.floor(Math.log2(x));
    if (2 ** e > x) e -= 1;
    if (2 ** (e + 1) <= x) e += 1;
    return e;
  }
  const halfToEven = (n) => {
    const low = Math.floor(n);
    if (n - low !== 0.5) return Math.round(n);
    return low % 2 === 0 ? low : low + 1;
  };
  /** Bias, least exponent and largest number of a format, as in labs/train/formats.py. */
  function limits(f) {
    const bias = 2 ** (f.exponent - 1) - 1;
    const unit = 2 ** -f.mantissa;
    return { bias, least: 1 - bias, largest: f.infinity ? (2 - unit) * 2 ** bias : (2 - 2 * unit) * 2 ** (bias + 1) };
  }
  /** The number that is stored: the nearest one, ties to the even mantissa. */
  function stored(x, f) {
    const { least, largest } = limits(f);
    const size = Math.abs(x);
    if (size === 0) return x;
    const quantum = 2 ** (Math.max(exponentOf(size), least) - f.mantissa);
    const rounded = halfToEven(size / quantum) * quantum;
    if (rounded > largest) return Math.sign(x) * (f.infinity ? Infinity : largest); // E4M3 saturates, as in PyTorch
    return Math.sign(x) * rounded;
  }
  /** Its bits as a string: sign, exponent, mantissa. */
  function bitsOf(y, f) {
    const { bias, least } = limits(f);
    const binary = (n, width) => n.toString(2).padStart(width, "0");
    const sign = y < 0 || Object.is(y, -0) ? "1" : "0";
    if (Number.isNaN(y)) return "0" + "1".repeat(f.exponent + f.mantissa);
    if (!Number.isFinite(y)) return sign + "1".repeat(f.exponent) + "0".repeat(f.mantissa);
    const size = Math.abs(y);
    if (size < 2 ** least) return sign + binary(0, f.exponent) + binary(size / 2 ** (least - f.mantissa), f.mantissa);
    const e = exponentOf(size);
    return sign + binary(e + bias, f.exponent) + binary(size / 2 ** (e - f.mantissa) - 2 ** f.mantissa, f.mantissa);
  }
  /** The number that a string of bits says; infinities and NaN as such. */
  function numberOf(bits, f) {
    const { bias, least, largest } = limits(f);
    const e = parseInt(bits.slice(1, 1 + f.exponent), 2);
    const m = parseInt(bits.slice(1 + f.exponent), 2);
    const sign = bits[0] === "1" ? -1 : 1;
    const size = e === 0 ? m * 2 ** (least - f.mantissa) : (1 + m * 2 ** -f.mantissa) * 2 ** (e - bias);
    if (size <= largest) return sign * size;
    return f.infinity && m === 0 ? sign * Infinity : NaN;
  }

  const say = (x) => (Number.isFinite(x) ? (x === 0 ? "0" : Number(x.toPrecision(9)).toString()) : Number.isNaN(x) ? "not a number" : x > 0 ? "infinity" : "−infinity");
  const out = {
    stored: ui.output({ name: "stored", label: "number × scale, as stored", show: say }),
    recovered: ui.output({ name: "recovered", label: "divided by the scale again", show: say, live: true }),
    error: ui.output({ name: "error", label: "relative error", show: (x) => (Number.isFinite(x) ? ui.format.percent(x, 4) : "—") }),
    spacing: ui.output({ name: "spacing", label: "distance to the next number up", show: (x) => (Number.isFinite(x) ? Number(x.toPrecision(4)).toString() : say(x)) }),
    bits: ui.output({ name: "bits", label: "bits", show: String }),
  };
  const row = ui.html("div", { style: "display:flex;flex-wrap:wrap;gap:2px", role: "group", "aria-label": "Bits; press one to flip it" });
  const words = ui.html("p", { style: "margin:.5rem 0 0" });
  ui.stage.append(row, words);
  const KINDS = [["sign", "#8a8a8a"], ["exponent", "#d9822b"], ["mantissa", "#3b8fd6"]];

  return (v) => {
    const f = formats[v.format];
    const y = stored(v.number * v.scale, f);
    const bits = bitsOf(y, f);
    const back = y / v.scale;
    out.stored.put(y);
    out.recovered.put(back);
    out.error.put(v.number === 0 ? 0 : Math.abs(back - v.number) / Math.abs(v.number));
    const { least } = limits(f);
    out.spacing.put(Number.isFinite(y) ? 2 ** (Math.max(y === 0 ? least : exponentOf(Math.abs(y)), least) - f.mantissa) : NaN);
    out.bits.put(bits);
    const kindOf = (i) => (i === 0 ? 0 : i <= f.exponent ? 1 : 2);
    const focused = row.contains(document.activeElement) ? document.activeElement.dataset.bit : null;
    row.replaceChildren(...[...bits].map((bit, i) => {
      const [kind, color] = KINDS[kindOf(i)];
      return ui.html("button", {
        type: "button", "data-bit": i, "aria-label": `${kind} bit ${i}: ${bit}`, "aria-pressed": String(bit === "1"),
        style: `width:24px;height:34px;padding:0;border:1px solid var(--line);border-bottom:5px solid ${color};background:${bit === "1" ? color : "transparent"};color:${bit === "1" ? "#fff" : "inherit"};font-weight:700;font-family:inherit;${i === 1 || i === 1 + f.exponent ? "margin-left:8px;" : ""}`,
        onclick: () => {
          const flipped = numberOf(bits.slice(0, i) + (bit === "1" ? "0" : "1") + bits.slice(i + 1), f);
          if (!Number.isFinite(flipped)) return;
          put(flipped / v.scale);
          ui.redraw();
        },
      }, bit);
    }));
    if (focused !== null) row.querySelector(`[data-bit="${focused}"]`)?.focus();
    const e = parseInt(bits.slice(1, 1 + f.exponent), 2);
    const { bias } = limits(f);
    const kind = !Number.isFinite(y) ? "Overflow: too large for this format."
      : Math.abs(v.number * v.scale) > 1.04 * limits(f).largest ? "Overflow: too large, so the largest number is stored."
      : y === 0 && v.number !== 0 ? "Underflow: the nearest number of this format is 0."
        : e === 0 && y !== 0 ? `Subnormal: exponent field 0, so fewer than ${f.mantissa} mantissa bits carry information.`
          : y === 0 ? "Zero." : `Exponent field ${e} − ${bias} = ${e - bias}; mantissa 1 + ${parseInt(bits.slice(1 + f.exponent), 2)}/${2 ** f.mantissa}.`;
    words.textContent = `Sign (grey), ${f.exponent} exponent bits (orange), ${f.mantissa} mantissa bits (blue). ${kind}`;
  };
});
