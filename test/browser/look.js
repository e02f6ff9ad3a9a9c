(() => {
  const out = {overflow: 0, faint: [], tiny: [], crossed: [], charts: 0, empty: [], unnamed: [], cut: [], alive: 0, dark: false};
  const root = document.documentElement;
  out.overflow = Math.max(0, root.scrollWidth - window.innerWidth);
  out.alive = document.querySelectorAll("script, main img, iframe, object, embed, link[rel=stylesheet]").length;

  const parse = (c) => {
    const n = (c.match(/[\d.]+/g) || []).map(Number);
    return {r: n[0], g: n[1], b: n[2], a: n.length > 3 ? n[3] : 1};
  };
  const lum = ({r, g, b}) => {
    const f = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); };
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const contrast = (a, b) => {
    const [x, y] = [lum(a), lum(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const behind = (el) => {
    for (; el; el = el.parentElement) {
      const c = parse(getComputedStyle(el).backgroundColor);
      if (c.a > 0.99) return c;
    }
    return {r: 255, g: 255, b: 255, a: 1};
  };
  out.dark = lum(behind(document.body)) < 0.2;
  const shows = (el) => el.getClientRects().length > 0;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = texts.nextNode());) {
    const el = n.parentElement, text = n.textContent.trim();
    if (!text || el.closest("title") || !shows(el)) continue;
    const style = getComputedStyle(el), svg = el.ownerSVGElement;
    const ratio = contrast(parse(svg ? style.fill : style.color), behind(svg || el));
    if (!(ratio >= 4.5)) out.faint.push(ratio.toFixed(1) + " " + text.slice(0, 40));
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    if (parseFloat(style.fontSize) * scale < 9.5) out.tiny.push(text.slice(0, 40));
  }

  for (const el of document.querySelectorAll(".scroll")) {
    if (shows(el) && !el.closest("details:not([open])") && el.scrollWidth > el.clientWidth + 1) out.cut.push(el.closest("section").id + " by " + (el.scrollWidth - el.clientWidth));
  }

  for (const svg of document.querySelectorAll("svg.chart")) {
    if (!shows(svg)) continue;
    out.charts++;
    const frame = svg.getBoundingClientRect(), boxes = [];
    for (const t of svg.querySelectorAll("text")) {
      const b = t.getBoundingClientRect();
      if (b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1 || b.bottom > frame.bottom + 1) out.crossed.push("outside: " + t.textContent);
      for (const o of boxes) {
        if (b.left < o.b.right - 0.5 && o.b.left < b.right - 0.5 && b.top < o.b.bottom - 2 && o.b.top < b.bottom - 2) out.crossed.push(t.textContent + " on " + o.text);
      }
      boxes.push({b, text: t.textContent});
    }
    let drawn = 0;
    for (const p of svg.querySelectorAll("path")) {
      const s = getComputedStyle(p), b = p.getBoundingClientRect();
      const style = p.getAttribute("style") || "";
      if (/var\(--(grid|axis|[a-z]+-band)\)/.test(style)) continue;
      if (b.width > 3 && b.height > 3) drawn++;
      for (const m of style.matchAll(/var\((--[a-z0-9-]+)\)/g)) {
        if (!getComputedStyle(root).getPropertyValue(m[1])) out.unnamed.push(m[1]);
      }
      if (/#[0-9A-F]{6}/.test(style)) out.unnamed.push(style);
    }
    if (!drawn) out.empty.push(svg.getAttribute("aria-label"));
  }
  return out;
})()
