// How numbers look, and elements. Whatever comes from the cluster (names, addresses, events) reaches the page as
// textContent only: it is never taken for markup.

const $ = (id) => document.getElementById(id);

// An element with its class, and children that are elements or text.
function el(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

function withUnit(value, units, base) {
  if (!isNumber(value)) return '–';
  let unit = 0;
  while (Math.abs(value) >= base && unit + 1 < units.length) {
    value /= base;
    unit += 1;
  }
  const digits = unit === 0  ? (Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 1) :
      Math.abs(value) >= 100 ? 0 :
      Math.abs(value) >= 10  ? 1 :
                               2;
  return value.toFixed(digits) + (units[unit] && ' ' + units[unit]);
}

const count = (value) =>
    (isNumber(value) && Math.abs(value) < 10000 && Number.isInteger(value) ?
         String(value) :
         withUnit(value, ['', 'k', 'M', 'G', 'T'], 1000));
const bytes = (value) => withUnit(value, ['B', 'KB', 'MB', 'GB', 'TB'], 1000);
const fixed = (value, digits) => (isNumber(value) ? value.toFixed(digits) : '–');
function percent(value) {
  if (!isNumber(value)) return '–';
  return (100 * value).toFixed(value === 0 ? 0 : value > 0.1 ? 1 : 2) + ' %';
}
const percentTick = (value) => `${+ (100 * value).toFixed(2)} %`;
const lossTick = (value) => String(+value.toPrecision(4));
const whole = (value) => (isNumber(value) ? value.toLocaleString('en-US') : '–');

// As a loss is read: four significant digits.
function significant(value) {
  if (!isNumber(value)) return '–';
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(2);
  return value.toPrecision(4);
}

function duration(seconds) {
  if (!isNumber(seconds)) return '–';
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return s + ' s';
  const two = (n) => String(n).padStart(2, '0');
  if (s < 3600) return Math.floor(s / 60) + ':' + two(s % 60) + ' min';
  return Math.floor(s / 3600) + ':' + two(Math.floor(s / 60) % 60) + ' h';
}

// What colours the style sheet has now; read again when the reader's system changes between light and dark.
const colors = {};
function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['text', 'soft', 'rule', 'faint', 'card', 'a', 'b', 'c', 'runs', 'waits', 'parked', 'dead']) {
    colors[name] = style.getPropertyValue('--' + name).trim();
  }
}
