/* Attack it yourself: one step against the pixels of a photograph or a drawing, and its place in three models' lists. */
(function () {
  "use strict";
  const { el, picture, paint, choice, slider, table, voice } = Labs;
  const TITLES = { "VBPR": "VBPR", "AMR, looks": "AMR that looks", "AMR, blind": "blind AMR" };
  const HIGHEST = 32;
  const minus = (x) => x.toFixed(3).replace("-", "−");
  const thousands = (n) => n.toLocaleString("en");

  /* How many of a descending list are at least ``s``. */
  function reached(list, s) {
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle] >= s) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /* The rivals' scores of each model and shopper, descending: stored as the falls from one to the next, in planes of bytes. */
  function decode({ falls }, { rivals, first, step }) {
    const n = falls.length / 4;
    let at = 0;
    return rivals.map((count, row) => {
      let now = first[row];
      const list = new Float64Array(count);
      for (let r = 0; r < count; r++, at++) {
        now -= falls[at] + 256 * falls[n + at] + 65536 * falls[2 * n + at] + 16777216 * falls[3 * n + at];
        list[r] = now * step;
      }
      return list;
    });
  }

  Labs.start.attack = async function (room, data) {
    const facts = data.facts, arrays = await Labs.unpack(data);
    await tf.setBackend("cpu"); // exact on every machine; a step takes some 40 ms on one core, which a card would not better by much
    const network = Labs.network(arrays), rivals = decode(arrays, facts);
    const S = facts.shoppers.length, PHOTOS = arrays.labels.length, M = facts.models.length;
    const photo = (n) => arrays.photos.subarray(784 * n, 784 * (n + 1));
    const taste = (m, u) => arrays.taste.subarray(128 * (m * S + u), 128 * (m * S + u + 1));
    const known = (m, u) => arrays.score.subarray(PHOTOS * (m * S + u), PHOTOS * (m * S + u + 1));
    const dot = (a, b) => a.reduce((sum, v, n) => sum + v * b[n], 0);

    /* The place, counted from 0: rivals that score at least as high. ``own``: the photograph's number, or −1 for a drawing. */
    function place(m, u, own, s) {
      const mine = known(m, u);
      let count = reached(rivals[m * S + u], s);
      for (let n = 0; n < PHOTOS; n++) if (n !== own && mine[n] >= s) count += 1;
      return count;
    }

    /* One step of ``epsilon`` grey levels up the score that model ``m`` gives: whole levels, from 0 to 255. */
    const moved = (grey, slope, epsilon) => Uint8Array.from(grey, (v, n) => Math.min(255, Math.max(0, v + epsilon * Math.sign(slope[n]))));

    let who = facts.opening.shopper, own = facts.opening.photo, knows = 0, epsilon = facts.opening.epsilon;
    const drawing = new Uint8Array(784);
    let drawn = false, kept = {}, now = null, waiting = 0;

    function compute() {
      const begun = performance.now(), grey = drawn ? drawing : photo(own), n = drawn ? -1 : own;
      if (kept.picture !== (drawn ? "drawing" : own) || drawn) kept = { picture: drawn ? "drawing" : own, f: network.features(grey), slopes: {} };
      const key = `${knows} ${who}`;
      kept.slopes[key] = kept.slopes[key] || network.slope(grey, taste(knows, who));
      const changed = moved(grey, kept.slopes[key], epsilon), f = epsilon ? network.features(changed) : kept.f;
      const models = facts.models.map((name, m) => {
        const before = drawn ? dot(taste(m, who), kept.f) : known(m, who)[own];
        const after = before + dot(taste(m, who), f.map((v, k) => v - kept.f[k]));
        return { name, before, after, placeBefore: place(m, who, n, before), placeAfter: place(m, who, n, after) };
      });
      now = { grey: Uint8Array.from(grey), changed, f0: kept.f, f1: f, slope: kept.slopes[key], models, of: rivals[who].length + PHOTOS - (drawn ? 0 : 1), ms: performance.now() - begun };
      return now;
    }

    // ---- what is seen ----
    const canvases = [picture({ "aria-label": "the picture before" }), picture({ "aria-label": "the change, enlarged" }), picture({ "aria-label": "the picture, changed" })];
    const captions = ["before", "", "after"].map((text) => el("figcaption", {}, text));
    const figures = el("div", { class: "lab-sum" }, ...canvases.flatMap((canvas, n) => [
      ...(n ? [el("span", { "aria-hidden": "true" }, " +="[n])] : []), el("figure", {}, canvas, captions[n])]));
    const numbers = el("div", {}), chart = el("div", {}), says = voice(), had = el("div", { class: "lab-had" }), note = el("p", { class: "lab-legend" });

    function places() {
      const x = (p) => 12 + (296 * Math.log(p + 1)) / Math.log(facts.items);
      const svg = el("svg", { viewBox: "0 0 320 178", role: "img", class: "lab-chart", "aria-label": "The places before and after, under each model, on a logarithmic scale" });
      svg.append(el("rect", { x: x(0) - 6, y: 4, width: x(9) - x(0) + 8, height: 142, class: "lab-firsts" }));
      for (const p of [1, 10, 100, 1000]) svg.append(el("line", { x1: x(p - 1), x2: x(p - 1), y1: 4, y2: 146, class: "lab-grid" }), el("text", { x: x(p - 1), y: 160, "text-anchor": "middle" }, thousands(p)));
      svg.append(el("text", { x: 308, y: 174, "text-anchor": "end" }, "place in the list (first ten shaded)"));
      now.models.forEach(({ name, placeBefore, placeAfter }, m) => {
        const y = 34 + 46 * m, kind = `lab-model-${m}`;
        svg.append(el("text", { x: 308, y: y - 14, "text-anchor": "end", class: kind }, TITLES[name]),
          el("line", { x1: x(placeBefore), x2: x(placeAfter), y1: y, y2: y, class: kind }),
          el("circle", { cx: x(placeBefore), cy: y, r: 5, class: `lab-before ${kind}` }), el("circle", { cx: x(placeAfter), cy: y, r: 5.5, class: `lab-after ${kind}` }));
      });
      return svg;
    }

    function show() {
      waiting = 0;
      compute();
      const times = epsilon ? Math.floor(120 / epsilon) : 0;
      paint(canvases[0], now.grey);
      paint(canvases[1], now.grey.map((v, n) => 128 + times * (now.changed[n] - v)));
      paint(canvases[2], now.changed);
      captions[1].textContent = epsilon ? `change × ${times}` : "no change";
      numbers.replaceChildren(table(`Among ${thousands(now.of + 1)} items`, ["model", "place before", "after", "score before", "after"],
        now.models.map((r) => [TITLES[r.name], thousands(r.placeBefore + 1), thousands(r.placeAfter + 1), minus(r.before), minus(r.after)])));
      chart.replaceChildren(places());
      note.textContent = drawn ? "A drawing is a new item: nobody has bought it, so its picture is all that a model knows."
        : `${facts.categories[arrays.labels[own]]}. ` + (arrays.cold[own] ? "Nobody has bought it yet, so its picture is all that a model knows." : "It has been bought, so each model knows more of it than its picture.");
      says.say(`${epsilon} of 255. ` + now.models.map((r) => `${TITLES[r.name]}: place ${thousands(r.placeBefore + 1)} before, ${thousands(r.placeAfter + 1)} after`).join(". ") + ".");
    }
    const soon = () => { waiting = waiting || requestAnimationFrame(show); };

    function shopper(u) {
      who = u;
      const start = facts.bought.slice(0, u).reduce((a, b) => a + b, 0);
      had.replaceChildren(el("span", {}, "This simulated shopper has bought: "), ...[...Array(facts.bought[u]).keys()].map((n) =>
        paint(picture({ "aria-label": `thing ${n + 1} that this shopper has bought` }), arrays.bought.subarray(784 * (start + n), 784 * (start + n + 1)))));
      soon();
    }

    // ---- photographs: one category at a time; arrow keys go from one to the next ----
    const gallery = el("div", { class: "lab-gallery", role: "radiogroup", "aria-label": "Photographs", onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], all = [...gallery.children];
      if (!step) return;
      event.preventDefault();
      const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
      next.click();
      next.focus();
    } });

    function pick(n) {
      own = n;
      for (const b of gallery.children) {
        b.setAttribute("aria-checked", String(Number(b.value) === n));
        b.tabIndex = Number(b.value) === n ? 0 : -1;
      }
      soon();
    }

    function category(label) {
      const of = [...Array(PHOTOS).keys()].filter((n) => arrays.labels[n] === label);
      gallery.replaceChildren(...of.map((n, at) => el("button", { type: "button", role: "radio", value: n, "aria-label": `${facts.categories[label]} ${at + 1}`, onclick: () => pick(n) },
        paint(picture({ role: "presentation" }), photo(n)))));
      pick(of.includes(own) ? own : of[0]);
    }

    // ---- a drawing: by finger or mouse, or arrows and the space bar ----
    const pad = picture({ class: "lab-photo lab-pad", tabindex: "0", role: "application", "aria-label": "Drawing. Arrow keys move the pen, the space bar puts it down or lifts it." });
    const pen = { x: 14, y: 14, down: false };

    function dab(x, y) {
      for (const [dx, dy, ink] of [[0, 0, 255], [1, 0, 255], [0, 1, 255], [1, 1, 255], [-1, 0, 110], [0, -1, 110], [2, 0, 110], [0, 2, 110], [-1, 1, 110], [1, -1, 110], [2, 1, 110], [1, 2, 110]]) {
        const [px, py] = [x + dx, y + dy];
        if (px >= 0 && px < 28 && py >= 0 && py < 28) drawing[28 * py + px] = Math.max(drawing[28 * py + px], ink);
      }
    }

    function ink() {
      paint(pad, drawing);
      if (document.activeElement === pad && !pen.mouse) { // where the pen is
        const context = pad.getContext("2d");
        context.fillStyle = pen.down ? "#d55e00" : "#0072b2";
        context.fillRect(pen.x, pen.y, 2, 2);
      }
      soon();
    }

    function stroke(event) {
      const box = pad.getBoundingClientRect();
      const to = [Math.floor((28 * (event.clientX - box.left)) / box.width), Math.floor((28 * (event.clientY - box.top)) / box.height)];
      const from = pen.mouse || to, parts = Math.max(1, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
      for (let n = 1; n <= parts; n++) dab(Math.round(from[0] + ((to[0] - from[0]) * n) / parts), Math.round(from[1] + ((to[1] - from[1]) * n) / parts));
      pen.mouse = to;
      ink();
    }
    pad.addEventListener("pointerdown", (event) => { pad.setPointerCapture(event.pointerId); pen.mouse = null; stroke(event); });
    pad.addEventListener("pointermove", (event) => { if (pen.mouse && event.buttons) stroke(event); });
    pad.addEventListener("pointerup", () => { pen.mouse = null; });
    pad.addEventListener("focus", ink);
    pad.addEventListener("blur", ink);
    pad.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [1, 0], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowUp: [0, -1] }[event.key];
      if (event.key === " ") pen.down = !pen.down;
      else if (step) [pen.x, pen.y] = [Math.max(0, Math.min(26, pen.x + step[0])), Math.max(0, Math.min(26, pen.y + step[1]))];
      else return;
      event.preventDefault();
      if (pen.down) dab(pen.x, pen.y);
      ink();
    });
    const easel = el("div", { class: "lab-easel" }, pad, el("div", { class: "lab-controls" },
      el("button", { type: "button", onclick: () => { drawing.fill(0); ink(); } }, "Clear"),
      el("button", { type: "button", onclick: () => { drawing.set(photo(own)); ink(); } }, "Draw on the photograph")));

    const kinds = choice("Category", facts.categories, category, arrays.labels[own]);
    const shelf = el("div", {}, kinds, gallery);
    function source(n) {
      drawn = n === 1;
      shelf.hidden = drawn;
      easel.hidden = !drawn;
      if (drawn) ink();
      soon();
    }

    const level = slider("No pixel may move by more than", { min: 0, max: HIGHEST, value: epsilon, said: (n) => `${n}/255` }, (n) => { epsilon = n; soon(); });
    const { factor, middle, epsilon: levels } = facts.opening;
    room.append(
      el("p", { class: "lab-legend" }, `The lab opens with the pair of shopper and photograph whose place in VBPR's list one step of ${levels}/255 improves most: it divides the place by ${factor}. ` +
        `For half of all ${thousands(S * PHOTOS)} pairs the factor is ${middle} or less.`),
      el("div", { class: "lab-columns" },
        el("div", {}, el("div", { class: "lab-controls" }, choice("Picture", ["a photograph of the shop", "a drawing of mine"], source)), shelf, easel),
        el("div", { class: "lab-side" }, el("div", { class: "lab-controls" },
          choice("Shopper", facts.shoppers.map((_, n) => `simulated shopper ${n + 1}`), shopper, who),
          choice("The attacker knows", facts.models.map((name) => TITLES[name]), (m) => { knows = m; soon(); })), had, level, figures, note, numbers, chart)),
      says);
    easel.hidden = true;
    category(arrays.labels[own]);
    shopper(who);
    cancelAnimationFrame(waiting);
    show();
    return {
      network, facts, arrays, compute, place,
      set: (words) => {
        if ("shopper" in words) who = words.shopper;
        if ("photo" in words) own = words.photo;
        if ("knows" in words) knows = words.knows;
        if ("epsilon" in words) epsilon = words.epsilon;
        show();
        return now;
      },
      state: () => now,
    };
  };
})();
