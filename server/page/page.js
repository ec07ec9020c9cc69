// The page: asks /api/status every second, and shows the answer.

const EVERY = 1000;     // ms
const PATIENCE = 8000;  // ms, for an answer

const STATES = {
  STARTING: ['starting', 'waits'],
  TRAINING: ['training', 'runs'],
  FINISHING: ['finishing', 'runs'],
  EVALUATING: ['evaluating', 'runs'],
  FINISHED: ['finished', 'done'],
};

const names = new Map();  // worker id -> name
let answered = 0;         // when the last answer came, in ms of performance.now()
let last = null;          // that answer
let timer = 0;

readColors();
const race = new Race('race');
const charts = {
  loss: new LineChart('loss', significant, {tick: lossTick}),
  accuracy: new LineChart('accuracy', percent, {tick: percentTick}),
  speed: new LineChart('speed', count, {fromZero: true}),
  bytes: new LineChart('bytes', bytes, {fromZero: true}),
};
const histograms = {
  gap: new Histogram('gap', 'a'),
  delay: new Histogram('delay', 'a')
};
const workers = workerTable(names);
const showShards = shardTable();

function showHeader(status) {
  setText($('model'), status.model || 'Leeway');
  document.title = `${status.model || 'Leeway'} – ${(STATES[status.state] ?? ['?'])[0]}`;
  const {staleness_bound: bound, aggregation, num_workers: wanted} = status.policy;
  const rule = aggregation === 'round' ? 'synchronous rounds' :
      bound < 0                        ? 'no staleness bound' :
                                         `staleness bound ${bound}`;
  const parts = [
    `${count(status.elements)} parameters`, `${status.shards.length} ps`,
    `${wanted} worker${wanted === 1 ? '' : 's'} to start`, rule
  ];
  setText($('about'), status.model ? parts.join(' · ') : parts.slice(1).join(' · '));
  const [word, kind] = STATES[status.state] ?? [status.state, ''];
  setText($('state'), word);
  $('state').className = `pill ${kind}`;
  const note = status.waiting_for ? `Waiting: ${status.waiting_for}` :
      status.stop_reason ? `Ended: ${status.stop_reason}` :
                           '';
  $('note').hidden = !note;
  setText($('note'), note);
  const done = status.total_samples > 0 ? Math.min(1, status.samples / status.total_samples) : 0;
  $('progress').firstElementChild.style.width = `${100 * done}%`;
  $('progress').setAttribute('aria-valuenow', String(Math.round(100 * done)));
  setText($('run'), `run ${status.run_id}${status.era ? `, gone back ${status.era} times` : ''}`);
}

function showTiles(status) {
  setText($('t-speed'), count(status.samples_per_second));
  const epochs = status.num_records > 0 ? status.samples / status.num_records : null;
  const of = status.total_samples > 0 ? `/${fixed(status.total_samples / status.num_records, 0)}` : '';
  setText($('t-speed-sub'), epochs === null ? '\u00a0' : `epoch ${fixed(epochs, 2)}${of}`);
  const {loss} = status.training;
  setText($('t-loss'), significant(loss[loss.length - 1]));
  setText($('t-loss-sub'), `${whole(status.steps)} steps, ${duration(status.seconds)}`);
  const {accuracy, loss: evaluated, seconds} = status.evaluations;
  const newest = accuracy.length - 1;
  setText($('t-accuracy'), percent(accuracy[newest]));
  setText(
      $('t-accuracy-sub'),
      newest < 0 ? 'not evaluated yet' : `loss ${significant(evaluated[newest])}, at ${duration(seconds[newest])}`);
  const trainers = status.workers.filter((worker) => worker.role === 'trainer');
  const kinds = {runs: 0, waits: 0, parked: 0, left: 0, dead: 0};
  for (const worker of trainers) kinds[doing(worker)] += 1;
  setText($('t-workers'), String(kinds.runs + kinds.waits + kinds.parked));
  const others =
      [kinds.waits && `${kinds.waits} wait`, kinds.dead && `${kinds.dead} out`, kinds.left && `${kinds.left} left`];
  setText(
      $('t-workers-sub'), others.filter(Boolean).join(', ') || (trainers.length ? 'all running' : 'none has come yet'));
  const gap = status.slowest === null ? null : status.fastest - status.slowest;
  setText($('t-gap'), gap === null ? '–' : whole(gap));
  const bound = status.policy.staleness_bound;
  setText($('t-gap-sub'), `mean ${fixed(status.gap.mean, 2)}, ${bound < 0 ? 'no bound' : `bound ${bound}`}`);
  setText($('t-delay'), fixed(status.delay.mean, 2));
  setText($('t-delay-sub'), `most ${whole(status.delay.max)}`);
  const keys = Object.entries(kinds).filter(([kind, number]) => number || kind === 'runs');
  showList(
      $('race-keys'), JSON.stringify(keys),
      () => keys.map(
          ([kind, number]) => el('span', '', el('span', `mark s-${kind}`, MARKS[kind]), ` ${number} ${WORDS[kind]}`)));
}

