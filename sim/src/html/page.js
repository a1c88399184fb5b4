'use strict';
// Rows are laid out once and drawn only where they can be seen: a story may have thousands.
// Whatever the story says goes into the page as text, never as markup.
(() => {
  const story = JSON.parse(document.getElementById('story').textContent);
  const KINDS = ['normal', 'command', 'notice', 'state', 'fault', 'violation'];
  const ROW = 24, GUTTER = 128, SLACK = 20, LONG = 40;
  // A run of more like moments than this is folded, but for so many at either end.
  const CROWD = 12, ENDS = 3;
  const moments = story.moments.map(([step, at, lane, kind, text, detail], id) =>
    ({ id, step, at, lane, kind, text, detail, row: -1, fold: null, links: [] }));
  for (const [from, to] of story.arrows) {
    moments[from].links.push(to);
    moments[to].links.push(from);
  }
  const $ = (id) => document.getElementById(id);
  const scroll = $('scroll'), rowsBox = $('rows'), arrows = $('arrows'), card = $('card'), panel = $('panel');
  const hiddenKinds = new Set(), unfolded = new Set();
  const elements = new Map();
  let rows = [], drawn = [0, -1], pinned = null, hovered = null, needle = '', columns = [];

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const brief = (at) => at.replace(/(\.\d{3})\d*/, '$1');

  // ---- The head -------------------------------------------------------------------------------
  function head() {
    for (const [name, value] of story.facts) {
      const fact = make('div');
      fact.append(make('dt', '', name), make('dd', '', value));
      $('facts').append(fact);
    }
    if (story.violated) {
      const go = make('button', '', 'Go there (v)');
      go.onclick = toViolation;
      const why = make('span', 'why', story.violated.message.split('\n')[0]);
      why.title = story.violated.message;
      $('verdict').append(make('b', '', story.violated.promise), go, why);
    } else {
      $('verdict').textContent = 'no promise broken';
    }
    for (const kind of KINDS) {
      const count = moments.filter((moment) => moment.kind === kind).length;
      if (count === 0) continue;
      const chip = make('button', kind, `${kind} ${count}`);
      chip.title = 'Show or hide these';
      chip.onclick = () => {
        if (!hiddenKinds.delete(kind)) hiddenKinds.add(kind);
        chip.classList.toggle('off', hiddenKinds.has(kind));
        relayout();
      };
      $('kinds').append(chip);
    }
    // A lane is as wide as most of its words need.
    const widths = story.lanes.map((name, lane) => {
      const lengths = moments.filter((moment) => moment.lane === lane).map(({ text }) => text.length);
      lengths.sort((a, b) => a - b);
      const length = Math.max(name.length, lengths[Math.floor(lengths.length * 0.85)] ?? 0);
      return Math.round(Math.min(length * 7 + 36, 340));
    });
    const least = widths.map((width) => Math.max(90, Math.round(width * 0.75)));
    const style = document.documentElement.style;
    style.setProperty('--columns', widths.map((width, lane) => `minmax(${least[lane]}px, ${width}fr)`).join(' '));
    style.setProperty('--width', `${GUTTER + least.reduce((sum, width) => sum + width, 0)}px`);
    $('lanes').append(make('div', '', 'step, time'));
    for (const lane of story.lanes) {
      const name = make('div', '', lane);
      name.title = lane;
      $('lanes').append(name);
    }
  }

  // ---- Layout ---------------------------------------------------------------------------------
  const shown = (moment) => !hiddenKinds.has(moment.kind) && (needle === ''
    || moment.text.toLowerCase().includes(needle)
    || moment.detail.toLowerCase().includes(needle)
    || story.lanes[moment.lane].toLowerCase().includes(needle));

  // What is shown, in order, with the middles of long runs folded: three hundred items of a list
  // are one thing that happened.
  function told() {
    const list = moments.filter(shown);
    for (const moment of moments) moment.fold = null;
    if (needle !== '') return list;
    const out = [];
    for (let start = 0, end; start < list.length; start = end) {
      const first = list[start];
      end = start + 1;
      while (end < list.length && alike(first, list[end])) end += 1;
      if (end - start <= CROWD || unfolded.has(first.id)) {
        for (let i = start; i < end; i += 1) out.push(list[i]);
        continue;
      }
      const folded = list.slice(start + ENDS, end - ENDS);
      for (const moment of folded) moment.fold = first.id;
      out.push(...list.slice(start, start + ENDS), { ...folded[0], run: first.id, text: `\u2026 ${folded.length} more` });
      out.push(...list.slice(end - ENDS, end));
    }
    return out;
  }

  const alike = (a, b) => a.kind === 'normal' && b.kind === 'normal'
    && a.step === b.step && a.at === b.at && a.lane === b.lane;

  // Time goes to the right and down, as in a book: a moment shares the row of the one before it if
  // it is the same step and time, and its lane is further to the right.
  function layout() {
    rows = [];
    for (const moment of moments) moment.row = -1;
    let row = null, odd = false;
    for (const moment of told()) {
      const sameStep = row !== null && row.step === moment.step;
      if (!sameStep || row.at !== moment.at || row.moments.at(-1).lane >= moment.lane) {
        if (!sameStep) odd = !odd;
        const time = row === null || row.at !== moment.at ? brief(moment.at) : '';
        row = { step: moment.step, at: moment.at, time, first: !sameStep, odd, moments: [] };
        rows.push(row);
      }
      moment.row = rows.length - 1;
      row.moments.push(moment);
    }
    const count = moments.filter(shown).length;
    rowsBox.style.height = `${rows.length * ROW + 8}px`;
    $('count').textContent = count === moments.length
      ? `${count} moments` : `${count} of ${moments.length} moments`;
  }

  function relayout() {
    const anchor = pinned && shown(pinned) ? pinned : rows[Math.floor(scroll.scrollTop / ROW)]?.moments[0];
    layout();
    redraw();
    const kept = anchor && moments.slice(anchor.id).find((moment) => moment.row >= 0);
    if (kept) show(kept);
  }

  // ---- Drawing --------------------------------------------------------------------------------
  function visible() {
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - SLACK);
    const last = Math.min(rows.length - 1, Math.ceil((scroll.scrollTop + scroll.clientHeight) / ROW) + SLACK);
    return [first, last];
  }

  function drawRow(index) {
    const { step, time, first, odd, moments: own } = rows[index];
    const row = make('div', `row${odd ? ' odd' : ''}${first ? ' first' : ''}`);
    row.style.top = `${index * ROW}px`;
    const gutter = make('div', 'gutter');
    gutter.append(make('span', 'step', first ? `${step}` : ''), make('span', 'time', time));
    row.append(gutter);
    for (const moment of own) {
      const folded = moment.run !== undefined;
      const cell = make('div', folded ? 'fold' : `moment ${moment.kind}`, moment.text);
      cell.style.gridColumn = moment.lane + 2;
      if (folded) {
        cell.dataset.run = moment.run;
      } else {
        cell.dataset.id = moment.id;
        mark(cell, moment);
      }
      row.append(cell);
    }
    return row;
  }

  function mark(cell, moment) {
    cell.classList.toggle('pinned', moment === pinned);
    const linked = [pinned, hovered].some((other) => other !== null && moment.links.includes(other.id));
    cell.classList.toggle('linked', linked);
  }

  function draw() {
    const [first, last] = visible();
    drawWindow();
    if (first >= drawn[0] && last <= drawn[1]) return;
    // Twice the slack, so that not every scrolled line draws anew.
    const from = Math.max(0, first - SLACK), to = Math.min(rows.length - 1, last + SLACK);
    for (const [index, element] of elements) {
      if (index >= from && index <= to) continue;
      element.remove();
      elements.delete(index);
    }
    const fragment = document.createDocumentFragment();
    for (let index = from; index <= to; index += 1) {
      if (elements.has(index)) continue;
      elements.set(index, drawRow(index));
      fragment.append(elements.get(index));
    }
    rowsBox.append(fragment);
    drawn = [from, to];
    drawArrows();
  }

  function redraw() {
    drawn = [0, -1];
    elements.clear();
    rowsBox.replaceChildren(arrows);
    draw();
    drawMap();
  }

  function remark() {
    for (const cell of rowsBox.querySelectorAll('.moment')) mark(cell, moments[cell.dataset.id]);
    drawArrows();
  }

  // Long arrows would be a thicket: they are drawn for the moment that one looks at.
  function drawArrows() {
    const [first, last] = drawn;
    const paths = [];
    for (const [a, b] of story.arrows) {
      const from = moments[a], to = moments[b];
      if (from.row < 0 || to.row < 0) continue;
      const top = Math.min(from.row, to.row), bottom = Math.max(from.row, to.row);
      const lit = [pinned, hovered].some((moment) => moment === from || moment === to);
      if (bottom < first || top > last || (!lit && bottom - top > LONG)) continue;
      const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      path.setAttribute('d', curve(from, to));
      if (lit) {
        path.setAttribute('class', 'lit');
        paths.push(path);
      } else {
        paths.unshift(path);
      }
    }
    arrows.setAttribute('width', rowsBox.clientWidth);
    arrows.setAttribute('height', 1);
    arrows.replaceChildren(...paths);
  }

  function curve(from, to) {
    const y1 = from.row * ROW + ROW / 2, y2 = to.row * ROW + ROW / 2;
    const [left1, right1] = columns[from.lane], [left2, right2] = columns[to.lane];
    const [x1, x2] = from.lane < to.lane ? [right1, left2] : from.lane > to.lane ? [left1, right2] : [left1, left2];
    const out = from.lane === to.lane ? -14 : Math.sign(x2 - x1) * Math.max(6, Math.abs(x2 - x1) / 2);
    const tip = from.lane === to.lane ? 5 : Math.sign(x1 - x2) * 5;
    const back = from.lane === to.lane ? -5 : tip;
    return `M${x1} ${y1} C${x1 + out} ${y1} ${x2 + (from.lane === to.lane ? out : -out)} ${y2} ${x2} ${y2}`
      + ` m${back} -3 L${x2} ${y2} l${back} 3`;
  }

  function measure() {
    columns = [...$('lanes').children].slice(1).map((name) =>
      [name.offsetLeft + 4, name.offsetLeft + name.offsetWidth - 4]);
  }

  function drawMap() {
    const map = $('map'), scale = window.devicePixelRatio || 1;
    const height = map.clientHeight, width = map.clientWidth;
    map.width = width * scale;
    map.height = height * scale;
    const pen = map.getContext('2d');
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const at = (row) => row / mapRows() * height;
    const dot = (moment, colour, thick) => {
      pen.fillStyle = style.getPropertyValue(colour);
      pen.fillRect(2, at(moment.row) - thick / 2, width - 4, thick);
    };
    const on = (kind) => moments.filter((moment) => moment.kind === kind && moment.row >= 0);
    for (const moment of on('fault')) dot(moment, '--fault', 1.5);
    for (const moment of on('violation')) dot(moment, '--violation-back', 4);
    if (pinned && pinned.row >= 0) dot(pinned, '--focus', 2);
  }

  // Which part of the map is in view.
  function drawWindow() {
    const part = (rows) => `${rows / mapRows() * 100}%`;
    $('window').style.top = part(scroll.scrollTop / ROW);
    $('window').style.height = part(scroll.clientHeight / ROW);
  }

  // A short story leaves the rest of the map empty.
  const mapRows = () => Math.max(rows.length, scroll.clientHeight / ROW, 1);

  // ---- Looking at one moment ------------------------------------------------------------------
  function about(moment) {
    const line = make('div', 'about');
    line.append(make('span', `tag ${moment.kind}`, moment.kind), make('span', '', story.lanes[moment.lane]),
      make('span', '', `step ${moment.step}`), make('span', '', moment.at));
    const body = [line, make('div', 'told', moment.text)];
    if (moment.detail) body.push(make('pre', '', moment.detail));
    return body;
  }

  function fillPanel() {
    panel.hidden = pinned === null;
    if (pinned === null) return;
    const body = about(pinned);
    const close = make('button', 'close', 'Unpin');
    close.onclick = () => pin(null);
    body[0].append(close);
    const links = make('div', 'links');
    for (const id of pinned.links) {
      const other = moments[id];
      const link = make('button', '', `${id < pinned.id ? '\u2191' : '\u2193'} ${story.lanes[other.lane]}, step ${other.step}: ${other.text}`);
      link.onclick = () => pin(other, true);
      links.append(link);
    }
    panel.replaceChildren(...body, links);
    panel.scrollTop = 0;
  }

  function pin(moment, reveal = false) {
    if (moment && moment.row < 0) uncover(moment);
    pinned = moment;
    fillPanel();
    history.replaceState(null, '', moment ? `#m${moment.id}` : location.pathname + location.search);
    // The panel takes room from the lanes.
    measure();
    if (moment && reveal) show(moment);
    draw();
    remark();
    drawMap();
  }

  function show(moment) {
    const y = moment.row * ROW, inside = scroll.clientHeight - $('lanes').offsetHeight;
    if (y < scroll.scrollTop + ROW || y > scroll.scrollTop + inside - 2 * ROW) {
      scroll.scrollTop = y - inside / 3;
    }
    const [left, right] = columns[moment.lane];
    if (left < scroll.scrollLeft + GUTTER || right > scroll.scrollLeft + scroll.clientWidth) {
      scroll.scrollLeft = left - GUTTER - 8;
    }
  }

  function hover(moment, cell) {
    if (moment === hovered) return;
    hovered = moment;
    card.hidden = moment === null || moment === pinned;
    remark();
    if (card.hidden) return;
    card.replaceChildren(...about(moment));
    // Beside the moment, never over it: below if it fits or if there is more room.
    const box = cell.getBoundingClientRect(), above = box.top - 10, below = window.innerHeight - box.bottom - 10;
    card.style.maxHeight = '60vh';
    const under = card.offsetHeight <= below || below >= above;
    card.style.maxHeight = `${Math.min(under ? below : above, window.innerHeight * 0.6)}px`;
    card.classList.toggle('cut', card.scrollHeight > card.clientHeight);
    card.style.left = `${Math.max(4, Math.min(box.left, window.innerWidth - card.offsetWidth - 8))}px`;
    card.style.top = `${under ? box.bottom + 6 : box.top - card.offsetHeight - 6}px`;
  }

  function toViolation() {
    if (story.violated) pin(moments[story.violated.moment], true);
  }

  // From the pinned moment, or else from the top of what is in view.
  function step(forward, wanted) {
    const from = pinned ?? rows[Math.ceil(scroll.scrollTop / ROW)]?.moments[0];
    if (!from) return;
    const list = moments.filter((moment) => moment.row >= 0 && wanted(moment));
    const next = forward
      ? list.find(({ id }) => id > from.id || (pinned === null && id === from.id))
      : list.findLast(({ id }) => id < from.id);
    if (next) pin(next, true);
  }

  // Whatever hides a moment is taken away.
  function uncover(moment) {
    if (!shown(moment)) {
      $('filter').value = needle = '';
      hiddenKinds.clear();
      for (const chip of $('kinds').children) chip.classList.remove('off');
      layout();
    }
    if (moment.fold !== null) {
      unfolded.add(moment.fold);
      layout();
    }
    redraw();
  }

  // ---- Listening ------------------------------------------------------------------------------
  const serious = ({ kind }) => kind === 'fault' || kind === 'violation';
  const keys = {
    n: () => step(true, serious),
    p: () => step(false, serious),
    j: () => step(true, () => true),
    k: () => step(false, () => true),
    v: toViolation,
    '/': () => $('filter').focus(),
    Escape: () => pin(null),
  };

  function listen() {
    const cellOf = (event) => event.target.closest?.('.moment');
    rowsBox.addEventListener('mouseover', (event) => {
      const cell = cellOf(event);
      hover(cell ? moments[cell.dataset.id] : null, cell);
    });
    scroll.addEventListener('mouseleave', () => hover(null));
    rowsBox.addEventListener('click', (event) => {
      const cell = cellOf(event), fold = event.target.closest?.('.fold');
      if (fold) {
        unfolded.add(Number(fold.dataset.run));
        layout();
        redraw();
      }
      if (!cell) return;
      const moment = moments[cell.dataset.id];
      hover(null);
      pin(moment === pinned ? null : moment);
    });
    let waiting = false;
    scroll.addEventListener('scroll', () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        hover(null);
        draw();
      });
    }, { passive: true });
    const map = $('map');
    const follow = (event) => {
      if (event.buttons !== 1) return;
      const box = map.getBoundingClientRect();
      const part = (event.clientY - box.top) / box.height;
      scroll.scrollTop = part * scroll.scrollHeight - scroll.clientHeight / 2;
    };
    map.addEventListener('pointerdown', (event) => {
      map.setPointerCapture(event.pointerId);
      follow(event);
    });
    map.addEventListener('pointermove', follow);
    $('filter').addEventListener('input', (event) => {
      needle = event.target.value.trim().toLowerCase();
      relayout();
    });
    document.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target === $('filter')) {
        if (event.key === 'Escape' || event.key === 'Enter') scroll.focus();
        return;
      }
      const act = keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    window.addEventListener('resize', () => {
      measure();
      redraw();
    });
    window.addEventListener('hashchange', fromHash);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawMap);
  }

  function fromHash() {
    const moment = moments[/^#m(\d+)$/.exec(location.hash)?.[1]];
    if (moment && moment !== pinned) pin(moment, true);
  }

  head();
  layout();
  measure();
  redraw();
  listen();
  fromHash();
  scroll.focus({ preventScroll: true });
})();
