// Tables and formulas that are wider than the column: first a little smaller, then with broken lines and names, and what
// is still too wide scrolls by itself, is reached by the Tab key, and says so. The page itself never scrolls sideways.
(() => {
  const STEPS = ["wide-tight", "wide-wraps"];
  // On a wide screen and on paper only: on a phone broken names and small print are worse than a table that scrolls
  const LAST = ["wide-breaks", "wide-small"];
  const BOXES = ".pst-scrollable-table-container, .cell_output .output.text_html, div.math";
  const SMALLEST = 0.72; // of a formula's own size; below that it is no longer read with ease

  const tooWide = (box) => box.clientWidth > 0 && box.scrollWidth > box.clientWidth;

  function scrolls(box, yes) {
    box.classList.toggle("wide-scrolls", yes);
    if (yes) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "wider than the page, scrolls sideways");
    } else if (box.getAttribute("role") === "group" && box.hasAttribute("tabindex")) {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }

  function fit() {
    const boxes = [...document.querySelectorAll(BOXES)].filter((box) => box.querySelector("table, mjx-container"));
    for (const box of boxes) {
      box.classList.remove("wide-scrolls", ...LAST, ...STEPS);
      for (const formula of box.querySelectorAll("mjx-container")) formula.style.fontSize = formula.dataset.size ?? formula.style.fontSize;
    }
    let wide = boxes.filter(tooWide);
    for (const step of innerWidth < 1200 && !matchMedia("print").matches ? STEPS : [...STEPS, ...LAST]) {
      for (const box of wide) box.classList.add(step);
      wide = wide.filter(tooWide);
    }
    for (let round = 0; round < 3; round++) { // the number beside a formula keeps its size, so once is not always enough
      const shrink = new Map(wide.filter((box) => box.matches("div.math") && tooWide(box)).map((box) => [box, box.clientWidth / (box.scrollWidth + 6)]));
      for (const [box, by] of shrink) {
        for (const formula of box.querySelectorAll("mjx-container")) {
          formula.dataset.size ??= formula.style.fontSize;
          const own = parseFloat(formula.dataset.size) || 100, now = parseFloat(formula.style.fontSize) || own;
          formula.style.fontSize = `${Math.max(now * by, own * SMALLEST)}%`;
        }
      }
    }
    wide = new Set(wide.filter(tooWide));
    for (const box of boxes) scrolls(box, wide.has(box));

    // a formula in a line of text: on a phone it may be wider than the column
    const column = document.querySelector(".bd-article");
    const inline = column ? [...column.querySelectorAll("span.math")] : [];
    for (const box of inline) scrolls(box, false);
    const edge = column ? column.getBoundingClientRect().right : 0;
    const spilled = inline.filter((box) => box.getBoundingClientRect().right > edge && !box.closest(".wide-scrolls"));
    for (const box of spilled) scrolls(box, true);
  }

  const begin = async () => {
    if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
    fit();
    addEventListener("resize", fit);
    document.addEventListener("toggle", fit, true);
  };
  if (document.readyState === "complete") begin();
  else addEventListener("load", begin);
})();
