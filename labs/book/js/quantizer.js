/* A row of real weights, rounded symmetrically to b bits in groups with one scale each.
   ui.data: weights [numbers], groups [sizes], start {bits, group}. The first weight can be made an
   outlier. tests/test_quantizer_page.py compares with labs/model/quantization.py. */
Explorable.register("quantizer", (ui) => {
  const { weights, groups, start } = ui.data;
  ui.slider({ name: "bits", label: "Bits", min: 2, max: 8, value: start.bits });
  ui.select({ name: "group", label: "Weights per scale", options: groups.map((g) => [g, String(g)]), value: start.group });
  ui.slider({ name: "outlier", label: "First weight times", steps: [1, 2, 5, 10, 20, 50, 100], value: 1 });

  /** Nearest integer, ties to even, as torch.round. */
  function nearest(x) {
    const low = Math.floor(x);
    if (x - low !== 0.5) return Math.round(x);
    return low % 2 === 0 ? low : low + 1;
  }
  function rounded(row, bits, group) {
    const most = 2 ** (bits - 1) - 1;
    return row.map((w, i) => {
      const members = row.slice(i - (i % group), i - (i % group) + group);
      const scale = Math.max(...members.map(Math.abs)) / most || 1;
      return { scale, code: nearest(w / scale), value: nearest(w / scale) * scale };
    });
  }

  const small = (x) => ui.format.significant(x, 3);
  const stored = ui.output({ name: "stored", label: "bits stored per weight", show: (x) => ui.format.fixed(x, 2) });
  const error = ui.output({ name: "error", label: "root mean square error", show: small });
  const ratio = ui.output({ name: "sqnr", label: "signal to error", show: (x) => `${ui.format.fixed(x, 1)} dB`, live: true });
  const used = ui.output({ name: "codes", label: "different codes in use", show: String });
  const zeros = ui.output({ name: "zeros", label: "weights that became 0", show: (n) => `${n} of ${weights.length}` });

  const picture = ui.svg("svg", { role: "img" });
  ui.stage.append(picture);
  window.addEventListener("resize", () => ui.redraw());
  return (v) => {
    const row = weights.map((w, i) => (i === 0 ? w * v.outlier : w));
    const result = rounded(row, v.bits, v.group);
    const off = result.map((r, i) => r.value - row[i]);
    const squares = (xs) => xs.reduce((sum, x) => sum + x * x, 0);
    stored.put(v.bits + 16 / v.group);
    error.put(Math.sqrt(squares(off) / row.length));
    ratio.put(10 * Math.log10(squares(row) / squares(off)));
    used.put(new Set(result.map((r, i) => `${Math.floor(i / v.group)}:${r.code}`)).size);
    zeros.put(result.filter((r) => r.code === 0).length);

    const width = Math.max(280, Math.min(720, ui.figure.clientWidth - 34));
    const [height, left] = [190, 44];
    const most = Math.max(...row.slice(1).map(Math.abs)) * 1.15;
    const x = (i) => left + ((i + 0.5) * (width - left - 6)) / row.length;
    const y = (w) => 90 - (80 * Math.max(-most, Math.min(most, w))) / most;
    const parts = [
      ui.svg("line", { x1: left, x2: width, y1: y(0), y2: y(0), stroke: "currentColor", "stroke-width": 1 }),
      ui.svg("text", { x: 0, y: 16, fill: "currentColor", "font-size": 13 }, small(most)),
      ui.svg("text", { x: 0, y: 95, fill: "currentColor", "font-size": 13 }, "0"),
      ui.svg("text", { x: left, y: height - 4, fill: "currentColor", "font-size": 13 }, "circle: weight; bar: what is stored; lines: ends of a group"),
    ];
    for (let i = v.group; i < row.length; i += v.group) {
      const at = (x(i) + x(i - 1)) / 2;
      parts.push(ui.svg("line", { x1: at, x2: at, y1: 4, y2: 172, stroke: "currentColor", opacity: 0.35, "stroke-dasharray": "3 3" }));
    }
    row.forEach((w, i) => {
      const [top, bottom] = [Math.min(y(result[i].value), y(0)), Math.max(y(result[i].value), y(0))];
      parts.push(ui.svg("rect", { x: x(i) - 3, width: 6, y: top, height: Math.max(bottom - top, 1), fill: "#3b8fd6", opacity: 0.75 }));
      parts.push(ui.svg("circle", { cx: x(i), cy: y(w), r: 2.6, fill: "none", stroke: "currentColor", "stroke-width": 1.3 }));
    });
    picture.replaceChildren(...parts);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label",
      `${row.length} weights in ${v.bits} bits, ${v.group} to a scale: signal to error ${ratio.textContent}, ${zeros.textContent} became 0.`);
  };
});
