// What of the article is cut off or scrolls sideways, after every fold has been opened. An expression: the list, plain JSON.
(() => {
  for (const fold of document.querySelectorAll(".bd-article details")) fold.open = true;
  window.dispatchEvent(new Event("resize"));
  const root = document.documentElement, article = document.querySelector(".bd-article");
  const found = [];
  const told = (element) => (element.closest("[id]")?.id ?? "") + " " + element.textContent.trim().replace(/\s+/g, " ").slice(0, 60);
  const add = (kind, element, by, sign) => found.push({ kind, tag: element.localName + (element.classList.length ? "." + [...element.classList].join(".") : ""), where: told(element), by: Math.round(by), sign });
  if (root.scrollWidth > root.clientWidth + 1) add("page", root, root.scrollWidth - root.clientWidth, false);
  for (const element of document.querySelectorAll(".prev-next-area *")) { // below the article, where nothing scrolls
    const by = element.getBoundingClientRect().right - root.clientWidth;
    if (by > 1) add("spills", element, by, false);
  }
  if (!article) return found;
  const edge = article.getBoundingClientRect().right;
  for (const element of article.querySelectorAll("*")) {
    if (element.closest("mjx-assistive-mml, .visually-hidden, .sr-only") || !element.getClientRects().length) continue;
    if (element.closest("mjx-container") && element.localName !== "mjx-container") continue;
    const style = getComputedStyle(element), flow = style.overflowX;
    if (flow !== "visible" && style.display !== "inline") {
      const by = element.scrollWidth - element.clientWidth;
      if (by > 1) add(flow === "hidden" || flow === "clip" ? "cut" : "scrolls", element, by, getComputedStyle(element, "::after").content.includes("→"));
    }
    const box = element.getBoundingClientRect();
    if (box.right > edge + 1) {
      let over = element.parentElement;
      while (over && over !== article && getComputedStyle(over).overflowX === "visible") over = over.parentElement;
      if (over === article) add("spills", element, box.right - edge, false);
    }
  }
  return found;
})()
