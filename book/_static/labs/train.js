/* Train it yourself: BPR on chapter 3's toy, one triple at a time, with the chapter's own draws. */
(function () {
  "use strict";
  const { el, choice, table, voice, calm } = Labs;
  const BOUGHT = [[0, 0], [0, 1], [1, 1], [1, 2], [2, 0], [2, 2], [3, 3], [3, 4], [4, 4], [4, 5], [5, 3], [5, 5]]; // (u, i)
  const N = 6, DRAWS = 2000;
  const has = (u, i) => BOUGHT.some(([v, j]) => v === u && j === i);
  const others = [...Array(N).keys()].map((u) => [...Array(N).keys()].filter((j) => !has(u, j)));
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
  const signed = (x, digits) => x.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−"); // no minus before a zero
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

  /* One step downhill, in place: the gradient of −ln σ(p·(q_i − q_j)) + β(‖p‖² + ‖q_i‖² + ‖q_j‖²). Returns the pull σ(−x). */
  function step(p, qi, qj, rate, penalty) {
    const d = [qi[0] - qj[0], qi[1] - qj[1]];
    const pull = 1 / (1 + Math.exp(dot(p, d)));
    for (const n of [0, 1]) {
      const gp = -pull * d[n] + 2 * penalty * p[n], gi = -pull * p[n] + 2 * penalty * qi[n], gj = pull * p[n] + 2 * penalty * qj[n];
      p[n] -= rate * gp;
      qi[n] -= rate * gi;
      qj[n] -= rate * gj;
    }
    return pull;
  }

  /* The mean of −ln σ over all 48 triples that can be drawn. */
  function loss(P, Q) {
    let sum = 0;
    for (const [u, i] of BOUGHT) for (const j of others[u]) sum += softplus(dot(P[u], Q[j]) - dot(P[u], Q[i]));
    return sum / (BOUGHT.length * 4);
  }

  Labs.start.train = async function (room, data) {
    const { starts, draws } = await Labs.unpack(data);
    const { rate, penalty } = data.facts;
    let seed = 0, done = 0, P, Q, curve, last, timer = 0;
    const plane = el("div", {}), falling = el("div", {}), scores = el("div", {}), triple = el("p", { class: "lab-triple" });
    const says = voice();

    function reset() {
      stop();
      done = 0;
      last = null;
      const rows = (from) => [...Array(N).keys()].map((n) => [...starts.subarray(24 * seed + from + 2 * n, 24 * seed + from + 2 * n + 2)]);
      P = rows(0);
      Q = rows(12);
      curve = [[0, loss(P, Q)]];
      draw();
    }

    function next() {
      if (done >= DRAWS) return;
      const code = draws[DRAWS * seed + done], [u, i] = BOUGHT[code >> 2], j = others[u][code & 3];
      const before = [P[u], Q[i], Q[j]].map((v) => [...v]);
      const x = dot(P[u], Q[i]) - dot(P[u], Q[j]);
      const pull = step(P[u], Q[i], Q[j], rate, penalty);
      done += 1;
      last = { u, i, j, x, pull, before };
      if (done <= 200 || done % 10 === 0) curve.push([done, loss(P, Q)]);
    }

    function steps(n) {
      stop();
      for (let s = 0; s < n; s++) next();
      draw();
    }

    function stop() {
      cancelAnimationFrame(timer);
      timer = 0;
      run.textContent = "Run";
    }

    function go() {
      if (timer) { stop(); return; }
      if (calm()) { steps(DRAWS); return; } // whoever asked for no motion sees the end
      run.textContent = "Pause";
      const frame = () => {
        for (let s = 0; s < 4; s++) next();
        draw();
        if (done < DRAWS) timer = requestAnimationFrame(frame);
        else stop();
      };
      timer = requestAnimationFrame(frame);
    }

    function arrow(svg, from, to, kind) {
      const dx = to[0] - from[0], dy = to[1] - from[1], size = Math.hypot(dx, dy);
      if (size < 1) return;
      const [ex, ey] = [dx / size, dy / size], head = Math.min(8, size);
      svg.append(el("line", { x1: from[0], y1: from[1], x2: to[0] - ex * head * 0.6, y2: to[1] - ey * head * 0.6, class: kind }),
        el("polygon", { points: `${to} ${to[0] - head * ex + 0.4 * head * ey},${to[1] - head * ey - 0.4 * head * ex} ${to[0] - head * ex - 0.4 * head * ey},${to[1] - head * ey + 0.4 * head * ex}`, class: kind }));
    }

    function drawPlane() {
      const reach = Math.max(0.4, 1.15 * Math.max(...[...P, ...Q].flat().map(Math.abs)));
      const at = (v) => [160 + (140 * v[0]) / reach, 160 - (140 * v[1]) / reach];
      const svg = el("svg", { viewBox: "0 0 320 320", role: "img", class: "lab-chart lab-plane", "aria-label": "The plane of the vectors: shoppers as arrows, items as squares" });
      svg.append(el("line", { x1: 10, x2: 310, y1: 160, y2: 160, class: "lab-grid" }), el("line", { x1: 160, x2: 160, y1: 10, y2: 310, class: "lab-grid" }));
      svg.append(el("text", { x: 310, y: 155, "text-anchor": "end" }, reach.toFixed(1)));
      P.forEach((p, u) => {
        arrow(svg, [160, 160], at(p), "lab-user" + (last && last.u === u ? " lab-now" : ""));
        const [x, y] = at([1.09 * p[0], 1.09 * p[1]]);
        svg.append(el("text", { x, y: y + 4, "text-anchor": "middle", class: "lab-user-name" }, `p${u}`));
      });
      Q.forEach((q, i) => {
        const [x, y] = at(q), role = !last ? "" : last.i === i ? " lab-pos" : last.j === i ? " lab-neg" : "";
        svg.append(el("rect", { x: x - 4, y: y - 4, width: 8, height: 8, class: "lab-item" + role }), el("text", { x: x + 7, y: y + 13, class: "lab-item-name" + role }, `q${i}`));
      });
      if (last) { // the moves of the last step, eight times as long, so that they are seen
        [P[last.u], Q[last.i], Q[last.j]].forEach((v, n) => {
          const from = last.before[n], far = [from[0] + 8 * (v[0] - from[0]), from[1] + 8 * (v[1] - from[1])];
          arrow(svg, at(from), at(far), "lab-move" + ["", " lab-pos", " lab-neg"][n]);
        });
      }
      plane.replaceChildren(svg);
    }

    function drawLoss() {
      const x = (s) => 34 + (270 * s) / DRAWS, y = (v) => 120 - (100 * v) / 0.8;
      const svg = el("svg", { viewBox: "0 0 320 156", role: "img", class: "lab-chart", "aria-label": "The mean loss over all triples, falling with the steps" });
      for (const v of [0, 0.2, 0.4, 0.6, 0.8]) svg.append(el("line", { x1: 34, x2: 304, y1: y(v), y2: y(v), class: "lab-grid" }), el("text", { x: 28, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(1)));
      for (const s of [0, 1000, 2000]) svg.append(el("text", { x: x(s), y: 136, "text-anchor": "middle" }, String(s)));
      svg.append(el("text", { x: 169, y: 152, "text-anchor": "middle" }, "steps"), el("polyline", { points: curve.map(([s, v]) => `${x(s)},${y(v)}`).join(" "), class: "lab-line lab-line-0" }));
      falling.replaceChildren(svg);
    }

    function drawScores() {
      const made = table("Scores; framed cells were bought", ["p·q", ...[...Array(N).keys()].map((i) => `q${i}`)],
        P.map((p, u) => [`p${u}`, ...Q.map((q) => signed(dot(p, q), 1))]));
      made.classList.add("lab-scores");
      [...made.tBodies[0].rows].forEach((row, u) => [...row.cells].slice(1).forEach((cell, i) => {
        const s = Math.max(-1, Math.min(1, dot(P[u], Q[i]) / 4));
        cell.style.setProperty("--strength", `${Math.abs(100 * s).toFixed(0)}%`);
        cell.className = (s < 0 ? "lab-low" : "lab-high") + (has(u, i) ? " lab-bought" : "");
      }));
      scores.replaceChildren(made);
    }

    function draw() {
      drawPlane();
      drawLoss();
      drawScores();
      const now = loss(P, Q).toFixed(4);
      one.disabled = ten.disabled = run.disabled = done >= DRAWS;
      triple.textContent = last
        ? `Step ${done}: shopper p${last.u} bought q${last.i} and did not buy q${last.j}. Margin ${signed(last.x, 3)}, pull σ(−margin) ${last.pull.toFixed(3)}. Mean loss ${now}.`
        : `No step yet. Mean loss ${now}; ln 2 = 0.6931 would be no opinion at all.`;
      if (!timer) says.say(triple.textContent);
    }

    const button = (text, onclick) => el("button", { type: "button", onclick }, text);
    const one = button("Step", () => steps(1)), ten = button("10 steps", () => steps(10)), run = button("Run", go);
    room.append(
      el("div", { class: "lab-controls" }, one, ten, run, button("Reset", reset),
        choice("Start", [...Array(starts.length / 24).keys()].map((n) => `start values ${n}`), (n) => { seed = n; reset(); })),
      triple,
      el("div", { class: "lab-columns" }, el("div", {}, plane, el("p", { class: "lab-legend" }, "Arrows: shoppers. Squares: items. Of the last triple, the bought item is green and the other red; the thin arrows show the three moves, eight times as long.")),
        el("div", { class: "lab-side" }, falling, scores)),
      says);
    reset();
    return { state: () => ({ P, Q, loss: loss(P, Q), done, last }), steps, reset, seed: (n) => { seed = n; reset(); } };
  };
})();
