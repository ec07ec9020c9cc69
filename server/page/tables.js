// The tables and lists: workers, shards, checkpoints, events. Rows are kept from one second to the next and only their
// text changes, so that a reader's selection and scrolling stay.

const MOST_WORKER_ROWS = 100;

class Table {
  // columns: [{title, left, className, cell(row, td)}], and for those that sort: key(row)
  constructor(id, columns, sortBy) {
    this.columns = columns;
    this.sortBy = sortBy ?? null;
    this.upwards = true;
    this.body = el('tbody');
    this.heads = columns.map((column) => {
      const head = el('th', column.left ? 'l' : '');
      head.scope = 'col';
      if (!column.key) {
        head.append(column.title);
        return head;
      }
      const button = el('button', '', column.title);
      button.type = 'button';
      button.addEventListener('click', () => {
        this.upwards = this.sortBy === column ? !this.upwards : true;
        this.sortBy = column;
        this.show(this.rows);
      });
      head.append(button);
      return head;
    });
    $(id).append(el('thead', '', el('tr', '', ...this.heads)), this.body);
  }

  show(rows, most = Infinity) {
    this.rows = rows;
    this.most = Math.min(most, this.most ?? Infinity);
    let shown = rows;
    if (this.sortBy) {
      const {key} = this.sortBy;
      const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      shown = [...rows].sort((a, b) => order(key(a), key(b)) * (this.upwards ? 1 : -1));
    }
    shown = shown.slice(0, this.most);
    while (this.body.rows.length > shown.length) this.body.deleteRow(-1);
    while (this.body.rows.length < shown.length) {
      this.body.append(el(
          'tr', '', ...this.columns.map((column) => el('td', (column.left ? 'l ' : '') + (column.className ?? '')))));
    }
    shown.forEach((row, i) => {
      this.columns.forEach((column, j) => column.cell(row, this.body.rows[i].cells[j]));
    });
    this.columns.forEach((column, j) => {
      if (column === this.sortBy)
        this.heads[j].setAttribute('aria-sort', this.upwards ? 'ascending' : 'descending');
      else
        this.heads[j].removeAttribute('aria-sort');
    });
  }
}

const textCell = (get) => (row, td) => setText(td, get(row));

// Text with a bar that says how much it is of `most`.
function barCell(td, text, share, className) {
  if (!td.firstElementChild) td.replaceChildren(el('span'), el('span', 'bar', el('i', className)));
  setText(td.firstElementChild, text);
  td.lastElementChild.firstElementChild.style.width = `${Math.round(100 * Math.max(0, Math.min(1, share || 0)))}%`;
}

function workerTable(names) {
  const stateCell = (worker, td) => {
    const kind = doing(worker);
    if (!td.firstElementChild) td.append(el('span', ''), el('span', ''));
    td.firstElementChild.className = `mark s-${kind}`;
    setText(td.firstElementChild, MARKS[kind]);
    setText(
        td.lastElementChild, worker.role === 'evaluator' && worker.state === 'observer' ? 'evaluator' : worker.state);
  };
  const behind = (worker) => (worker.role === 'trainer' && worker.state === 'live' ? worker.behind : -1);
  const columns = [
    {
      title: 'worker',
      left: true,
      className: 'name',
      key: (w) => w.name,
      cell: (w, td) => {
        setText(td, w.name);
        td.title = w.device ? `${w.name}: ${w.device}` : w.name;
      }
    },
    {title: 'state', left: true, key: (w) => doing(w) + w.state, cell: stateCell},
    {title: 'clock', key: (w) => w.clock, cell: textCell((w) => (w.role === 'trainer' ? whole(w.clock) : '–'))},
    {title: 'behind', key: behind, cell: textCell((w) => (behind(w) >= 0 ? whole(behind(w)) : '–'))},
    {
      title: 'samples/s',
      key: (w) => w.samples_per_second,
      cell: textCell((w) => (w.role === 'trainer' ? count(w.samples_per_second) : '–'))
    },
    {title: 'loss', key: (w) => w.loss ?? 0, cell: textCell((w) => (w.loss ? significant(w.loss) : '–'))},
    {
      title: 'waiting',
      key: (w) => w.waiting_share,
      cell: (w, td) => barCell(td, percent(w.waiting_share), w.waiting_share, 'w')
    },
    {
      title: 'for whom, or why gone',
      left: true,
      className: 'why',
      cell: (w, td) => {
        const text =
            w.reason || w.wait || (w.waits_for >= 0 && w.waiting_share > 0 ? waitedFor(w, names) : '');
        setText(td, text);
        td.title = text;
      }
    },
    {title: 'refused', key: (w) => w.refused, cell: textCell((w) => whole(w.refused))},
  ];
  return new Table('workers', columns, columns[2]);
}

function shardTable() {
  let most = {push: 1, pull: 1};
  const table = new Table('shards', [
    {
      title: 'shard',
      left: true,
      cell: (s, td) => {
        if (!td.firstElementChild) td.append(el('span', ''), el('span', ''));
        td.firstElementChild.className = `mark s-${s.connected ? 'runs' : 'dead'}`;
        setText(td.firstElementChild, s.connected ? MARKS.runs : MARKS.dead);
        setText(td.lastElementChild, String(s.index));
        td.title = `${s.address}${s.connected ? '' : ': nothing is heard of it'}`;
      }
    },
    {title: 'blocks', cell: textCell((s) => whole(s.blocks))},
    {title: 'pushed/s', cell: (s, td) => barCell(td, bytes(s.push_rate), s.push_rate / most.push, 'c')},
    {title: 'pulled/s', cell: (s, td) => barCell(td, bytes(s.pull_rate), s.pull_rate / most.pull, '')},
    {title: 'held', cell: textCell((s) => bytes(s.held_bytes))},
    {title: 'version', cell: textCell((s) => whole(s.version))},
  ]);
  return (shards) => {
    most = {push: Math.max(1, ...shards.map((s) => s.push_rate)), pull: Math.max(1, ...shards.map((s) => s.pull_rate))};
    table.show(shards);
  };
}

// Lines of a list; `key` says whether anything has changed since the last time.
function showList(list, key, makeLines) {
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...makeLines());
}

function showCheckpoints(status) {
  const all = [...status.checkpoints].reverse();
  const key = JSON.stringify([status.checkpoint_under_way, all]);
  showList($('checkpoints'), key, () => {
    const lines = all.map((one) => {
      const about = one.error ? one.error : `${bytes(one.bytes)} in ${fixed(one.duration, 2)} s`;
      return el(
          'li', '', el('time', '', duration(one.seconds)), el('span', one.error ? 'name bad' : 'name', one.name),
          el('span', 'end', one.error ? `given up: ${about}` : about));
    });
    if (status.checkpoint_under_way) {
      lines.unshift(
          el('li', '', el('time', '', 'now'), el('span', 'name', status.checkpoint_under_way),
             el('span', 'end', 'is being taken')));
    }
    return lines.length ? lines : [el('li', 'none', 'none since shard 0 was started')];
  });
}

function showEvents(status) {
  const newest = [...status.events].reverse();
  const key = `${newest.length} ${JSON.stringify(newest[0] ?? '')}`;
  const bad = /\b(is out|quarantined|given up|goes back|lost|diverged)\b/;
  showList(
      $('events'), key,
      () => newest.map(
          (event) =>
              el('li', '', el('time', '', duration(event.seconds)),
                 el('span', bad.test(event.text) ? 'bad' : '', event.text))));
}
