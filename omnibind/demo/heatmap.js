"use strict";
// The cosine of every item with every other: one canvas, grouped by modality.
const HeatMap = (() => {
  const LIGHT = [[246, 242, 234], [247, 212, 160], [232, 138, 88], [170, 62, 104], [58, 26, 84]];
  const DARK = [[24, 25, 28], [66, 30, 90], [166, 58, 104], [234, 128, 82], [255, 228, 172]];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function colour(share) {
    const stops = dark.matches ? DARK : LIGHT;
    const at = Math.max(0, Math.min(0.9999, share)) * (stops.length - 1), low = Math.floor(at), part = at - low;
    return stops[low].map((c, k) => Math.round(c + (stops[low + 1][k] - c) * part));
  }

  // parts: {items, modalities, cosine(i, j), label, tile, ask, tip, el}
  function make(root, parts) {
    const { items, modalities, cosine, el } = parts, n = items.length;
    const groups = modalities.map((modality) => {
      const own = items.map((item, i) => (item.modality === modality ? i : -1)).filter((i) => i >= 0);
      return { modality, start: own[0], size: own.length };
    });
    const canvas = el("canvas", { tabindex: "0", role: "application", "aria-label": "Heat map of cosines. Arrow keys move, Enter asks with the item of the row." });
    const strip = (name) => el("div", { class: name, "aria-hidden": "true" }, groups.map(({ modality, size }) =>
      el("span", { "data-modality": modality, style: `flex: ${size} 1 0` }, parts.label(modality))));
    const low = el("span"), high = el("span"), ramp = el("span", { class: "ramp" });
    const radios = [["cosine", "one scale"], ["block", "each block by itself"]].map(([value, words], k) => {
      const input = el("input", { type: "radio", name: "scale", value });
      input.checked = k === 0;
      input.addEventListener("change", paint);
      return el("label", {}, [input, words]);
    });
    root.append(
      el("div", { class: "plot" }, [strip("across"), strip("down"), canvas]),
      el("div", { class: "key" }, [el("span", {}, [low]), ramp, el("span", {}, [high]), el("fieldset", { "aria-label": "Colour scale" }, radios)]),
    );
    let cell = 8, gap = 3, place = [], chosen = null;

    const group = items.map((item) => groups.findIndex((g) => g.modality === item.modality));
    function range(a, b) {
      let least = 1, most = -1;
      for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
        if (i === j || (a !== null && (group[i] !== a || group[j] !== b))) continue;
        least = Math.min(least, cosine(i, j));
        most = Math.max(most, cosine(i, j));
      }
      return [least, most];
    }
    const whole = range(null, null);
    const blocks = groups.map((_, a) => groups.map((__, b) => range(a, b)));

    function paint() {
      const ratio = Math.min(2, devicePixelRatio || 1), width = canvas.clientWidth || 560, context = canvas.getContext("2d");
      gap = Math.round(3 * ratio);
      cell = Math.max(2, Math.floor((width * ratio - gap * (groups.length - 1)) / n));
      const side = cell * n + gap * (groups.length - 1);
      canvas.width = canvas.height = side;
      place = items.map((_, i) => i * cell + group[i] * gap);
      const single = root.querySelector("input:checked").value === "cosine";
      for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
        const [least, most] = single ? whole : blocks[group[i]][group[j]];
        context.fillStyle = i === j ? `rgb(${colour(1)})` : `rgb(${colour((cosine(i, j) - least) / (most - least || 1))})`;
        context.fillRect(place[j], place[i], cell, cell);
      }
      if (chosen) {
        context.strokeStyle = dark.matches ? "#fff" : "#000";
        context.lineWidth = Math.max(2, ratio * 1.5);
        context.strokeRect(place[chosen[1]] - 1, place[chosen[0]] - 1, cell + 2, cell + 2);
      }
      low.textContent = single ? whole[0].toFixed(2) : "lowest in its block";
      high.textContent = single ? whole[1].toFixed(2) : "highest";
      ramp.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((s) => `rgb(${colour(s)})`)})`;
    }

    function under(event) {
      const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
      const find = (at) => place.findIndex((start) => at >= start && at < start + cell + gap);
      const i = find((event.clientY - box.top) * scale), j = find((event.clientX - box.left) * scale);
      return i >= 0 && j >= 0 ? [i, j] : null;
    }
    function show(pair, x, y) {
      const changed = String(pair) !== String(chosen);
      chosen = pair;
      if (changed) paint();
      if (pair) parts.tip(pair, x, y); else parts.tip(null);
    }
    canvas.addEventListener("pointermove", (event) => show(under(event), event.clientX, event.clientY));
    canvas.addEventListener("pointerleave", () => show(null));
    canvas.addEventListener("blur", () => show(null));
    canvas.addEventListener("click", (event) => { const pair = under(event); if (pair) parts.ask(pair[0]); });
    canvas.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (event.key === "Escape") show(null);
      if (event.key === "Enter" && chosen) parts.ask(chosen[0]);
      if (!move) return;
      event.preventDefault();
      const [i, j] = chosen || [-move[0], groups.length > 1 ? groups[1].start - move[1] : 0];
      const next = [(i + move[0] + n) % n, (j + move[1] + n) % n], box = canvas.getBoundingClientRect(), scale = box.width / canvas.width;
      show(next, box.left + (place[next[1]] + cell) * scale, box.top + (place[next[0]] + cell) * scale);
    });
    new ResizeObserver(paint).observe(root);
    dark.addEventListener("change", paint);
    paint();
  }

  return { make };
})();
