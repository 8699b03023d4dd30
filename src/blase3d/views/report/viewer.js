// The viewer of the spectrum: drag, pinch, buttons and keys move and zoom it.
"use strict";
(() => {
  const box = document.getElementById("viewer");
  const given = JSON.parse(document.getElementById("spectrum").textContent);
  const canvas = box.querySelector("canvas");
  const readout = box.querySelector("output");
  const pen = canvas.getContext("2d");

  // Arrays: most are integers times a step.
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const real = (entry, Kind) =>
    Float64Array.from(new Kind(bytes(entry.data)), (n) => entry.low + n * entry.step);
  const wave = real(given.wavelength, Uint32Array);
  const model = real(given.model, Uint16Array);
  const residual = new Float32Array(bytes(given.residual));
  const error = real(given.error, Uint16Array);
  const flags = new Uint8Array(bytes(given.flags));
  const flux = model.map((value, i) => value + residual[i]);
  const OUTLIER = 1, GAP = 2, RIGHT = 18;
  const orders = given.orders.slice(1).map((stop, k) => [given.orders[k], stop]);
  const whole = orders.reduce(
    ([low, high], [a, b]) => [Math.min(low, wave[a]), Math.max(high, wave[b - 1])],
    [Infinity, -Infinity]);

  let view = whole.slice();
  let picked = null;
  let scheduled = false;

  // Indices of wavelengths.
  const search = (value, from, to) => {
    while (from < to) {
      const middle = (from + to) >> 1;
      if (wave[middle] < value) from = middle + 1; else to = middle;
    }
    return from;
  };
  const shown = () => orders
    .map(([a, b]) => [Math.max(search(view[0], a, b) - 1, a), Math.min(search(view[1], a, b) + 1, b)])
    .filter(([a, b]) => b > a);

  // Ranges of both panels.
  const quantile = (values, fraction) => {
    const sorted = Float64Array.from(values).sort();
    return sorted.length ? sorted[Math.min(Math.floor(fraction * sorted.length), sorted.length - 1)] : 0;
  };
  const sampled = (values, ranges, most = 6000) => {
    const total = ranges.reduce((sum, [a, b]) => sum + b - a, 0);
    const step = Math.max(Math.floor(total / most), 1);
    const found = [];
    for (const [a, b] of ranges) for (let i = a; i < b; i += step) found.push(values[i]);
    return found;
  };
  const spans = (ranges) => {
    const measured = sampled(flux, ranges), fitted = sampled(model, ranges);
    const low = Math.min(quantile(measured, 0.002), quantile(fitted, 0));
    const high = Math.max(quantile(measured, 0.998), quantile(fitted, 1));
    const room = (high - low) || 1;
    const off = quantile(sampled(residual, ranges).map(Math.abs), 0.995);
    const limit = 1.3 * Math.max(off, quantile(sampled(error, ranges), 0.5)) || 1;
    return { flux: [low - 0.06 * room, high + 0.08 * room], residual: [-limit, limit] };
  };

  const ticks = ([low, high], most) => {
    const rough = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) + (step / power === 2.5 && power <= 1 ? 1 : 0);
    return found.map((value) => [value, value.toFixed(digits).replace("-", "−")]);
  };

  const colours = () => {
    const style = getComputedStyle(box);
    const of = (name) => style.getPropertyValue(name).trim();
    return {
      ink: of("--ink"), paper: of("--paper"), data: of("--data"), model: of("--model"),
      residual: of("--residual"), error: of("--error"), outlier: of("--outlier"), unused: of("--unused"),
      line: of("--m1"),
    };
  };

  // A curve; where many pixels share a column, their range.
  const stroke = (frame, values, ranges, colour, width) => {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    for (const [a, b] of ranges) {
      if (b - a < 3 * frame.width) {
        for (let i = a; i < b; i++) {
          const x = frame.x(wave[i]), y = frame.y(values[i]);
          if (i === a || flags[i] & GAP) pen.moveTo(x, y); else pen.lineTo(x, y);
        }
        continue;
      }
      let column = null, low = 0, high = 0, fresh = true;
      const flush = () => {
        if (fresh) pen.moveTo(column, frame.y(low)); else pen.lineTo(column, frame.y(low));
        pen.lineTo(column, frame.y(high));
        fresh = false;
      };
      for (let i = a; i < b; i++) {
        const x = Math.round(frame.x(wave[i]));
        if (x !== column) {
          if (column !== null) flush();
          if (flags[i] & GAP) fresh = true;
          column = x;
          low = high = values[i];
        } else {
          low = Math.min(low, values[i]);
          high = Math.max(high, values[i]);
        }
      }
      if (column !== null) flush();
    }
    pen.stroke();
  };

  const panels = (width, height) => {
    const left = width < 500 ? 48 : 62;
    const span = width - left - RIGHT;
    const make = (top, tall, y) => ({
      left, top, width: span, height: tall, range: y,
      x: (value) => left + span * (value - view[0]) / (view[1] - view[0]),
      y: (value) => top + tall * (1 - Math.min(Math.max((value - y[0]) / (y[1] - y[0]), -0.05), 1.05)),
    });
    const ranges = shown();
    const y = spans(ranges);
    const room = height - 62, tall = 0.7 * room;
    // Room for the marks of lines, and for their names if they do not overlap.
    const near = given.lines.filter(({ observed }) => observed > view[0] && observed < view[1]);
    const named = near.length > 0 && near.length * 40 < span;
    const free = named ? Math.min(130, 0.4 * tall) : 12;
    y.flux[1] += (y.flux[1] - y.flux[0]) * free / (tall - free);
    return { ranges, near, named, upper: make(8, tall, y.flux), lower: make(18 + 0.7 * room, 0.3 * room, y.residual) };
  };

  const clipped = (frame, draw) => {
    pen.save();
    pen.beginPath();
    pen.rect(frame.left, frame.top, frame.width, frame.height);
    pen.clip();
    draw();
    pen.restore();
  };

  const yAxis = (frame, title, most, colour) => {
    pen.strokeStyle = colour;
    pen.fillStyle = colour;
    pen.lineWidth = 1;
    pen.strokeRect(frame.left, frame.top, frame.width, frame.height);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const [value, text] of ticks(frame.range, most)) {
      const y = frame.y(value);
      pen.fillText(text, frame.left - 4, y);
      pen.beginPath(); pen.moveTo(frame.left, y); pen.lineTo(frame.left + 5, y); pen.stroke();
    }
    pen.save();
    pen.translate(11, frame.top + frame.height / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText(title, 0, 0);
    pen.restore();
  };

  const xAxis = (frame, height, colour) => {
    pen.fillStyle = pen.strokeStyle = colour;
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    const bottom = frame.top + frame.height;
    for (const [value, text] of ticks(view, frame.width < 420 ? 3 : 6)) {
      const x = frame.x(value);
      pen.fillText(text, x, bottom + 16);
      pen.beginPath(); pen.moveTo(x, bottom); pen.lineTo(x, bottom - 5); pen.stroke();
    }
    pen.fillText("Wavelength in vacuum (Å)", frame.left + frame.width / 2, height - 4);
  };

  const marks = (frame, near, named, c) => {
    let last = -Infinity;
    pen.strokeStyle = c.line;
    pen.fillStyle = c.ink;
    pen.lineWidth = 1;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    for (const line of near) {
      const x = frame.x(line.observed);
      pen.beginPath(); pen.moveTo(x, frame.top); pen.lineTo(x, frame.top + 10); pen.stroke();
      if (!named || x - last < 15) continue;
      last = x;
      pen.save();
      pen.translate(x, frame.top + 14);
      pen.rotate(Math.PI / 2);
      pen.fillText(line.name ? `${line.name} ${line.rest}` : line.rest, 0, 0);
      pen.restore();
    }
  };

  const outliers = (frame, values, ranges, colour) => {
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    for (const [a, b] of ranges) {
      for (let i = a; i < b; i++) {
        if (!(flags[i] & OUTLIER)) continue;
        pen.beginPath();
        pen.arc(frame.x(wave[i]), frame.y(values[i]), 3.5, 0, 2 * Math.PI);
        pen.stroke();
      }
    }
  };

  const draw = () => {
    scheduled = false;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.font = `${width < 500 ? 11 : 13}px system-ui, sans-serif`;
    pen.lineJoin = "round";
    const c = colours();
    const { ranges, near, named, upper, lower } = panels(width, height);
    for (const frame of [upper, lower]) {
      clipped(frame, () => {
        pen.fillStyle = c.unused;
        for (const [a, b] of given.unused) {
          const x = frame.x(a);
          pen.fillRect(x, frame.top, Math.max(frame.x(b) - x, 0.8), frame.height);
        }
      });
    }
    clipped(upper, () => {
      stroke(upper, flux, ranges, c.data, 1);
      stroke(upper, model, ranges, c.model, 1.5);
      outliers(upper, flux, ranges, c.outlier);
      marks(upper, near, named, c);
      if (picked !== null) {
        pen.fillStyle = c.model;
        pen.beginPath();
        pen.arc(upper.x(wave[picked]), upper.y(flux[picked]), 4, 0, 2 * Math.PI);
        pen.fill();
      }
    });
    clipped(lower, () => {
      stroke(lower, residual, ranges, c.residual, 1);
      pen.setLineDash([5, 4]);
      stroke(lower, error, ranges, c.error, 1.2);
      stroke(lower, error.map((value) => -value), ranges, c.error, 1.2);
      pen.setLineDash([]);
      outliers(lower, residual, ranges, c.outlier);
      pen.strokeStyle = c.model;
      pen.beginPath();
      pen.moveTo(lower.left, lower.y(0));
      pen.lineTo(lower.left + lower.width, lower.y(0));
      pen.stroke();
    });
    yAxis(upper, "Flux / continuum", 4, c.ink);
    yAxis(lower, "Residual", 4, c.ink);
    xAxis(lower, height, c.ink);
  };
  const redraw = () => { if (!scheduled) { scheduled = true; requestAnimationFrame(draw); } };

  // Moving and zooming.
  const least = Math.max((whole[1] - whole[0]) * 1e-5, 0.2);
  const look = (low, high) => {
    const size = Math.min(Math.max(high - low, least), whole[1] - whole[0]);
    let start = (low + high) / 2 - size / 2;
    start = Math.min(Math.max(start, whole[0]), whole[1] - size);
    view = [start, start + size];
    redraw();
  };
  const zoom = (factor, at = (view[0] + view[1]) / 2) =>
    look(at - (at - view[0]) * factor, at + (view[1] - at) * factor);
  const move = (fraction) => {
    const step = fraction * (view[1] - view[0]);
    look(view[0] + step, view[1] + step);
  };
  const wavelengthAt = (clientX) => {
    const edges = canvas.getBoundingClientRect();
    const left = edges.width < 500 ? 48 : 62;
    const fraction = (clientX - edges.left - left) / (edges.width - left - RIGHT);
    return view[0] + fraction * (view[1] - view[0]);
  };

  const read = (at) => {
    let best = null;
    for (const [a, b] of shown()) {
      const i = search(at, a, b);
      for (const k of [i - 1, i]) {
        if (k >= a && k < b && (best === null || Math.abs(wave[k] - at) < Math.abs(wave[best] - at))) best = k;
      }
    }
    picked = best;
    if (best === null) return;
    const off = residual[best], sign = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
    const sigmas = error[best] > 0 ? ` (${sign(off / error[best], 1)} σ)` : "";
    const line = given.lines
      .filter(({ observed }) => Math.abs(observed - wave[best]) < 0.01 * (view[1] - view[0]))
      .sort((a, b) => Math.abs(a.observed - wave[best]) - Math.abs(b.observed - wave[best]))[0];
    readout.textContent = `${wave[best].toFixed(3)} Å: flux ${flux[best].toFixed(4)}, model ` +
      `${model[best].toFixed(4)}, residual ${sign(off, 4)}${sigmas}` +
      (flags[best] & OUTLIER ? ", given less weight" : "") +
      (line ? `; line at ${line.rest} Å${line.name ? ` ${line.name}` : ""}: ${line.why}` : "");
    redraw();
  };

  const fingers = new Map();
  const two = () => {
    const [a, b] = [...fingers.values()];
    return { middle: (a + b) / 2, apart: Math.max(Math.abs(a - b), 20) };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event.clientX);
    read(wavelengthAt(event.clientX));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) { read(wavelengthAt(event.clientX)); return; }
    if (fingers.size === 1) {
      const from = wavelengthAt(fingers.get(event.pointerId)), to = wavelengthAt(event.clientX);
      fingers.set(event.pointerId, event.clientX);
      look(view[0] + from - to, view[1] + from - to);
    } else if (fingers.size === 2) {
      const before = two(), held = wavelengthAt(before.middle);
      fingers.set(event.pointerId, event.clientX);
      const after = two();
      zoom(before.apart / after.apart, held);
      const slid = held - wavelengthAt(after.middle);
      look(view[0] + slid, view[1] + slid);
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(Math.exp(0.004 * event.deltaY), wavelengthAt(event.clientX));
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      move(event.deltaX / canvas.clientWidth);
    }
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoom(0.4, wavelengthAt(event.clientX)));
  canvas.addEventListener("keydown", (event) => {
    const action = {
      ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2),
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => look(...whole),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  const actions = {
    in: () => zoom(0.5), out: () => zoom(2), all: () => look(...whole),
    left: () => move(-0.5), right: () => move(0.5),
  };
  for (const button of box.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      if (button.dataset.window) look(...given.windows[Number(button.dataset.window)]);
      else actions[button.dataset.action]();
    });
  }
  document.addEventListener("click", (event) => {
    const line = event.target.closest("[data-show]");
    if (!line) return;
    const at = Number(line.dataset.show);
    look(at * (1 - 1 / 2000), at * (1 + 1 / 2000));
    read(at);
    box.scrollIntoView({ block: "nearest" });
  });

  document.documentElement.classList.add("live");
  new ResizeObserver(redraw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
  redraw();
})();
