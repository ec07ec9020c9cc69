// The race: each trainer is a lane, its clock the place. Few workers have a row each with name and words; many share
// the field as points. Marks differ in shape, not only in colour.

const MOST_ROWS = 24;  // more workers than this are points
const MARKS = {
  runs: '●',
  waits: '○',
  parked: '□',
  left: '–',
  dead: '×'
};
const WORDS = {
  runs: 'running',
  waits: 'waiting for others',
  parked: 'parked',
  left: 'left',
  dead: 'out'
};

// What a worker does, in one word.
function doing(worker) {
  if (worker.state === 'live') return worker.at_gate || worker.wait || worker.waiting_share >= 0.5 ? 'waits' : 'runs';
  if (worker.state === 'joining' || worker.state === 'parked' || worker.state === 'observer') return 'parked';
  return worker.state === 'left' ? 'left' : 'dead';
}

// Whom it has waited for most: for itself, where its pull must contain its own earlier pushes. `names`: by id.
function waitedFor(worker, names) {
  return worker.waits_for === worker.id ? 'its own push' : names.get(worker.waits_for) ?? '?';
}

class Race extends Chart {
  constructor(id) {
    super(id);
    this.lanes = [];
    this.places = new Map();  // worker id -> the clock where it is drawn now
    this.view = null;
    this.frame = 0;
    this.last = 0;
    this.frames = [];  // how long the last frames took to draw, in ms; tests read it
    this.still = matchMedia('(prefers-reduced-motion: reduce)');
  }

  update(status) {
    this.names = new Map(status.workers.map((worker) => [worker.id, worker.name]));
    this.lanes = status.workers.filter((worker) => worker.role === 'trainer').sort((a, b) => a.id - b.id);
    this.bound = status.policy.aggregation === 'round' ? 0 : status.policy.staleness_bound;
    const clocks = this.lanes.map((worker) => worker.clock);
    this.slowest = status.slowest ?? Math.min(...clocks, Infinity);
    this.fastest = status.fastest ?? Math.max(...clocks, -Infinity);
    if (this.lanes.length) {
      const gate = this.bound >= 0 && this.bound <= 200 ? this.bound + 1 : 0;
      const span = Math.max(this.fastest - this.slowest, gate, 3);
      this.target = {low: this.slowest - span * 0.18 - 1, high: this.slowest + span * 1.12 + 0.6};
    }
    const present = new Set(this.lanes.map((worker) => worker.id));
    for (const id of this.places.keys())
      if (!present.has(id)) this.places.delete(id);
    this.canvas.style.height = this.lanes.length <= MOST_ROWS ? `${Math.max(3, this.lanes.length) * 30 + 34}px` : '';
    this.canvas.classList.toggle('field', this.lanes.length > MOST_ROWS);
    if (!this.frame) {
      this.last = performance.now();
      this.frame = requestAnimationFrame((now) => this.step(now));
    }
  }

  // Moves everything a bit towards where it belongs, until it is there.
  step(now) {
    const began = performance.now();
    const share = this.still.matches ? 1 : 1 - Math.exp(-(now - this.last) / 160);
    this.last = now;
    let moving = false;
    const towards = (from, to) => {
      if (Math.abs(to - from) < 0.004) return to;
      moving = true;
      return from + (to - from) * share;
    };
    for (const worker of this.lanes) {
      const from = this.places.get(worker.id);
      this.places.set(worker.id, from === undefined ? worker.clock : towards(from, worker.clock));
    }
    if (this.target) {
      const view = this.view || this.target;
      this.view = {low: towards(view.low, this.target.low), high: towards(view.high, this.target.high)};
    }
    this.draw();
    this.frames.push(performance.now() - began);
    if (this.frames.length > 600) this.frames.shift();
    this.frame = moving ? requestAnimationFrame((then) => this.step(then)) : 0;
  }

