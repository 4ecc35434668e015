/* One group of sampled answers, right ones and wrong ones: what each answer and each of its tokens
   weighs in the update. ui.data: group, right, long_right, long_wrong, variant (start values).
   Advantages and weights are those of labs/train/grpo.py; tests/test_grpo_page.py compares. */
Explorable.register("grpo_group", (ui) => {
  const { start } = ui.data;
  const BLUE = "#3b8fd6", ORANGE = "#d9822b";
  const { fixed, percent, significant } = ui.format;
  const LENGTHS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

  ui.select({ name: "variant", label: "Variant", options: [["grpo", "GRPO"], ["dr", "Dr. GRPO"]], value: start.variant });
  ui.slider({ name: "group", label: "Answers to the prompt, G", min: 2, max: 16, value: start.group });
  ui.slider({ name: "right", label: "Of these right", min: 0, max: 16, value: start.right });
  ui.slider({ name: "longRight", label: "Tokens of a right answer", steps: LENGTHS, value: start.long_right });
  ui.slider({ name: "longWrong", label: "Tokens of a wrong answer", steps: LENGTHS, value: start.long_wrong });

  const weight = (x) => (x === 0 ? "0" : significant(x, 3));
  const outputs = {};
  for (const [name, label, show, live] of [
    ["share", "right in this group", (x) => percent(x, 0)],
    ["advantageRight", "advantage of a right answer", (x) => fixed(x, 3), true],
    ["advantageWrong", "advantage of a wrong answer", (x) => fixed(x, 3)],
    ["tokenRight", "push on a token of a right answer", weight],
    ["tokenWrong", "push on a token of a wrong answer", weight],
    ["signal", "such prompts whose group teaches something", (x) => percent(x, 1)],
  ]) outputs[name] = ui.output({ name, label, show, live: Boolean(live) });

  const picture = ui.svg("svg", { role: "img" });
  ui.stage.append(picture);

  /** Advantages (right, wrong) and the push on one token: descent weight times B, as in grpo_loss. */
  function numbers(v) {
    const right = Math.min(v.right, v.group), share = right / v.group;
    const deviation = Math.sqrt(share * (1 - share));
    const dr = v.variant === "dr", scale = dr ? 1 : 1 / (deviation + 1e-6);
    const longest = Math.max(right ? v.longRight : 1, right < v.group ? v.longWrong : 1);
    const length = (own) => (dr ? longest : own);
    const advantage = { right: right ? (1 - share) * scale : 0, wrong: right < v.group ? -share * scale : 0 };
    return {
      right, share, advantage, longest,
      token: { right: advantage.right / length(v.longRight), wrong: advantage.wrong / length(v.longWrong) },
    };
  }

  return (v) => {
    const n = numbers(v);
    outputs.share.put(n.share);
    outputs.advantageRight.put(n.advantage.right);
    outputs.advantageWrong.put(n.advantage.wrong);
    outputs.tokenRight.put(n.token.right);
    outputs.tokenWrong.put(n.token.wrong);
    outputs.signal.put(1 - n.share ** v.group - (1 - n.share) ** v.group);
    // One row for each answer: its length as width, the push on each token as height, up or down.
    const W = Math.max(320, Math.min(720, ui.figure.clientWidth - 34)), ROW = 30, LEFT = 74;
    const most = Math.max(Math.abs(n.token.right), Math.abs(n.token.wrong), 1e-9);
    const text = (x, y, words, extra = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 12, ...extra }, words);
    const parts = [];
    for (let i = 0; i < v.group; i += 1) {
      const good = i < n.right, kind = good ? "right" : "wrong", middle = i * ROW + ROW / 2;
      const width = ((good ? v.longRight : v.longWrong) / n.longest) * (W - LEFT - 8);
      const height = (Math.abs(n.token[kind]) / most) * (ROW / 2 - 2);
      parts.push(text(0, middle + 4, good ? "✓ right" : "✗ wrong"));
      parts.push(ui.svg("line", { x1: LEFT, x2: LEFT + width, y1: middle, y2: middle, stroke: "currentColor", "stroke-width": 1 }));
      parts.push(ui.svg("rect", { x: LEFT, y: good ? middle - height : middle, width, height, fill: good ? BLUE : ORANGE, opacity: 0.85 }));
    }
    picture.replaceChildren(...parts);
    picture.setAttribute("viewBox", `0 0 ${W} ${v.group * ROW}`);
    picture.setAttribute("width", W);
    picture.setAttribute("aria-label", `${n.right} right and ${v.group - n.right} wrong answers. Width: tokens of the answer. ` +
      `Height: push on each token, ${weight(n.token.right)} up in a right answer, ${weight(n.token.wrong)} in a wrong one.`);
  };
});
