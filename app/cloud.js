// A map of many points on a canvas: drag to move, wheel to zoom, lasso to select, hover to ask about a sample.
// Points are written into a pixel buffer by hand: this stays smooth without a graphics card, where WebGL does not.
const SHAPES = {
  circle: (u, v) => u * u + v * v <= 1,
  square: (u, v) => Math.max(Math.abs(u), Math.abs(v)) <= 0.85,
  diamond: (u, v) => Math.abs(u) + Math.abs(v) <= 1.1,
  "triangle-up": (u, v) => v <= 0.8 && v >= -1 + 2 * Math.abs(u),
  "triangle-down": (u, v) => v >= -0.8 && v <= 1 - 2 * Math.abs(u),
  x: (u, v) => Math.abs(Math.abs(u) - Math.abs(v)) <= 0.4 && Math.max(Math.abs(u), Math.abs(v)) <= 0.9,
  cross: (u, v) => Math.min(Math.abs(u), Math.abs(v)) <= 0.3 && Math.max(Math.abs(u), Math.abs(v)) <= 1,
  star: (u, v) => Math.sqrt(Math.abs(u)) + Math.sqrt(Math.abs(v)) <= 1.15,
  hexagon: (u, v) => Math.abs(u) <= 0.87 && Math.abs(v) + Math.abs(u) / 2 <= 1,
  pentagon: (u, v) => v <= 0.8 && v >= -1 + 0.8 * Math.abs(u) && Math.abs(u) <= 0.95 - 0.2 * v,
};
const CELLS = 200; // cells of the search grid along one side
const REACH = 12; // pixels within which a point counts as pointed at
const RINGED = 1000; // more selected points than this are not ringed: the others turn grey
const NEAR = 24; // neighbours whose pictures are asked for along with the one pointed at
const views = new WeakMap();

function unpack(bytes) {
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const length = new Uint32Array(buffer, 0, 1)[0];
  const found = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const next = (Kind, n) => {
    at += (8 - (at % 8)) % 8;
    const part = new Kind(buffer, at, n);
    at += part.byteLength;
    return part;
  };
  found.x = next(Float32Array, found.n);
  found.y = next(Float32Array, found.n);
  found.sample = next(Float64Array, found.n);
  found.group = next(Uint16Array, found.n);
  found.tint = next(Uint16Array, found.n);
  found.marks = next(Uint8Array, found.n);
  return found;
}