  draw() {
    const {c, width, height} = this.begin();
    if (!this.lanes.length || !this.view) {
      this.text('no worker has come yet', width / 2, height / 2, 'center');
      return;
    }
    const rows = this.lanes.length <= MOST_ROWS;
    const names =
        rows ? Math.min(150, width * 0.24, 14 + Math.max(...this.lanes.map((w) => c.measureText(w.name).width))) : 8;
    const words = rows ? (width > 640 ? 190 : 64) : 10;
    this.box = {left: names, right: width - words, top: 16, bottom: height - 22};
    const {left, right, top, bottom} = this.box;
    this.toX = (clock) => left + ((clock - this.view.low) / (this.view.high - this.view.low)) * (right - left);
    this.lane = (bottom - top) / this.lanes.length;
    this.drawField(width);
    if (rows)
      this.drawRows(width);
    else
      this.drawPoints();
    this.drawTip(width);
  }

  drawField(width) {
    const {left, right, top, bottom} = this.box;
    const c = this.context;
    for (const value of wholeTicks(this.view.low, this.view.high, Math.min(10, width / 90))) {
      if (value < 0) continue;
      const x = this.toX(value);
      if (x < left || x > right) continue;
      this.line(Math.round(x) + 0.5, top, Math.round(x) + 0.5, bottom, colors.faint);
      this.text(whole(value), x, bottom + 16, 'center');
    }
    if (this.bound < 0 || !Number.isFinite(this.slowest)) return;
    const gate = this.toX(this.slowest + this.bound + 1);
    if (gate > right + 1) return;
    c.fillStyle = colors.waits;
    c.globalAlpha = 0.07;
    c.fillRect(gate, top, right - gate, bottom - top);
    c.globalAlpha = 1;
    c.setLineDash([5, 4]);
    this.line(gate, top, gate, bottom, colors.waits);
    c.setLineDash([]);
    const label = `gate, bound ${this.bound}`;
    const before = gate + c.measureText(label).width + 8 > right;
    this.text(label, gate + (before ? 4 : -4), top - 5, before ? 'right' : 'left', colors.waits);
  }

  // Where a worker is drawn: those that are far behind stand at the left edge. Points that have no row of their own are
  // spread a little around their clock, or a thousand of them would be a line.
  x(worker) {
    const spread = this.lanes.length > MOST_ROWS ? ((worker.id * 0.618034) % 1) * 0.7 - 0.35 : 0;
    const x = this.toX(this.places.get(worker.id) + spread);
    return Math.max(this.box.left + 7, Math.min(x, this.box.right));
  }

  mark(kind, x, y, size) {
    const c = this.context;
    c.strokeStyle = c.fillStyle = colors[kind === 'left' ? 'parked' : kind];
    c.lineWidth = 2;
    c.beginPath();
    if (kind === 'dead') {
      c.moveTo(x - size, y - size);
      c.lineTo(x + size, y + size);
      c.moveTo(x + size, y - size);
      c.lineTo(x - size, y + size);
      c.stroke();
    } else if (kind === 'left') {
      c.moveTo(x - size, y);
      c.lineTo(x + size, y);
      c.stroke();
    } else if (kind === 'parked') {
      c.strokeRect(x - size, y - size, 2 * size, 2 * size);
    } else {
      c.arc(x, y, size, 0, 7);
      if (kind === 'runs')
        c.fill();
      else
        c.stroke();
    }
  }

