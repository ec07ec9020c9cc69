// Charts on a canvas: curves over time, and histograms. A chart draws what it was given last, also when its size or the
// colours change.

const FONT = '11.5px system-ui, -apple-system, \'Segoe UI\', sans-serif';

// Round numbers between `low` and `high`, about `wanted` of them.
function ticks(low, high, wanted, factors = [1, 2, 2.5, 5, 10]) {
  const raw = (high - low) / Math.max(1, wanted);
  if (!(raw > 0) || !Number.isFinite(raw)) return [];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * (factors.find((factor) => factor * power >= raw) || 10);
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1000; value += step) {
    values.push(Math.abs(value) < step / 1000 ? 0 : value);
  }
  return values;
}

// Of things that are counted: whole numbers.
const wholeTicks = (low, high, wanted) => ticks(low, high, wanted, [1, 2, 5, 10]).filter(Number.isInteger);

class Chart {
  constructor(id) {
    this.canvas = $(id);
    this.tip = this.canvas.parentElement.querySelector('.tip');
    this.context = this.canvas.getContext('2d');
    this.pointer = null;
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.canvas.addEventListener('pointermove', (event) => this.point({x: event.offsetX, y: event.offsetY}));
    this.canvas.addEventListener('pointerdown', (event) => this.point({x: event.offsetX, y: event.offsetY}));
    this.canvas.addEventListener('pointerleave', () => this.point(null));
  }

  point(where) {
    this.pointer = where;
    this.draw();
  }

  // Sharp on every screen: one unit is one CSS pixel.
  begin() {
    const ratio = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth;
    const height = this.canvas.clientHeight;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const c = this.context;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    c.font = FONT;
    c.lineJoin = 'round';
    return {c, width, height};
  }

  text(string, x, y, align, color) {
    this.context.fillStyle = color || colors.soft;
    this.context.textAlign = align;
    this.context.fillText(string, x, y);
  }

  line(x1, y1, x2, y2, color) {
    const c = this.context;
    c.strokeStyle = color;
    c.lineWidth = 1;
    c.beginPath();
    c.moveTo(x1, y1);
    c.lineTo(x2, y2);
    c.stroke();
  }

  showTip(text, x, y, width) {
    if (!this.tip) return;
    this.tip.hidden = !text;
    if (!text) return;
    setText(this.tip, text);
    const left = x + 14 + this.tip.offsetWidth > width ? Math.max(0, x - 14 - this.tip.offsetWidth) : x + 14;
    this.tip.style.transform =
        `translate(${Math.round(left)}px, ${Math.round(Math.max(0, y - this.tip.offsetHeight / 2))}px)`;
  }
}

// Curves over seconds. series: [{name, color, x: [], y: [], dots}]
class LineChart extends Chart {
  constructor(id, format, options = {}) {
    super(id);
    this.format = format;
    this.tick = options.tick || format;  // how the axis is labelled
    this.options = options;
    this.series = [];
  }

  update(series) {
    this.series = series;
    this.draw();
  }

  range() {
    let [x0, x1, y0, y1] = [0, 1, Infinity, -Infinity];
    for (const {x, y} of this.series) {
      for (let i = 0; i < x.length; i++) {
        if (!isNumber(y[i])) continue;
        x1 = Math.max(x1, x[i]);
        y0 = Math.min(y0, y[i]);
        y1 = Math.max(y1, y[i]);
      }
    }
    if (y0 > y1) return null;
    if (this.options.fromZero) y0 = 0;
    if (y0 === y1)
      [y0, y1] = [y0 - Math.abs(y0) / 10 - (y0 === 0 ? 0 : 1e-9), y1 + Math.abs(y1) / 10 + (y1 === 0 ? 1 : 1e-9)];
    const pad = (y1 - y0) * 0.06;
    return {x0, x1, y0: this.options.fromZero ? 0 : y0 - pad, y1: y1 + pad};
  }

  draw() {
    const {c, width, height} = this.begin();
    const range = this.range();
    if (!range) {
      this.text('nothing yet', width / 2, height / 2, 'center');
      this.showTip('');
      return;
    }
    const yTicks = ticks(range.y0, range.y1, height / 45);
    const left = 8 + Math.max(...yTicks.map((value) => c.measureText(this.tick(value)).width), 10);
    const [right, top, bottom] = [width - 6, 8, height - 20];
    const toX = (value) => left + ((value - range.x0) / (range.x1 - range.x0)) * (right - left);
    const toY = (value) => bottom - ((value - range.y0) / (range.y1 - range.y0)) * (bottom - top);
    for (const value of yTicks) {
      const y = Math.round(toY(value)) + 0.5;
      this.line(left, y, right, y, colors.faint);
      this.text(this.tick(value), left - 6, y + 4, 'right');
    }
    const minutes = range.x1 >= 180;
    const unit = range.x1 >= 10800 ? 3600 : minutes ? 60 : 1;
    for (const value of ticks(0, range.x1 / unit, Math.min(8, width / 75))) {
      const x = toX(value * unit);
      this.text(
          `${+ value.toFixed(4)} ${
              unit === 3600 ? 'h' :
                  minutes   ? 'min' :
                              's'}`,
          Math.min(Math.max(x, left + 8), right - 14), height - 4, 'center');
    }
    for (const one of this.series) this.drawSeries(one, toX, toY, bottom);
    this.drawPointer(range, left, right, top, bottom, toX, toY, width);
  }