function rgb(css) {
  const hex = css.trim();
  if (/^#[0-9a-f]{6}$/i.test(hex)) return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const parts = hex.match(/[\d.]+/g);
  return parts ? parts.slice(0, 3).map(Number) : [255, 255, 255];
}

class Cloud {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector(".stage canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.hidden = new Set();
    this.tool = "move";
    this.loop = null;
    this.over = -1;
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(this.canvas);
    const on = (name, act, options) => this.canvas.addEventListener(name, act, options);
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.release(event));
    on("pointerleave", () => this.leave());
    on("wheel", (event) => this.wheel(event), { passive: false });
    on("dblclick", () => this.whole());
    on("keydown", (event) => this.key(event));
    for (const button of root.querySelectorAll("button[data-tool]")) {
      button.onclick = () => this.choose(button.dataset.tool);
    }
    root.querySelector("button.whole").onclick = () => this.whole();
    this.choose("move");
  }

  load(bytes, { title, subtitle, height }, send) {
    this.send = send;
    const { root } = this;
    root.style.height = `${height}px`;
    root.querySelector(".title").textContent = title;
    root.querySelector(".subtitle").textContent = subtitle;
    if (this.bytes && bytes.length === this.bytes.length && bytes.every((value, i) => value === this.bytes[i])) {
      this.redraw(); // the theme may have changed
      return;
    }
    this.bytes = bytes;
    const before = this.data;
    const data = (this.data = unpack(bytes));
    this.canvas.setAttribute("aria-label", `${title}. ${subtitle}. Arrow keys move, plus and minus zoom, 0 shows all.`);
    root.querySelector(".across").textContent = data.axes[0];
    root.querySelector(".up").textContent = data.axes[1];
    this.tints = data.colours.map(rgb);
    this.chosen = data.marks.reduce((count, mark) => count + (mark >> 1), 0);
    const how = this.chosen > RINGED ? "in colour, others grey" : "ringed";
    root.querySelector(".chosen").textContent = this.chosen ? `selection (${this.chosen.toLocaleString("en")}): ${how}` : "";
    this.index();
    const same = before && before.n === data.n && before.x[0] === data.x[0] && before.x[data.n - 1] === data.x[data.n - 1];
    if (!before || before.names.join() !== data.names.join()) this.hidden.clear();
    this.legend();
    same ? this.redraw() : this.whole();
  }

  // -- where points are --------------------------------------------------------------------------------------------

  index() {
    const { x, y, n } = this.data;
    const box = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      if (x[i] < box[0]) box[0] = x[i];
      if (x[i] > box[1]) box[1] = x[i];
      if (y[i] < box[2]) box[2] = y[i];
      if (y[i] > box[3]) box[3] = y[i];
    }
    this.box = box;
    this.cell = Math.max(box[1] - box[0], box[3] - box[2], 1e-12) / CELLS;
    const cell = (i) => this.column(y[i], box[2]) * CELLS + this.column(x[i], box[0]);
    const starts = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < n; i++) starts[cell(i) + 1]++;
    for (let c = 0; c < CELLS * CELLS; c++) starts[c + 1] += starts[c];
    const fill = starts.slice();
    this.order = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.order[fill[cell(i)]++] = i;
    this.starts = starts;
  }

  column(value, low) {
    return Math.min(CELLS - 1, Math.max(0, Math.floor((value - low) / this.cell)));
  }

  /** The shown points nearest to a place on the map, nearest first. */
  nearest(px, py, count) {
    const { x, y, group } = this.data;
    const at = this.place(px, py);
    const reach = (REACH * (count > 1 ? 4 : 1)) / this.scale;
    const found = [];
    const [left, right] = [at[0] - reach, at[0] + reach].map((value) => this.column(value, this.box[0]));
    const [low, high] = [at[1] - reach, at[1] + reach].map((value) => this.column(value, this.box[2]));
    for (let row = low; row <= high; row++) {
      for (let k = this.starts[row * CELLS + left]; k < this.starts[row * CELLS + right + 1]; k++) {
        const i = this.order[k];
        const distance = Math.hypot(x[i] - at[0], y[i] - at[1]);
        if (distance <= reach && !this.hidden.has(group[i])) found.push([distance, i]);
      }
    }
    return found.sort((a, b) => a[0] - b[0]).slice(0, count).map((pair) => pair[1]);
  }

  place(px, py) {
    return [this.centre[0] + (px - this.width / 2) / this.scale, this.centre[1] - (py - this.height / 2) / this.scale];
  }

  pixel(x, y) {
    return [(x - this.centre[0]) * this.scale + this.width / 2, (this.centre[1] - y) * this.scale + this.height / 2];
  }

  whole() {
    this.measure();
    const [left, right, low, high] = this.box;
    this.centre = [(left + right) / 2, (low + high) / 2];
    this.fit = 0.94 * Math.min(this.width / Math.max(right - left, 1e-12), this.height / Math.max(high - low, 1e-12));
    this.scale = this.fit;
    this.redraw();
  }

  // -- drawing -----------------------------------------------------------------------------------------------------

  measure() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    this.ratio = ratio;
    this.width = Math.max(clientWidth, 1);
    this.height = Math.max(clientHeight, 1);
    const [wide, tall] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== tall) {
      this.canvas.width = wide;
      this.canvas.height = tall;
      this.image = null;
    }
  }

  redraw() {
    if (!this.data || this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      if (!this.centre) return this.whole();
      const begun = performance.now();
      this.measure();
      this.draw();
      this.root.dataset.milliseconds = (performance.now() - begun).toFixed(1);
    });
  }

  draw() {
    const { canvas, context } = this;
    const ground = rgb(getComputedStyle(this.root).getPropertyValue("--st-background-color") || "#ffffff");
    if (!this.image) this.image = context.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(this.image.data.buffer);
    pixels.fill((255 << 24) | (ground[2] << 16) | (ground[1] << 8) | ground[0]);
    const zoom = Math.sqrt(this.scale / this.fit);
    const radius = Math.min(7, (this.data.size / 2) * Math.max(1, Math.min(zoom, 4))) * this.ratio;
    this.stamp(pixels, radius);
    context.putImageData(this.image, 0, 0);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const ink = getComputedStyle(this.root).getPropertyValue("--st-text-color") || "#333";
    if (this.over >= 0) {
      const [px, py] = this.pixel(this.data.x[this.over], this.data.y[this.over]);
      context.strokeStyle = ink;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(px, py, radius / this.ratio + 4, 0, 2 * Math.PI);
      context.stroke();
    }
    if (this.loop) {
      context.strokeStyle = ink;
      context.lineWidth = 1.5;
      context.setLineDash([5, 4]);
      context.beginPath();
      this.loop.forEach(([px, py], i) => (i ? context.lineTo(px, py) : context.moveTo(px, py)));
      context.closePath();
      context.stroke();
      context.setLineDash([]);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  /** Offsets of the pixels that a shape covers. */
  mask(name, radius, hollow) {
    const reach = Math.ceil(radius);
    const inside = SHAPES[name] || SHAPES.circle;
    const found = [];
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        const [u, v] = [dx / radius, dy / radius];
        const far = Math.hypot(u, v) * radius;
        if (hollow ? far <= radius && far > radius - 1.6 * this.ratio : inside(u, v)) found.push(dx, dy);
      }
    }
    return found.length ? found : [0, 0];
  }

  stamp(pixels, radius) {
    const { x, y, group, tint, marks, n, symbols, faint, clear } = this.data;
    const { width: wide, height: tall } = this.canvas;
    const [k, cx, cy] = [this.scale * this.ratio, this.centre[0], this.centre[1]];
    const masks = symbols.map((name) => this.mask(name, radius, false));
    const ring = this.mask("circle", radius + 3 * this.ratio, true);
    const ringTint = rgb(this.data.ring);
    const margin = radius + 4 * this.ratio;
    const put = (i, mask, colour, opacity) => {
      const px = Math.round((x[i] - cx) * k + wide / 2);
      const py = Math.round((cy - y[i]) * k + tall / 2);
      if (px < -margin || py < -margin || px > wide + margin || py > tall + margin) return;
      const a = Math.round(opacity * 256);
      for (let m = 0; m < mask.length; m += 2) {
        const [qx, qy] = [px + mask[m], py + mask[m + 1]];
        if (qx < 0 || qy < 0 || qx >= wide || qy >= tall) continue;
        const at = qy * wide + qx;
        const was = pixels[at];
        const red = was & 255, green = (was >> 8) & 255, blue = (was >> 16) & 255;
        pixels[at] =
          (255 << 24) |
          ((blue + (((colour[2] - blue) * a) >> 8)) << 16) |
          ((green + (((colour[1] - green) * a) >> 8)) << 8) |
          (red + (((colour[0] - red) * a) >> 8));
      }
    };
    const shown = (i) => !this.hidden.has(group[i]);
    const many = this.chosen > RINGED;
    const grey = rgb(this.data.other);
    const pass = (wanted) => {
      for (let i = 0; i < n; i++) {
        if ((marks[i] & (many ? 3 : 1)) !== wanted || !shown(i)) continue;
        const colour = many && wanted < 2 ? grey : this.tints[tint[i]];
        put(i, masks[group[i]], colour, wanted & 1 ? faint : clear);
      }
    };
    for (const wanted of many ? [1, 0, 3, 2] : [1, 0]) pass(wanted); // faint ones below, selected ones on top
    if (!many && this.chosen) for (let i = 0; i < n; i++) if (marks[i] & 2 && shown(i)) put(i, ring, ringTint, 0.9);
  }

  legend() {
    const { names, colours, symbols, group, n, scale, legend } = this.data;
    const counts = new Uint32Array(names.length);
    for (let i = 0; i < n; i++) counts[group[i]]++;
    const list = this.root.querySelector(".legend");
    list.replaceChildren();
    const heading = document.createElement("div");
    heading.className = "heading";
    heading.textContent = legend;
    list.append(heading);
    names.forEach((name, g) => {
      const entry = document.createElement("button");
      entry.setAttribute("aria-pressed", String(!this.hidden.has(g)));
      const swatch = document.createElement("canvas");
      swatch.width = swatch.height = 14;
      const pen = swatch.getContext("2d");
      pen.fillStyle = scale ? this.data.other : colours[g];
      const shape = SHAPES[symbols[g]] || SHAPES.circle;
      for (let py = 0; py < 14; py++) {
        for (let px = 0; px < 14; px++) if (shape((px - 6.5) / 5.5, (py - 6.5) / 5.5)) pen.fillRect(px, py, 1, 1);
      }
      const words = document.createElement("span");
      words.textContent = `${name} (${counts[g].toLocaleString("en")})`;
      entry.append(swatch, words);
      entry.title = "Show or hide";
      entry.onclick = () => {
        this.hidden.has(g) ? this.hidden.delete(g) : this.hidden.add(g);
        entry.setAttribute("aria-pressed", String(!this.hidden.has(g)));
        this.redraw();
      };
      list.append(entry);
    });
    const bar = this.root.querySelector(".scale");
    bar.hidden = !scale;
    if (scale) {
      const short = (value) => Number(value.toPrecision(3)).toString();
      bar.querySelector(".ends").textContent = `${this.data.shade}: ${short(scale[0])} to ${short(scale[1])}`;
      bar.querySelector(".ramp").style.background = `linear-gradient(to right, ${colours.join(",")})`;
    }
  }

  // -- hands ---------------------------------------------------------------------------------------------------------

  choose(tool) {
    this.tool = tool;
    for (const button of this.root.querySelectorAll("button[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
    this.canvas.style.cursor = tool === "lasso" ? "crosshair" : "grab";
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.leave();
    const at = [event.offsetX, event.offsetY];
    if (this.tool === "lasso" || event.shiftKey) this.loop = [at];
    else this.held = [at, [...this.centre]];
  }

  move(event) {
    const at = [event.offsetX, event.offsetY];
    if (this.loop) {
      const last = this.loop[this.loop.length - 1];
      if (Math.hypot(at[0] - last[0], at[1] - last[1]) >= 3) this.loop.push(at);
    } else if (this.held) {
      const [[x, y], [cx, cy]] = this.held;
      this.centre = [cx - (at[0] - x) / this.scale, cy + (at[1] - y) / this.scale];
    } else {
      return this.hover(event, at);
    }
    this.redraw();
  }

  release() {
    const loop = this.loop;
    this.loop = this.held = null;
    if (loop && loop.length > 2) {
      this.send("lasso", { polygon: loop.map(([px, py]) => this.place(px, py)), hidden: [...this.hidden] });
    }
    this.redraw();
  }

  hover(event, at) {
    const near = this.nearest(at[0], at[1], 1);
    const i = near.length ? near[0] : -1;
    if (i < 0) return this.leave();
    if (i !== this.over) {
      this.over = i;
      this.redraw();
    }
    const { sample, group, names, marks, legend } = this.data;
    const others = this.nearest(at[0], at[1], NEAR).map((j) => sample[j]);
    const words = `${legend} ${names[group[i]]}`;
    const note = marks[i] & 1 ? "neighbours on the map mislead here" : "";
    const detail = { sample: sample[i], near: others, x: event.clientX, y: event.clientY, words, note };
    document.dispatchEvent(new CustomEvent("workbench-sample", { detail }));
  }

  leave() {
    if (this.over < 0) return;
    this.over = -1;
    document.dispatchEvent(new CustomEvent("workbench-sample", { detail: null }));
    this.redraw();
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * 0.0015), event.offsetX, event.offsetY);
  }

  zoom(factor, px, py) {
    const before = this.place(px, py);
    this.scale = Math.min(Math.max(this.scale * factor, this.fit * 0.5), this.fit * 2000);
    const after = this.place(px, py);
    this.centre = [this.centre[0] + before[0] - after[0], this.centre[1] + before[1] - after[1]];
    this.redraw();
  }

  key(event) {
    const step = 40 / this.scale;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) {
      this.centre = this.centre.map((value, i) => value + moves[event.key][i]);
      this.redraw();
    } else if ("+=-0".includes(event.key)) {
      event.key === "0" ? this.whole() : this.zoom(event.key === "-" ? 0.8 : 1.25, this.width / 2, this.height / 2);
    } else return;
    event.preventDefault();
  }

  close() {
    this.leave();
    this.observer.disconnect();
    if (this.waiting) cancelAnimationFrame(this.waiting);
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".cloud");
  if (!views.has(root)) views.set(root, new Cloud(root));
  const view = views.get(root);
  const length = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
  const words = JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + length)));
  const rest = data.slice(4 + length + ((8 - ((4 + length) % 8)) % 8));
  view.load(rest, words, setTriggerValue);
  return () => view.close();
}
