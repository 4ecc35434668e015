/* One sentence as a training example: what goes in, what is asked, what each prediction may see.
   ui.data: page_data of labs/train/objectives_page.py. The rules are those of
   labs/train/objectives.py; tests/test_objectives_page.py compares every example with Python's. */
Explorable.register("objectives", (ui) => {
  const { tokens, sentinels, rates, spans, draws, places, start } = ui.data;
  const NAMES = [["causal", "causal: the next token"], ["masked", "masked, as in BERT"], ["spans", "span corruption, as in T5"]];

  ui.select({ name: "objective", label: "Objective", options: NAMES, value: start.objective });
  ui.slider({ name: "rate", label: "Share hidden (masked, spans)", steps: rates, value: start.rate, show: (x) => ui.format.percent(x, 0) });
  ui.slider({ name: "span", label: "Mean span (spans)", steps: spans, value: start.span, show: (x) => `${x} token${x > 1 ? "s" : ""}` });
  ui.select({ name: "draw", label: "Random draw", options: draws.map((_, i) => [i, String(i + 1)]), value: start.draw });
  ui.slider({ name: "inspect", label: "Look at prediction", min: 1, max: tokens.length, value: 1 });

  const MASK = "[MASK]";

  /** inputs and targets (null: no loss), and how many positions, from the first, all may see. */
  const examples = {
    causal: () => ({ inputs: tokens.slice(0, -1), targets: tokens.slice(1), prefix: 0 }),
    masked(v) {
      const draw = draws[v.draw];
      const selected = tokens.map((_, i) => draw.select[i] < v.rate);
      const inputs = tokens.map((token, i) => {
        if (!selected[i] || draw.fate[i] >= 0.9) return token;
        return draw.fate[i] < 0.8 ? MASK : draw.random[i];
      });
      return { inputs, targets: tokens.map((token, i) => (selected[i] ? token : null)), prefix: tokens.length };
    },
    spans(v) {
      const cuts = places[rates.indexOf(v.rate)][spans.indexOf(v.span)][v.draw];
      const [kept, asked] = [[], []];
      let at = 0;
      cuts.forEach(([from, length], i) => {
        kept.push(...tokens.slice(at, from), sentinels[i]);
        asked.push(sentinels[i], ...tokens.slice(from, from + length));
        at = from + length;
      });
      kept.push(...tokens.slice(at));
      asked.push(sentinels[cuts.length]);
      const silent = Array(kept.length - 1).fill(null);
      return { inputs: [...kept, ...asked.slice(0, -1)], targets: [...silent, ...asked], prefix: kept.length };
    },
  };

  const positions = ui.output({ name: "positions", label: "positions computed" });
  const targets = ui.output({ name: "targets", label: "with a loss" });
  const density = ui.output({ name: "density", label: "targets per 100 positions", show: (x) => ui.format.fixed(x, 1) });
  const sees = ui.output({ name: "sees", label: "positions that this prediction sees" });
  const answer = ui.output({ name: "answer", label: "its answer", live: true });

  const expected = ui.output({ name: "masked", label: "for comparison: masked, expected per 100", show: (x) => ui.format.fixed(x, 1) });
  const spanned = ui.output({ name: "spans", label: "for comparison: spans, per 100", show: (x) => ui.format.fixed(x, 1) });

  const list = ui.html("ol", { class: "objectives-row", "aria-label": "Positions: input above, target below" });
  const key = ui.html("p", { class: "objectives-key" },
    "Above: the input. Below: the target, – where there is no loss. Thick frame: the prediction looked at; plain frame: what it may see; dashed: what it may not.");
  ui.stage.append(list, key);

  return (v) => {
    const { inputs, targets: asked, prefix } = examples[v.objective](v);
    const places_with_loss = asked.flatMap((target, i) => (target === null ? [] : [i]));
    const number = places_with_loss.length;
    const chosen = number ? places_with_loss[Math.min(v.inspect, number) - 1] : -1;
    const reach = chosen < 0 ? 0 : Math.max(prefix, chosen + 1);
    positions.put(inputs.length);
    targets.put(number);
    density.put((100 * number) / inputs.length);
    sees.put(reach);
    expected.put(100 * v.rate);
    const spans_asked = examples.spans(v).targets;
    spanned.put((100 * spans_asked.filter((target) => target !== null).length) / spans_asked.length);
    answer.put(chosen < 0 ? "none" : asked[chosen]);
    list.replaceChildren(...inputs.map((token, i) => {
      const state = i === chosen ? "chosen" : i < reach ? "seen" : "unseen";
      return ui.html("li", { class: `objectives-${state}`, "data-input": token, "data-target": asked[i] === null ? "" : asked[i] },
        ui.html("span", {}, token), ui.html("b", {}, asked[i] === null ? "–" : asked[i]));
    }));
  };
});
