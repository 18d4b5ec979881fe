/* Rank it yourself: move the items of a list, and watch what each measure makes of the place of the held-out one. */
(function () {
  "use strict";
  const { el, picture, paint, choice, slider, table, voice } = Labs;
  const LENGTH = 20, SHORT = 10;

  /* The measures of one list as amrlib has them: ``place`` counts from 0, ``n`` items are in the list. */
  function measures(place, n, k) {
    return {
      HR: place < k ? 1 : 0,
      NDCG: place < k ? Math.log(2) / Math.log(place + 2) : 0,
      MRR: 1 / (place + 1),
      AUC: 1 - place / Math.max(n - 1, 1),
    };
  }
  const NAMES = ["HR", "NDCG", "MRR", "AUC"];
  const full = (name, k) => (name === "HR" || name === "NDCG" ? `${name}@${k}` : name);
  const shown = (x) => x.toFixed(3);

  Labs.start.rank = async function (room, data) {
    const { photos, labels, bought } = await Labs.unpack(data);
    const { held, categories, bought: counts } = data.facts;
    const starts = counts.map((_, n) => counts.slice(0, n).reduce((a, b) => a + b, 0));
    let who = 0, length = SHORT, k = 5, hidden = false;
    let orders = counts.map(() => [...Array(LENGTH).keys()]); // of each shopper: VBPR's order at first
    const order = () => orders[who].filter((item) => item < length);
    const place = (u) => orders[u].filter((item) => item < length).indexOf(held[u]);
    const name = (item) => categories[labels[who * LENGTH + item]];

    const list = el("ol", { class: "lab-list", "aria-label": "The list, best first" });
    const had = el("div", { class: "lab-had" });
    const numbers = el("div", {});
    const chart = el("div", {});
    const says = voice(), bar = el("p", { class: "lab-bar" });
    const atK = slider("Length of the list that counts, k", { min: 1, max: LENGTH, value: k, said: (n) => String(n) }, (n) => { k = Math.min(n, length); tell(); });
    atK.range.max = length;

    function moveTo(item, target) {
      const now = order(), from = now.indexOf(item);
      target = Math.max(0, Math.min(length - 1, target));
      if (from === target) return false;
      now.splice(from, 1);
      now.splice(target, 0, item);
      orders[who] = [...now, ...orders[who].filter((i) => i >= length)];
      return true;
    }

    function row(item, at) {
      const first = at === 0, last = at === length - 1, mine = item === held[who] && !hidden;
      const words = `${name(item)}, place ${at + 1}${mine ? ", held out" : ""}`;
      const by = (step) => () => {
        moveTo(item, order().indexOf(item) + step);
        draw();
        const again = list.querySelector(`[data-item="${item}"] .lab-${step < 0 ? "up" : "down"}`);
        (again.disabled ? again.parentElement.querySelector("button:not(:disabled)") : again).focus();
      };
      const entry = el("li", { "data-item": item, class: mine ? "lab-held" : "" },
        el("span", { class: "lab-grip", "aria-hidden": "true", title: "drag", onpointerdown: (event) => drag(event, item) }, "⠿"),
        paint(picture({ "aria-hidden": "true" }), photos.subarray(784 * (who * LENGTH + item), 784 * (who * LENGTH + item + 1))),
        el("span", { class: "lab-name" }, name(item), mine ? el("strong", {}, " ★ held out") : ""),
        el("button", { type: "button", class: "lab-up", disabled: first, "aria-label": `Move up: ${words}`, onclick: by(-1) }, "↑"),
        el("button", { type: "button", class: "lab-down", disabled: last, "aria-label": `Move down: ${words}`, onclick: by(1) }, "↓"));
      return entry;
    }

    /* The row follows the finger or the mouse, and the others step aside: the row itself never leaves the page, or a phone
       would lose the finger. */
    function drag(event, item) {
      event.preventDefault();
      const mine = list.querySelector(`[data-item="${item}"]`);
      const move = (e) => {
        const rows = [...list.children], under = rows.findIndex((r) => e.clientY < r.getBoundingClientRect().bottom);
        const to = under < 0 ? length - 1 : under;
        let from = rows.indexOf(mine);
        if (!moveTo(item, to)) return;
        for (; from > to; from--) mine.after(rows[from - 1]);
        for (; from < to; from++) mine.before(rows[from + 1]);
        tell();
      };
      const end = () => {
        for (const [name, what] of Object.entries({ pointermove: move, pointerup: end, pointercancel: end })) removeEventListener(name, what);
        draw();
      };
      for (const [name, what] of Object.entries({ pointermove: move, pointerup: end, pointercancel: end })) addEventListener(name, what);
      mine.classList.add("lab-dragged");
    }

    function values() {
      const one = measures(place(who), length, k);
      const all = counts.map((_, u) => measures(place(u), length, k));
      const mean = Object.fromEntries(NAMES.map((m) => [m, all.reduce((sum, x) => sum + x[m], 0) / all.length]));
      return { one, mean, place: place(who) };
    }

    /* Each measure over the place of the held-out item; a dot where it is now. */
    function curves(at) {
      const x = (p) => 34 + (p * 270) / (length - 1), y = (v) => 150 - 130 * v;
      const svg = el("svg", { viewBox: "0 0 320 190", role: "img", class: "lab-chart", "aria-label": "The four measures at each place of the held-out item" });
      for (const v of [0, 0.5, 1]) svg.append(el("line", { x1: 34, x2: 304, y1: y(v), y2: y(v), class: "lab-grid" }), el("text", { x: 28, y: y(v) + 4, "text-anchor": "end" }, String(v)));
      for (const p of [0, 4, 9, 14, 19].filter((p) => p < length)) svg.append(el("text", { x: x(p), y: 166, "text-anchor": "middle" }, String(p + 1)));
      svg.append(el("text", { x: 169, y: 184, "text-anchor": "middle" }, "place of the held-out item"));
      NAMES.forEach((m, n) => {
        const points = [...Array(length).keys()].map((p) => `${x(p)},${y(measures(p, length, k)[m])}`);
        if ((m === "HR" || m === "NDCG") && k < length) { // HR and NDCG fall at k
          points.splice(k, 0, `${x(k - 0.5)},${y(measures(k - 1, length, k)[m])}`, `${x(k - 0.5)},${y(0)}`);
        }
        svg.append(el("polyline", { points: points.join(" "), class: `lab-line lab-line-${n}` }));
        if (!hidden) svg.append(el("circle", { cx: x(at), cy: y(measures(at, length, k)[m]), r: 4.5, class: `lab-dot lab-line-${n}` }));
      });
      return svg;
    }

    function tell() {
      const now = values();
      const cell = (x) => (hidden ? "?" : shown(x));
      numbers.replaceChildren(table(`The held-out item is at place ${hidden ? "?" : now.place + 1} of ${length}`, ["measure", "this list", `mean of ${counts.length} lists`],
        NAMES.map((m, n) => [el("span", { class: "lab-measure" }, el("span", { class: `lab-key lab-line-${n}`, "aria-hidden": "true" }), full(m, k)), cell(now.one[m]), cell(now.mean[m])])));
      chart.replaceChildren(curves(now.place));
      bar.textContent = hidden ? "Which one is held out is hidden." : `Held-out item at place ${now.place + 1} of ${length}. ` + NAMES.map((m) => `${full(m, k)} ${shown(now.one[m])}`).join(", ") + ".";
      says.say(bar.textContent);
    }

    function draw() {
      list.replaceChildren(...order().map(row));
      tell();
    }

    function shopper(u) {
      who = u;
      had.replaceChildren(el("span", {}, "This simulated shopper has bought: "), ...[...Array(counts[u]).keys()].map((n) =>
        paint(picture({ "aria-label": `thing ${n + 1} that this shopper has bought` }), bought.subarray(784 * (starts[u] + n), 784 * (starts[u] + n + 1)))));
      draw();
    }

    const hide = el("input", { type: "checkbox", onchange: () => { hidden = hide.checked; draw(); } });
    room.append(
      el("div", { class: "lab-controls" },
        choice("Shopper", counts.map((_, n) => `simulated shopper ${n + 1}`), shopper),
        choice("Items", [`${SHORT}`, `${LENGTH}`], (n) => {
          length = n ? LENGTH : SHORT;
          atK.range.max = length;
          atK.set(Math.min(k, length));
          draw();
        }),
        atK,
        el("label", { class: "lab-check" }, hide, " hide which one is held out"),
        el("button", { type: "button", onclick: () => { orders = orders.map((o) => o.slice().sort((a, b) => a - b)); draw(); } }, "VBPR's order again")),
      had,
      el("div", { class: "lab-columns" }, list, el("div", { class: "lab-side" }, numbers, chart)), bar, says);
    shopper(0);
    return { measures, values, moveTo: (item, to) => { moveTo(item, to); draw(); }, held: () => held[who], order };
  };
})();