function showCharts(status) {
  const {training, evaluations, rates} = status;
  charts.loss.update([
    {name: 'training', color: 'a', x: training.seconds, y: training.loss},
    {name: 'evaluation', color: 'b', x: evaluations.seconds, y: evaluations.loss, dots: true},
  ]);
  charts.accuracy.update([
    {name: 'training', color: 'a', x: training.seconds, y: training.accuracy},
    {name: 'evaluation', color: 'b', x: evaluations.seconds, y: evaluations.accuracy, dots: true},
  ]);
  charts.speed.update([{name: 'samples/s', color: 'a', x: rates.seconds, y: rates.samples, filled: true}]);
  charts.bytes.update([
    {name: 'pushed', color: 'c', x: rates.seconds, y: rates.push_bytes},
    {name: 'pulled', color: 'a', x: rates.seconds, y: rates.pull_bytes},
  ]);
  const bound = status.policy.staleness_bound;
  // A pull at the bound itself is admitted; clocks then differ by one more.
  histograms.gap.update(status.gap, bound >= 0 ? bound + 1 : null);
  histograms.delay.update(status.delay, status.policy.max_delay > 0 ? status.policy.max_delay - 1 : null);
}

function showWorkers(status) {
  const wanted = $('filter').value.trim().toLowerCase();
  for (const worker of status.workers) {
    names.set(worker.id, worker.name);
    worker.behind = status.fastest === null ? 0 : Math.max(0, status.fastest - worker.clock);
  }
  const matches =
      status.workers.filter((w) => !wanted || `${w.name} ${w.state} ${doing(w)}`.toLowerCase().includes(wanted));
  workers.show(matches, MOST_WORKER_ROWS);
  const more = matches.length - MOST_WORKER_ROWS;
  setText($('workers-more'), more > 0 ? `and ${whole(more)} more: the filter finds them` : '');
}

function show(status) {
  showHeader(status);
  showTiles(status);
  race.update(status);
  showCharts(status);
  showShards(status.shards);
  showCheckpoints(status);
  showWorkers(status);
  showEvents(status);
}

// "1:06 min left", as far as the end is known by epochs.
function timeLeft(status) {
  const left = (status.total_samples - status.samples) / status.samples_per_second;
  return status.state === 'TRAINING' && left > 0 && Number.isFinite(left) ? ` · ${duration(left)} left` : '';
}

function showPulse(problem) {
  const lost = performance.now() - answered > 3 * EVERY;
  if (lost && last !== null && last.state === 'FINISHED')
    return setText($('pulse'), 'the run is over; this was its last status');
  document.body.classList.toggle('stale', lost && last !== null);
  $('pulse').classList.toggle('lost', lost);
  const since = last === null ? 'no answer yet' : `no answer for ${duration((performance.now() - answered) / 1000)}`;
  if (lost && problem)
    setText($('pulse'), `${since}: ${problem}`);
  else if (!lost && last !== null)
    setText($('pulse'), `live · ${duration(last.seconds)}${timeLeft(last)}`);
}

async function ask() {
  timer = 0;
  const began = performance.now();
  let problem = '';
  try {
    const response = await fetch('api/status', {cache: 'no-store', signal: AbortSignal.timeout(PATIENCE)});
    if (!response.ok) throw new Error((await response.text()).trim() || `status ${response.status}`);
    const status = await response.json();
    answered = performance.now();
    last = status;
    show(status);
  } catch (error) {
    problem = error instanceof TypeError ? 'it cannot be reached' : error.message;
  }
  showPulse(problem);
  // A page that nobody sees does not ask; when it is seen again, it asks at once.
  if (!document.hidden) timer = setTimeout(ask, Math.max(100, EVERY - (performance.now() - began)));
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !timer) ask();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  readColors();
  if (last) show(last);
  race.draw();
});
$('filter').addEventListener('input', () => last && showWorkers(last));
answered = performance.now();
ask();