  drawSeries({x, y, color, dots, filled}, toX, toY, bottom) {
    const c = this.context;
    c.strokeStyle = c.fillStyle = colors[color];
    c.lineWidth = dots ? 1 : 1.7;
    c.globalAlpha = dots ? 0.6 : 1;
    c.beginPath();
    let open = false;
    let first = 0;
    for (let i = 0; i < x.length; i++) {
      if (!isNumber(y[i])) {
        open = false;
        continue;
      }
      if (open)
        c.lineTo(toX(x[i]), toY(y[i]));
      else
        c.moveTo((first = toX(x[i])), toY(y[i]));
      open = true;
    }
    c.stroke();
    if (filled && open) {
      c.lineTo(toX(x[x.length - 1]), bottom);
      c.lineTo(first, bottom);
      c.globalAlpha = 0.12;
      c.fill();
    }
    c.globalAlpha = 1;
    if (!dots) return;
    for (let i = 0; i < x.length; i++) {
      if (!isNumber(y[i])) continue;
      c.beginPath();
      c.arc(toX(x[i]), toY(y[i]), x.length > 60 ? 2 : 3.2, 0, 7);
      c.fill();
    }
  }

  drawPointer(range, left, right, top, bottom, toX, toY, width) {
    if (!this.pointer || this.pointer.x < left || this.pointer.x > right) return this.showTip('');
    const at = range.x0 + ((this.pointer.x - left) / (right - left)) * (range.x1 - range.x0);
    const rows = [];
    let shown = null;
    for (const one of this.series) {
      let best = -1;
      for (let i = 0; i < one.x.length; i++) {
        if (isNumber(one.y[i]) && (best < 0 || Math.abs(one.x[i] - at) < Math.abs(one.x[best] - at))) best = i;
      }
      if (best < 0) continue;
      if (shown === null) shown = one.x[best];
      rows.push(`${one.name} ${this.format(one.y[best])}`);
      this.context.fillStyle = colors[one.color];
      this.context.beginPath();
      this.context.arc(toX(one.x[best]), toY(one.y[best]), 4, 0, 7);
      this.context.fill();
    }
    if (shown === null) return this.showTip('');
    this.line(toX(shown), top, toX(shown), bottom, colors.rule);
    this.showTip([`at ${duration(shown)}`, ...rows].join('\n'), toX(shown), this.pointer.y, width);
  }
}

// counts[i]: how often the value was i; 256 counts at most, the last of everything above. `limit`: a bound to mark, or
// null; one that is far beyond the counts would press them together, and is not marked.
class Histogram extends Chart {
  constructor(id, color) {
    super(id);
    this.color = color;
    this.counts = [];
    this.limit = null;
  }

  update(histogram, limit) {
    this.counts = histogram.counts;
    while (this.counts.length && !this.counts[this.counts.length - 1]) this.counts.pop();
    this.histogram = histogram;
    this.limit = limit <= 250 ? limit : null;
    this.draw();
  }

  draw() {
    const {c, width, height} = this.begin();
    const total = this.counts.reduce((sum, value) => sum + value, 0);
    if (!total) {
      this.text('nothing yet', width / 2, height / 2, 'center');
      this.showTip('');
      return;
    }
    const open = this.counts.length === 256;  // the last bucket holds everything above
    const size = Math.max(this.counts.length, this.limit === null ? 0 : this.limit + 2, 6);
    const most = Math.max(...this.counts);
    const [left, right, top, bottom] = [6, width - 6, 16, height - 20];
    const step = (right - left) / size;
    const gap = step > 6 ? 2 : 0.5;
    for (let i = 0; i < this.counts.length; i++) {
      const tall = (this.counts[i] / most) * (bottom - top);
      c.fillStyle = colors[this.limit !== null && i > this.limit ? 'waits' : this.color];
      if (this.counts[i])
        c.fillRect(left + i * step + gap / 2, bottom - Math.max(1, tall), Math.max(0.6, step - gap), Math.max(1, tall));
    }
    this.line(left, bottom + 0.5, right, bottom + 0.5, colors.rule);
    for (const value of wholeTicks(0, size - 1, Math.min(size - 1, width / 60))) {
      this.text(value + (open && value === 255 ? '+' : ''), left + (value + 0.5) * step, height - 5, 'center');
    }
    this.text(`mean ${fixed(this.histogram.mean, 2)}   most ${whole(this.histogram.max)}`, right, 11, 'right');
    if (this.limit !== null) {
      const x = left + (this.limit + 1) * step;
      c.setLineDash([4, 3]);
      this.line(x, top, x, bottom, colors.waits);
      c.setLineDash([]);
    }
    const at = this.pointer ? Math.floor((this.pointer.x - left) / step) : -1;
    const inside = at >= 0 && at < this.counts.length;
    this.showTip(
        inside ? `${at}${open && at === 255 ? ' and more' : ''}: ${whole(this.counts[at])} (${
                     percent(this.counts[at] / total)})` :
                 '',
        this.pointer ? this.pointer.x : 0, this.pointer ? this.pointer.y : 0, width);
  }
}
