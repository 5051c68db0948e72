// The picture of the sample under the pointer, beside it: on plotly charts whose traces say meta "samples", and on maps
// that tell of a sample themselves by the event "workbench-sample". A click on a cell of a heat map whose meta names its
// cells is reported by that name.
const KEPT = 3000; // samples whose pictures are kept in the browser
const WAIT = 60; // milliseconds that the pointer rests before a picture is asked for
const states = new WeakMap();

class Pictures {
  constructor(box) {
    this.box = box;
    this.known = new Map();
    this.asked = new Set();
    this.onSample = (event) => (event.detail ? this.show(event.detail) : this.hide());
    this.onOver = (event) => this.bind(event.target);
    document.addEventListener("workbench-sample", this.onSample);
    document.addEventListener("pointerover", this.onOver, true);
  }

  /** Listen to a plotly chart the first time the pointer enters it. */
  bind(target) {
    const plot = target && target.closest ? target.closest(".js-plotly-plot") : null;
    if (!plot || !plot.on || plot.workbenchPictures === this) return;
    plot.workbenchPictures = this;
    plot.on("plotly_hover", (found) => {
      if (plot.workbenchPictures !== this) return;
      const point = (found.points || []).find((item) => item.data && item.data.meta === "samples");
      if (!point || !Number.isInteger(point.customdata)) return;
      const { clientX: x, clientY: y } = found.event || {};
      this.show({ sample: point.customdata, near: [point.customdata], x, y, words: "" }); // its own label says the rest
    });
    plot.on("plotly_click", (found) => {
      const point = (found.points || []).find((item) => item.data && item.data.meta && item.data.meta.cells);
      if (!point || plot.workbenchPictures !== this || !Array.isArray(point.pointNumber)) return;
      const name = (point.data.meta.cells[point.pointNumber[0]] || [])[point.pointNumber[1]];
      if (name) this.send("cell", name);
    });
    plot.on("plotly_unhover", () => plot.workbenchPictures === this && this.hide());
  }

  load(data, send) {
    if (data.run !== this.run) {
      this.known.clear();
      this.asked.clear();
      this.run = data.run;
    }
    this.send = send;
    for (const [sample, found] of Object.entries(data.found)) {
      this.known.set(Number(sample), found);
      this.asked.delete(Number(sample));
    }
    while (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
    if (this.current) this.show(this.current);
  }

  show(about) {
    this.current = about;
    const found = this.known.get(about.sample);
    this.fill(about, found);
    const missing = about.near.filter((sample) => !this.known.has(sample) && !this.asked.has(sample));
    if (found || !missing.length) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      missing.forEach((sample) => this.asked.add(sample));
      this.send("near", missing);
    }, WAIT);
  }

  fill(about, found) {
    const image = this.box.querySelector("img");
    const words = about.words && found && found.words ? found.words : about.words;
    image.hidden = !(found && found.picture);
    if (!image.hidden) image.src = `data:image/png;base64,${found.picture}`;
    const lines = about.words ? [words, about.note, `sample ${about.sample}`] : [];
    this.box.querySelector("div").textContent = lines.filter(Boolean).join("\n");
    this.box.hidden = image.hidden && !about.words;
    const { offsetWidth: wide, offsetHeight: tall } = this.box;
    const left = about.x + 18 + wide > window.innerWidth ? about.x - 18 - wide : about.x + 18;
    const top = Math.max(4, Math.min(about.y + 18, window.innerHeight - tall - 4));
    this.box.style.transform = `translate(${left}px, ${top}px)`;
  }

  hide() {
    clearTimeout(this.timer);
    this.current = null;
    this.box.hidden = true;
  }

  close() {
    this.hide();
    document.removeEventListener("workbench-sample", this.onSample);
    document.removeEventListener("pointerover", this.onOver, true);
    this.box.remove();
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const home = parentElement.querySelector(".home");
  if (!states.has(home)) {
    // In the body: a position fixed to the window would otherwise be fixed to a container of the page.
    const host = document.createElement("div");
    host.className = "workbench-pictures";
    const box = home.querySelector(".box").cloneNode(true);
    host.attachShadow({ mode: "open" }).append(parentElement.querySelector("style.box-style").cloneNode(true), box);
    document.body.append(host);
    const state = new Pictures(box);
    const close = state.close.bind(state);
    state.close = () => {
      close();
      host.remove();
      states.delete(home);
    };
    states.set(home, state);
  }
  const state = states.get(home);
  const style = getComputedStyle(home);
  for (const name of ["--st-background-color", "--st-text-color", "--st-border-color", "--st-font"]) {
    state.box.style.setProperty(name, style.getPropertyValue(name));
  }
  state.load(data, setTriggerValue);
  return () => state.close();
}
