"use strict";
// Fills the page from the JSON in #data. Everything that a user wrote becomes a text node or an
// attribute set by the DOM; nothing is parsed as HTML.
(() => {
  const shown = JSON.parse(document.getElementById("data").textContent);
  const { items, modalities } = shown;
  const NAMES = { text: "Text", image: "Picture", audio: "Sound", points: "Shape" };
  const PLURALS = { text: "words", image: "a picture", audio: "a sound", points: "a 3D shape" };
  const ICONS = {
    text: "M3 5h14M10 5v11M7 16h6", image: "M3 4h14v12H3zM3 13l4-4 4 4 2-2 4 4M13 8h.01",
    audio: "M4 8v4M7 5v10M10 7v6M13 4v12M16 8v4", points: "M10 2.5l6.5 3.7v7.6L10 17.5l-6.5-3.7V6.2zM3.5 6.2L10 10l6.5-3.8M10 10v7.5",
  };
  const PALETTE = ["#5b82b8", "#e08a3c", "#5aa469", "#b577ab", "#4fb0ae", "#d4605f", "#a1826b", "#cfae3f"];
  const SHOWN = 5;
  const byId = (id) => document.getElementById(id);
  const label = (modality) => NAMES[modality] || modality;
  const count = items.length;

  function el(tag, attributes = {}, children = []) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...[children].flat().filter((child) => child !== null && child !== ""));
    return made;
  }
  function drawing(box, path, attributes = {}) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(svg.namespaceURI, "path");
    svg.setAttribute("viewBox", box);
    svg.setAttribute("aria-hidden", "true");
    for (const [name, value] of Object.entries({ fill: "none", stroke: "currentColor", "stroke-width": "1.6", "stroke-linecap": "round", "stroke-linejoin": "round", ...attributes })) svg.setAttribute(name, value);
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  }
  const icon = (modality) => drawing("0 0 20 20", ICONS[modality] || "M4 4h12v12H4z");
  const list = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);
  const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  const ordinal = (n) => n + (["st", "nd", "rd"][((n + 90) % 100 - 10) % 10 - 1] || "th");

  // Items: an address for each, and how near each is to each.
  const addresses = new Map();
  items.forEach((item, i) => {
    let address = `${item.concept}:${item.modality}`;
    for (let k = 2; addresses.has(address); k++) address = `${item.concept}:${item.modality}:${k}`;
    addresses.set(address, i);
    item.address = address;
  });
  const cosineBytes = new DataView(Shapes.bytes(shown.cosines).buffer);
  const cosine = (i, j) => cosineBytes.getInt16(2 * (i * count + j), true) / 32767;
  const slots = [...new Set(items.flatMap((item) => Object.keys(item.weights)))].sort();
  const slotColour = (name) => PALETTE[Math.max(0, slots.indexOf(name)) % PALETTE.length];
  const ranked = (query, modality) => items.map((_, i) => i)
    .filter((i) => i !== query && items[i].modality === modality)
    .sort((a, b) => cosine(query, b) - cosine(query, a));

  // Sounds: one at a time.
  const player = new Audio();
  let playing = null;
  function bars(heights) {
    const step = 240 / heights.length;
    return heights.map((h, i) => { const half = Math.max(0.8, h * 0.46); return `M${((i + 0.5) * step).toFixed(1)} ${(50 - half).toFixed(1)}V${(50 + half).toFixed(1)}`; }).join("");
  }
  const wave = (heights, attributes = {}) => drawing("0 0 240 100", bars(heights), { "stroke-width": 0.62 * 240 / heights.length, preserveAspectRatio: "none", "stroke-linecap": "butt", ...attributes });
  function coarse(heights, n) {
    const size = heights.length / n;
    return Array.from({ length: n }, (_, k) => Math.max(...heights.slice(Math.floor(k * size), Math.max(Math.floor(k * size) + 1, Math.floor((k + 1) * size)))));
  }
  const PLAY = "M3 1.5v11l9-5.5z", PAUSE = "M3 2h3v10H3zM8 2h3v10H8z";
  function sound(item) {
    const button = el("button", { class: "play", type: "button" }), waves = el("div", { class: "wave" }, [wave(item.heights), wave(item.heights)]);
    const own = {
      paint(on) {
        button.replaceChildren(drawing("0 0 14 14", on ? PAUSE : PLAY, { fill: "currentColor", stroke: "none" }), on ? "Stop" : `${item.seconds.toFixed(1)} s`);
        button.setAttribute("aria-label", `${on ? "Stop" : "Play"} the sound: ${item.concept}`);
        if (!on) waves.style.setProperty("--played", "0%");
      },
      follow() {
        if (playing !== own || !button.isConnected) return;
        waves.style.setProperty("--played", `${(100 * player.currentTime) / (player.duration || item.seconds)}%`);
        requestAnimationFrame(own.follow);
      },
    };
    button.addEventListener("click", () => (playing === own ? hush() : play(item, own)));
    own.paint(false);
    if (item.whole > item.seconds + 0.05) button.title = `the first ${item.seconds} s of ${item.whole} s`;
    return el("div", { class: "sound" }, [waves, button]);
  }
  function play(item, own) {
    hush();
    player.src = item.sound;
    playing = own;
    own.paint(true);
    player.play().then(own.follow, () => { if (playing === own) hush(); });
  }
  function hush() {
    player.pause();
    if (playing) playing.paint(false);
    playing = null;
  }
  player.addEventListener("ended", hush);

  // Items, small and large.
  function small(item) {
    if (item.picture) return el("img", { class: "thumb", src: item.picture, alt: "" });
    if (item.heights) return wave(coarse(item.heights, 20), { class: "thumb" });
    if (item.cloud) return el("img", { class: "thumb cloud", src: Shapes.picture(item), alt: "" });
    return el("span", { class: "glyph" }, item.words || item.name);
  }
  function large(item) {
    const stage = el("div", { class: "stage", "data-modality": item.modality });
    if (item.picture) stage.append(el("img", { src: item.picture, alt: `Picture: ${item.concept}` }));
    else if (item.sound) stage.append(sound(item));
    else if (item.cloud) stage.append(Shapes.viewer(item, item.concept), el("span", { class: "turn", "aria-hidden": "true" }, "drag to turn"));
    else stage.append(el("blockquote", {}, item.words ? `“${item.words}”` : item.name));
    return stage;
  }
  function weights(item) {
    const shares = Object.entries(item.weights).sort((a, b) => b[1] - a[1]);
    const square = (name) => `background: ${slotColour(name)}`;
    const said = shares.map(([name, w]) => `${name} ${Math.round(100 * w)} %`).join(", ");
    return el("div", { class: "weights" }, [
      el("div", { class: "bar", role: "img", "aria-label": `Weight of each space: ${said}`, title: said }, shares.map(([name, w]) => el("i", { style: `${square(name)}; flex: ${w} 1 0` }))),
      el("ul", { "aria-hidden": "true" }, shares.map(([name, w]) => el("li", { title: name }, [el("i", { style: square(name) }), el("span", {}, name), el("b", {}, `${Math.round(100 * w)} %`)]))),
    ]);
  }

  // Asking.
  const tiles = items.map((item, i) => {
    const tile = el("button", { class: "tile", type: "button", "data-modality": item.modality, tabindex: "-1", "aria-pressed": "false", "aria-label": `${label(item.modality)}: ${item.words || item.concept}`, title: item.words || `${item.concept}, ${label(item.modality).toLowerCase()}` }, [small(item)]);
    tile.addEventListener("click", () => ask(i));
    return tile;
  });
  const concepts = [...new Set(items.map((item) => item.concept))];
  byId("picker").append(...concepts.map((concept) => el("div", { class: "concept", role: "group", "aria-label": concept }, [
    el("div", { class: "tiles" }, items.map((item, i) => (item.concept === concept ? tiles[i] : null))),
    el("h3", { title: concept }, concept),
  ])));
  byId("picker").addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key], from = tiles.indexOf(document.activeElement);
    if (!way || from < 0) return;
    event.preventDefault();
    const centre = (tile) => { const box = tile.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; };
    const [x, y] = centre(tiles[from]);
    const ahead = tiles.map((tile) => { const [u, v] = centre(tile), along = (u - x) * way[0] + (v - y) * way[1], aside = Math.abs((u - x) * way[1]) + Math.abs((v - y) * way[0]); return { tile, along, cost: along + 4 * aside }; }).filter((one) => one.along > 4);
    if (ahead.length) focusTile(ahead.reduce((best, one) => (one.cost < best.cost ? one : best)).tile);
  });
  function focusTile(tile, move = true) {
    for (const one of tiles) one.tabIndex = one === tile ? 0 : -1;
    if (move) tile.focus();
  }

  function ask(i) {
    const address = encodeURIComponent(items[i].address).replaceAll("%3A", ":");
    if (location.hash === `#q=${address}`) answer(i);
    else location.hash = `q=${address}`;
    const top = byId("query").getBoundingClientRect().top;
    if (top > 0.7 * innerHeight || top < 0) scrollBy(0, top - 0.25 * innerHeight);
  }
  function column(query, modality) {
    const order = ranked(query, modality), right = order.findIndex((i) => items[i].concept === items[query].concept) + 1;
    if (!order.length) return null;
    const place = right ? el("span", { class: right === 1 ? "place first" : "place" }, right === 1 ? "✓ right at once" : `right one is ${ordinal(right)}`) : null;
    const hit = el("div", { class: "card" }), others = order.slice(0, SHOWN).map((i, k) => {
      const item = items[i], same = item.concept === items[query].concept;
      const button = el("button", { type: "button", class: same ? "same" : "", "aria-label": `Rank ${k + 1}: ${item.words || item.concept}, cosine ${cosine(query, i).toFixed(2)}${same ? ", the same thing" : ""}` }, [
        el("span", { class: "rank" }, String(k + 1)), el("span", { class: "small", "data-modality": modality }, [small(item)]),
        el("span", { class: "name" }, [same ? el("i", { class: "tick" }, "✓ ") : "", item.concept]), el("span", { class: "cosine" }, cosine(query, i).toFixed(2)),
      ]);
      button.addEventListener("click", () => show(k));
      return button;
    });
    function show(k) {
      const item = items[order[k]], same = item.concept === items[query].concept;
      const use = el("button", { class: "use", type: "button" }, "Ask with this →");
      use.addEventListener("click", () => ask(order[k]));
      others.forEach((button, at) => button.setAttribute("aria-pressed", String(at === k)));
      hit.replaceChildren(large(item), el("div", { class: "about" }, [
        el("div", { class: "title" }, [el("strong", { class: same ? "same" : "" }, item.concept), el("span", { class: "cosine" }, `cosine ${cosine(query, order[k]).toFixed(2)}`)]),
        weights(item), use,
      ]));
    }
    show(0);
    return el("div", { class: "column", "data-modality": modality }, [
      el("h3", { class: "label" }, [icon(modality), label(modality), place]), hit,
      el("ol", { class: "others" }, others.map((button) => el("li", {}, [button]))),
    ]);
  }
  function answer(i) {
    const item = items[i];
    hush();
    tiles.forEach((tile, at) => tile.setAttribute("aria-pressed", String(at === i)));
    focusTile(tiles[i], false);
    byId("query").setAttribute("data-modality", item.modality);
    byId("query").replaceChildren(
      el("h3", { class: "label" }, [icon(item.modality), `Asked with ${PLURALS[item.modality] || item.modality}`]),
      el("div", { class: "card" }, [large(item), el("div", { class: "about" }, [
        el("div", { class: "title" }, [el("strong", {}, item.concept)]), item.words ? null : el("p", { class: "file" }, item.name), weights(item),
      ])]),
    );
    const columns = modalities.map((modality) => column(i, modality)).filter(Boolean);
    byId("found").style.setProperty("--columns", columns.length);
    byId("found").replaceChildren(...columns);
    byId("said").textContent = `Nearest to ${item.concept} (${label(item.modality)}). ` + modalities.map((m) => [m, ranked(i, m)[0]]).filter(([, j]) => j !== undefined).map(([m, j]) => `${label(m)}: ${items[j].concept}`).join("; ");
  }
  function fromHash() {
    let wanted = "";
    try { wanted = decodeURIComponent(location.hash.replace(/^#q=/, "")); } catch { /* a damaged address asks for nothing */ }
    const start = items.findIndex((item) => item.modality === "audio");
    answer(addresses.has(wanted) ? addresses.get(wanted) : Math.max(0, start));
  }
  addEventListener("hashchange", fromHash);

  // What it says at the top.
  const perConcept = modalities.map((modality) => PLURALS[modality] || modality);
  byId("lede").textContent = `Each thing below is here as ${list(perConcept)}. Encoders that were trained apart turn every one of them into a row of numbers, omnibind binds their spaces into one, and so each finds the others: by what it is, never by its name.`;
  byId("facts").append(...[
    [concepts.length, "concepts"], [count, "items"], [shown.spaces.length, "spaces bound"], [shown.recipe.width, "numbers a row"],
  ].map(([n, words]) => el("li", {}, [el("b", {}, String(n)), ` ${words}`])), el("li", {}, ["recipe ", el("b", {}, shown.recipe.name)]));
  const notice = (words, lines = []) => byId("notices").append(el("div", { class: "notice", role: "note" }, [words, lines.length ? el("ul", {}, lines.map((line) => el("li", {}, line))) : null]));
  if (shown.degraded.length) notice(`Degraded: ${plural(shown.degraded.length, "part")} of the recipe missing here (${shown.degraded.join(", ")}). The weights of the others were scaled up to make one.`);
  if (shown.left_out.length) notice(`Left out: ${shown.left_out.map(label).join(", ")}. No space of this recipe reads it.`);
  if (shown.errors.length) notice(`${plural(shown.errors.length, "item")} could not be embedded and ${shown.errors.length === 1 ? "is" : "are"} missing here:`, shown.errors.map((error) => `${error.item} (${error.stage}): ${error.reason.split("\n").slice(0, 2).join(" ")}`));

  // The heat map, and what it says about a cell.
  const tip = byId("tip");
  const half = (i) => { const item = items[i]; return el("div", { "data-modality": item.modality }, [el("div", { class: "box" }, [item.words ? el("div", { class: "words" }, item.words) : small(item)]), el("div", { class: "who" }, [item.concept])]); };
  HeatMap.make(byId("map"), {
    items, modalities, cosine, label, el,
    ask,
    tip(pair, x, y) {
      tip.hidden = !pair;
      if (!pair) return;
      const [i, j] = pair, rank = i === j ? null : ranked(i, items[j].modality).indexOf(j) + 1;
      tip.replaceChildren(el("div", { class: "two" }, [half(i), half(j)]), el("div", { class: "value" }, ["cosine ", el("b", {}, cosine(i, j).toFixed(3)), rank ? `, ${ordinal(rank)} ${label(items[j].modality).toLowerCase()}` : ", itself"]));
      const { width, height } = tip.getBoundingClientRect();
      tip.style.left = `${Math.max(8, x + 18 + width > innerWidth ? x - width - 18 : x + 18)}px`;
      tip.style.top = `${Math.max(8, Math.min(y + 18, innerHeight - height - 8))}px`;
    },
  });

  // The any-to-any table.
  const percent = (x) => `${Math.round(100 * x)} %`;
  function gauge(figure, k) {
    const style = ["value", "low", "high", "chance"].map((name) => `--${name}: ${figure[name]}`).join("; ");
    const words = `R@${k} ${percent(figure.value)}, 95 % interval ${percent(figure.low)} to ${percent(figure.high)}, chance ${percent(figure.chance)}`;
    return [el("td", { class: "plot-cell" }, [el("div", { class: "gauge", style, role: "img", "aria-label": words, title: words }, [el("i"), el("u"), el("b")])]), el("td", { class: "number" }, percent(figure.value))];
  }
  const asked = [...new Set(shown.pairs.map((pair) => pair.from))], dot = (m) => el("span", { class: "dot", "data-modality": m });
  byId("figures").append(
    el("thead", {}, [el("tr", {}, [el("th", { scope: "col" }, "asked, found"), ...[1, 5].flatMap((k) => [el("th", { scope: "colgroup", colspan: "2" }, k === 1 ? "first is right (R@1)" : `right among ${k} (R@${k})`)])])]),
    ...asked.map((from) => el("tbody", {}, shown.pairs.filter((pair) => pair.from === from).map((pair) => el("tr", { "data-modality": pair.to }, [
      el("th", { scope: "row" }, [dot(from), label(from), el("span", { class: "to" }, " → "), label(pair.to)]), ...gauge(pair["R@1"], 1), ...gauge(pair["R@5"], 5),
    ])))),
  );
  byId("table-hint").textContent = `How often the right one comes first, or among the first five, of ${list([...new Set(shown.pairs.map((pair) => pair.candidates))].map(String))}. The dot is the share of queries, the band its 95 % bootstrap interval, the dotted line what guessing gives. Few queries: wide bands, and a band without width only says that every query fared the same.`;

  // The spaces, the credits and the end.
  byId("spaces").append(
    el("thead", {}, [el("tr", {}, ["space", "reads", "licence of its weights", "trained on"].map((words) => el("th", { scope: "col" }, words)))]),
    el("tbody", {}, shown.spaces.map((space) => el("tr", {}, [
      el("th", { scope: "row" }, [slots.includes(space.name) ? el("i", { style: `background: ${slotColour(space.name)}` }) : null, space.name]),
      el("td", {}, space.modalities.map((m) => label(m).toLowerCase()).join(", ")),
      el("td", {}, [space.licence, space.commercial === true ? "" : el("span", { class: "no" }, space.commercial === false ? ", not for commercial use" : ", commercial use unclear")]),
      el("td", { class: "training" }, space.training),
    ]))),
  );
  function inline(text) {
    const made = [];
    for (const part of text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\(https?:\/\/[^\s)]+\)|<https?:\/\/[^\s>]+>)/)) {
      const link = part.match(/^\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)$/) || part.match(/^<((https?:\/\/[^\s>]+))>$/);
      if (link) made.push(el("a", { href: link[2], rel: "noreferrer noopener" }, link[1]));
      else if (/^`.+`$/.test(part)) made.push(el("code", {}, part.slice(1, -1)));
      else if (/^\*\*.+\*\*$/.test(part)) made.push(el("strong", {}, part.slice(2, -2)));
      else made.push(part);
    }
    return made;
  }
  function prose(markdown) {
    const root = el("div", { class: "prose" }), cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(cell.trim()));
    for (const block of markdown.split(/\n\s*\n|\n(?=#)|(?<=^#.*)\n/m)) {
      const lines = block.split("\n").filter((line) => line.trim());
      if (!lines.length) continue;
      const heading = lines[0].match(/^(#+)\s+(.*)/);
      if (heading) { if (heading[1].length > 1) root.append(el("h3", {}, inline(heading[2]))); lines.shift(); }
      if (!lines.length) continue;
      if (lines[0].trim().startsWith("|")) {
        const [head, ...rows] = lines.filter((line) => !/^[\s|:-]+$/.test(line));
        root.append(el("div", { class: "wide" }, [el("table", {}, [el("thead", {}, [el("tr", {}, cells(head).map((c) => el("th", { scope: "col" }, c)))]), el("tbody", {}, rows.map((row) => el("tr", {}, cells(row).map((c) => el("td", {}, c)))))])]));
      } else if (/^\s*[-*] /.test(lines[0])) root.append(el("ul", {}, block.split(/\n?^\s*[-*] /m).filter((line) => line.trim()).map((line) => el("li", {}, inline(line.replaceAll("\n", " "))))));
      else root.append(el("p", {}, inline(lines.join(" "))));
    }
    return root;
  }
  byId("credits").append(shown.credits ? prose(shown.credits) : el("p", { class: "prose" }, "The folder of these media has no ATTRIBUTION.md."),
    el("p", { class: "prose" }, "For this page pictures were scaled down, sounds mixed to mono, cut to 10 s and compressed, shapes reduced to points."));
  byId("made").append(el("p", {}, `Made by omnibind ${shown.version} with the recipe ${shown.recipe.name}. This page is one file: it loads nothing and sends nothing.`));

  fromHash();
})();
