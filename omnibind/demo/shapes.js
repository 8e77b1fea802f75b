"use strict";
// Clouds of points, drawn without WebGL and without a library: each point is a small disc, the
// nearest disc owns a pixel, and light falls by its normal and by how far its neighbours stand out.
const Shapes = (() => {
  const DISTANCE = 3.4; // of the eye from the centre; the cloud has radius 1
  const LIGHT = [-0.43, 0.72, 0.54];
  const CLAY = [196, 190, 182];
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const buffers = new Map();
  const pictures = new Map();

  function bytes(text) {
    const raw = atob(text), made = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) made[i] = raw.charCodeAt(i);
    return made;
  }

  function decode(item) {
    if (item.decoded) return item.decoded;
    const all = bytes(item.cloud), n = item.points, view = new DataView(all.buffer);
    const xyz = new Float32Array(3 * n), normal = new Float32Array(3 * n);
    for (let i = 0; i < 3 * n; i++) {
      xyz[i] = view.getInt16(2 * i, true) / 32767;
      normal[i] = view.getInt8(6 * n + i) / 127;
    }
    return (item.decoded = { n, spacing: item.spacing, xyz, normal, rgb: item.coloured ? all.subarray(9 * n) : null });
  }

  function buffer(side) {
    if (!buffers.has(side)) {
      const pixels = side * side;
      buffers.set(side, { depth: new Float32Array(pixels), owner: new Int32Array(pixels), image: new ImageData(side, side) });
    }
    return buffers.get(side);
  }

  // Who owns each pixel.
  function splat(shape, side, m, { depth, owner }) {
    depth.fill(1e9);
    owner.fill(-1);
    const { n, xyz } = shape, half = side / 2, scale = half / 1.06;
    const reach = Math.max(0.7, 1.15 * Math.min(0.05, shape.spacing) * scale), square = reach * reach, box = Math.ceil(reach);
    for (let i = 0; i < n; i++) {
      const x = xyz[3 * i], y = xyz[3 * i + 1], z = xyz[3 * i + 2];
      const near = m[6] * x + m[7] * y + m[8] * z, grow = (scale * DISTANCE) / (DISTANCE - near);
      const px = half + (m[0] * x + m[1] * y + m[2] * z) * grow;
      const py = half - (m[3] * x + m[4] * y + m[5] * z) * grow;
      const left = Math.max(0, Math.round(px) - box), right = Math.min(side - 1, Math.round(px) + box);
      const top = Math.max(0, Math.round(py) - box), bottom = Math.min(side - 1, Math.round(py) + box);
      for (let v = top; v <= bottom; v++) {
        const dy = v - py;
        for (let u = left; u <= right; u++) {
          const dx = u - px, at = v * side + u;
          if (dx * dx + dy * dy <= square && -near < depth[at]) {
            depth[at] = -near;
            owner[at] = i;
          }
        }
      }
    }
  }

  function shade(shape, side, m, { depth, owner, image }) {
    const { normal, rgb } = shape, out = image.data, step = Math.max(1, Math.round(side / 150));
    out.fill(0);
    for (let v = 0; v < side; v++) {
      for (let u = 0; u < side; u++) {
        const at = v * side + u, i = owner[at];
        if (i < 0) continue;
        let hidden = 0;
        if (u >= step) hidden += behind(depth, at, at - step);
        if (u < side - step) hidden += behind(depth, at, at + step);
        if (v >= step) hidden += behind(depth, at, at - step * side);
        if (v < side - step) hidden += behind(depth, at, at + step * side);
        const a = normal[3 * i], b = normal[3 * i + 1], c = normal[3 * i + 2];
        let nx = m[0] * a + m[1] * b + m[2] * c, ny = m[3] * a + m[4] * b + m[5] * c, nz = m[6] * a + m[7] * b + m[8] * c;
        if (nz < 0) { nx = -nx; ny = -ny; nz = -nz; }
        const lit = Math.max(0, nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2]);
        const light = (0.42 + 0.14 * ny + 0.62 * lit) * Math.exp(-2.6 * hidden);
        const rim = 30 * (1 - nz) * (1 - nz) + 20 * lit;
        const base = rgb ? 3 * i : -1;
        for (let k = 0; k < 3; k++) out[4 * at + k] = (base < 0 ? CLAY[k] : rgb[base + k]) * light + rim;
        out[4 * at + 3] = 255;
      }
    }
  }

  function behind(depth, at, other) {
    const gap = depth[at] - depth[other];
    return gap > 0.012 ? Math.min(gap, 0.16) : 0;
  }

  function draw(canvas, item, yaw, pitch) {
    const side = canvas.width, shape = decode(item), made = buffer(side);
    const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
    const m = [cy, 0, sy, sp * sy, cp, -sp * cy, -cp * sy, sp, cp * cy]; // rows: right, up, towards the eye
    splat(shape, side, m, made);
    shade(shape, side, m, made);
    canvas.getContext("2d").putImageData(made.image, 0, 0);
  }

  // A still picture of a cloud, as a data URI.
  function picture(item) {
    if (!pictures.has(item)) {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 240;
      draw(canvas, item, 0.55, 0.3);
      pictures.set(item, canvas.toDataURL("image/png"));
    }
    return pictures.get(item);
  }

  const turning = new Set();
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.target.viewer.visible = entry.isIntersecting;
  });
  let running = false, before = 0;

  function tick(now) {
    const passed = Math.min(0.1, (now - before) / 1000);
    if (passed >= 0.03) { // at most 30 pictures a second
      before = now;
      for (const viewer of turning) {
        if (!viewer.canvas.isConnected) { turning.delete(viewer); seen.unobserve(viewer.canvas); }
        else if (viewer.visible) viewer.advance(passed);
      }
    }
    running = turning.size > 0;
    if (running) requestAnimationFrame(tick);
  }

  // A canvas that turns by itself, by dragging and by the arrow keys.
  function viewer(item, name) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = Math.round(260 * Math.min(1.7, Math.max(1.4, devicePixelRatio || 1)));
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `3D shape: ${name}. Arrow keys turn it.`);
    const own = { canvas, yaw: 0.55, pitch: 0.3, visible: true, stale: true, held: null, rest: 0 };
    own.advance = (passed) => {
      own.rest -= passed;
      if (!own.held && own.rest <= 0 && !still.matches) { own.yaw += 0.45 * passed; own.stale = true; }
      if (own.stale) draw(canvas, item, own.yaw, own.pitch);
      own.stale = false;
    };
    own.turn = (yaw, pitch) => {
      own.yaw += yaw;
      own.pitch = Math.max(-1.5, Math.min(1.5, own.pitch + pitch));
      own.rest = 2.5;
      own.stale = true;
    };
    canvas.viewer = own;
    canvas.addEventListener("pointerdown", (event) => { own.held = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (!own.held) return;
      own.turn((event.clientX - own.held[0]) * 0.011, (event.clientY - own.held[1]) * 0.009);
      own.held = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { own.held = null; });
    canvas.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (turn) { own.turn(...turn); event.preventDefault(); }
    });
    draw(canvas, item, own.yaw, own.pitch);
    own.stale = false;
    turning.add(own);
    seen.observe(canvas);
    if (!running) { running = true; requestAnimationFrame(tick); }
    return canvas;
  }

  return { picture, viewer, bytes };
})();