  drawRows(width) {
    const c = this.context;
    const {left, right, top} = this.box;
    this.lanes.forEach((worker, index) => {
      const kind = doing(worker);
      const y = top + (index + 0.5) * this.lane;
      const x = this.x(worker);
      const color = colors[kind === 'left' ? 'parked' : kind];
      this.line(left, Math.round(y) + 0.5, right, Math.round(y) + 0.5, colors.faint);
      c.fillStyle = color;
      c.globalAlpha = kind === 'runs' || kind === 'waits' ? 0.28 : 0.14;
      c.fillRect(left, y - 4, Math.max(0, x - left), 8);
      c.globalAlpha = 1;
      this.mark(kind, x, y, 5);
      c.save();
      c.beginPath();
      c.rect(0, y - 12, left - 8, 24);
      c.clip();
      this.text(worker.name, 0, y + 4, 'left', colors.text);
      c.restore();
      const clock = whole(worker.clock);
      this.text(clock, right + 10, y + 4, 'left', colors.text);
      if (width > 640) {
        const start = right + 10 + Math.max(44, c.measureText(clock).width + 10);
        c.save();
        c.beginPath();
        c.rect(start, y - 12, width - start, 24);
        c.clip();
        this.text(this.words(worker, kind), start, y + 4, 'left', color);
        c.restore();
      }
    });
  }

  words(worker, kind) {
    if (kind === 'waits' && worker.wait) return `waits for ${worker.wait}`;
    if (kind === 'waits' && worker.waits_for >= 0) return `waits for ${waitedFor(worker, this.names)}`;
    if (kind === 'runs' && worker.silent_seconds > 5) return `silent for ${duration(worker.silent_seconds)}`;
    if (kind === 'runs') return `${count(worker.samples_per_second)} samples/s`;
    if (kind === 'dead' || kind === 'left') return `${worker.state}: ${worker.reason}`;
    return worker.state;
  }

  drawPoints() {
    const {top} = this.box;
    const size = Math.max(2, Math.min(4, this.lane * 0.45));
    const c = this.context;
    // One path for each colour: a thousand points cost four strokes.
    for (const kind of ['left', 'parked', 'dead', 'runs', 'waits']) {
      c.fillStyle = c.strokeStyle = colors[kind === 'left' ? 'parked' : kind];
      c.lineWidth = 1.4;
      c.beginPath();
      this.lanes.forEach((worker, index) => {
        if (doing(worker) !== kind) return;
        const y = top + (index + 0.5) * this.lane;
        const x = this.x(worker);
        if (kind === 'dead') {
          c.moveTo(x - size, y - size);
          c.lineTo(x + size, y + size);
          c.moveTo(x + size, y - size);
          c.lineTo(x - size, y + size);
        } else {
          c.moveTo(x + size, y);
          c.arc(x, y, size, 0, 6.3);
        }
      });
      if (kind === 'runs')
        c.fill();
      else
        c.stroke();
    }
  }

  drawTip(width) {
    if (!this.pointer || !this.box) return this.showTip('');
    const {top, bottom} = this.box;
    if (this.pointer.y < top || this.pointer.y > bottom) return this.showTip('');
    // Of the lanes under the pointer (many, when they are thin) the one whose worker is nearest.
    const reach = Math.max(0, Math.ceil(6 / this.lane - 0.5));
    const middle = Math.floor((this.pointer.y - top) / this.lane);
    let best = null;
    for (let i = Math.max(0, middle - reach); i <= Math.min(this.lanes.length - 1, middle + reach); i++) {
      const distance = Math.abs(this.x(this.lanes[i]) - this.pointer.x);
      if (!best || distance < best.distance) best = {distance, index: i};
    }
    if (!best) return this.showTip('');
    const worker = this.lanes[best.index];
    const kind = doing(worker);
    const y = top + (best.index + 0.5) * this.lane;
    this.context.strokeStyle = colors.text;
    this.context.lineWidth = 1.5;
    this.context.beginPath();
    this.context.arc(this.x(worker), y, 8, 0, 7);
    this.context.stroke();
    const lines = [
      worker.name,
      `clock ${whole(worker.clock)}, ${whole(Math.max(0, this.fastest - worker.clock))} behind the fastest`,
      this.words(worker, kind),
    ];
    if (worker.state === 'live') lines.push(`${percent(worker.waiting_share)} of its time at the gate`);
    this.showTip(lines.join('\n'), this.x(worker), y, width);
  }
}
