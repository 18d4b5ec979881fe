/* Opens the labs of this page: each loads its scripts when its button is pressed, and not before. Nothing is fetched: a page
   that was opened from disk may run scripts that lie beside it, and nothing else. */
(function () {
  "use strict";
  const here = document.currentScript.src.replace(/[^/]*$/, "");
  const SCRIPTS = {
    rank: ["rank_data.js", "rank.js"],
    train: ["train_data.js", "train.js"],
    attack: ["vendor/tf-core.es2017.min.js", "vendor/tf-backend-cpu.es2017.min.js", "attack_data.js", "network.js", "attack.js"],
  };
  const SVG = "http://www.w3.org/2000/svg";

  function script(name) {
    return new Promise((done, failed) => {
      const tag = document.createElement("script");
      tag.src = here + name;
      tag.onload = done;
      tag.onerror = () => failed(new Error(name + " is missing"));
      document.head.append(tag);
    });
  }

  /* An element: el("button", {class: "x", onclick: f}, "text", child …). Words that begin with "on" are listeners. */
  function el(tag, words, ...children) {
    const made = /^(svg|g|path|line|circle|polyline|text|polygon|rect|title)$/.test(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(words || {})) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  /* A canvas of 28 x 28 grey levels, dark on white as in the book's figures. */
  function picture(words) {
    return el("canvas", Object.assign({ width: 28, height: 28, role: "img", class: "lab-photo" }, words));
  }

  function paint(canvas, grey, ink = (v) => 255 - v) {
    const image = new ImageData(28, 28);
    for (let n = 0; n < 784; n++) {
      image.data.fill(ink(grey[n]), 4 * n, 4 * n + 3);
      image.data[4 * n + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  /* The arrays of a *_data.js: name -> typed array. The bytes are deflated and written in base64. */
  async function unpack(data) {
    const raw = Uint8Array.from(atob(data.bytes), (c) => c.charCodeAt(0));
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const bytes = await new Response(stream).arrayBuffer();
    const types = { float32: Float32Array, float64: Float64Array, uint8: Uint8Array };
    const found = {};
    for (const [name, { type, shape, at }] of Object.entries(data.arrays)) {
      found[name] = new types[type](bytes, at, shape.reduce((a, b) => a * b, 1));
    }
    return found;
  }

  /* A choice among words, with its label. */
  function choice(label, words, onchange, value = 0) {
    const select = el("select", { onchange: () => onchange(Number(select.value)) }, ...words.map((w, n) => el("option", { value: n }, w)));
    select.value = value;
    return el("label", { class: "lab-field" }, el("span", {}, label), select);
  }

  /* A slider with its label and the value in words. (An output inside the label would take the label for itself.) */
  let sliders = 0;
  function slider(label, { min, max, value, said }, oninput) {
    const id = `lab-slider-${++sliders}`, output = el("output", { for: id }, said(value));
    const range = el("input", { id, type: "range", min, max, step: 1, value, "aria-valuetext": said(value), oninput: () => set(Number(range.value)) });
    function set(n) {
      range.value = n;
      output.textContent = said(n);
      range.setAttribute("aria-valuetext", said(n));
      oninput(n);
    }
    return Object.assign(el("div", { class: "lab-field" }, el("span", {}, el("label", { for: id }, label + ":"), output), range), { set, range });
  }

  function table(caption, heads, rows) {
    const body = rows.map((row) => el("tr", {}, ...row.map((cell, n) => el(n ? "td" : "th", n ? {} : { scope: "row" }, cell))));
    return el("table", { class: "lab-table" }, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...heads.map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, ...body));
  }

  /* What a lab says aloud: once it has been still for half a second, so that a slider does not talk all the way. */
  function voice() {
    const region = el("p", { class: "lab-unseen", role: "status", "aria-live": "polite" });
    let wait = 0;
    return Object.assign(region, { say(text) {
      clearTimeout(wait);
      wait = setTimeout(() => { region.textContent = text; }, region.textContent ? 500 : 0);
    } });
  }

  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  async function open(box) {
    const name = box.dataset.lab, button = box.querySelector(".lab-open");
    const note = box.querySelector(".lab-note");
    button.disabled = true;
    note.textContent = "Loading …";
    try {
      if (!("DecompressionStream" in window)) throw new Error("this browser is older than 2023; a newer one is needed");
      for (const file of SCRIPTS[name]) await script(file);
      const room = el("div", { class: "lab-room", role: "group", "aria-label": box.dataset.title, tabindex: "-1" });
      Labs.live[name] = await Labs.start[name](room, Labs.data[name]);
      box.append(room);
      box.classList.add("lab-is-open");
      room.focus({ preventScroll: true });
    } catch (error) {
      note.textContent = "The lab did not open: " + error.message + ".";
      button.disabled = false;
    }
  }

  const Labs = { data: {}, start: {}, live: {}, el, picture, paint, unpack, choice, slider, table, voice, calm };
  window.Labs = Labs;
  for (const box of document.querySelectorAll("[data-lab]")) {
    const button = box.querySelector(".lab-open");
    button.hidden = false;
    button.addEventListener("click", () => open(box));
  }
})();
